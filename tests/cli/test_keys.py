"""`keys create` and `keys list`, and that every setting but a secret is an option of `serve`."""

import re
from dataclasses import fields
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from evalvault_otel.cli.commands import app
from evalvault_otel.server.keys import Keys, Scope
from evalvault_otel.settings import Settings
from tests.cli.test_cli import error_of, evalvault


def test_a_key_is_printed_once_and_its_hash_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"

    said = evalvault("keys", "create", "--name", "ci", "--scope", "ingest", "--scope", "read", "--file", str(path))

    key = said.stdout.strip()
    assert (said.returncode, said.stdout) == (0, f"{key}\n")
    assert str(path) in said.stderr
    assert key not in said.stderr + path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    keys = Keys(path=path)
    assert keys.check(key, Scope.INGEST) == keys.check(key, Scope.READ)


def test_keys_are_listed_by_name(tmp_path: Path) -> None:
    def keys(*arguments: str) -> str:
        return evalvault("keys", *arguments, EVALVAULT_API_KEYS_FILE=str(tmp_path / "keys.txt")).stdout

    key = keys("create", "--name", "ci", "--scope", "ingest").strip()
    keys("create", "--name", "ops", "--scope", "admin+read")

    table, document = keys("list"), keys("list", "--json")

    assert [shown.split() for shown in table.splitlines()] == [
        ["NAME", "SCOPES"],
        ["ci", "ingest"],
        ["ops", "read+admin"],
    ]
    assert orjson.loads(document) == [
        {"name": "ci", "scopes": ["ingest"]},
        {"name": "ops", "scopes": ["read", "admin"]},
    ]
    assert key not in table + document


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (("create", "--name", "ci", "--scope", "ingest"), 2, "--file"),
        (
            ("create", "--name", "ci", "--scope", "write", "--file", "keys.txt"),
            2,
            "there is no scope 'write': use ingest, read or admin",
        ),
        (("create", "--name", "no name", "--scope", "read", "--file", "keys.txt"), 2, "a key's name"),
        (("create", "--name", "ci", "--scope", "read", "--file", "none/keys.txt"), 2, "none/keys.txt"),
        (("list", "--file", "none.txt"), 2, "none.txt"),
        (("list", "--file", "empty.txt"), 1, "holds no key"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    (tmp_path / "empty.txt").touch()

    ended = evalvault("keys", *arguments, cwd=tmp_path)

    assert ended.returncode == code
    assert said in error_of(ended)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]


def test_every_setting_but_a_secret_is_an_option_of_serve() -> None:
    shown = set(re.findall(r"--([a-z][a-z-]+)", CliRunner(env={"COLUMNS": "200"}).invoke(app, ["serve", "-h"]).output))

    options = {spec.name.replace("_", "-") for spec in fields(Settings)} - {"api-keys"}
    assert shown == options | {"help"}


def test_a_key_as_an_option_is_refused_without_showing_it() -> None:
    ended = evalvault("serve", "--api-keys", "ingest:s3cret")

    assert ended.returncode == 2
    assert "s3cret" not in ended.stdout + ended.stderr
