"""`assets list`, `show` and `graph` as a process: what they print, and their exit codes."""

from pathlib import Path

import orjson
import pytest

from tests.cli.test_cli import DEAD, error_of, evalvault, fill
from tests.support.stages import RUN


@pytest.fixture
def filled(db_url: str) -> str:
    """A database of each kind with the planted run."""
    fill(db_url)
    return db_url


def test_list(filled: str) -> None:
    said = evalvault("assets", "list", "--db", filled)
    assert said.returncode == 0
    header, *lines = said.stdout.splitlines()
    assert header.split()[:4] == ["KIND", "NAME", "VERSIONS", "LATEST"]
    assert [line.split()[:5] for line in lines if line.startswith("prompt")] == [["prompt", "answer", "2", "2", "40"]]
    found = orjson.loads(evalvault("assets", "list", "--db", filled, "--kind", "prompt", "--json").stdout)
    assert [(item["name"], item["uses"]) for item in found["assets"]] == [("answer", 40)]


def test_pages_of_the_list(filled: str) -> None:
    first = evalvault("assets", "list", "--db", filled, "--limit", "1")
    cursor = first.stdout.split()[-1]
    assert "more: use --cursor" in first.stdout
    second = evalvault("assets", "list", "--db", filled, "--limit", "1", "--cursor", cursor)
    assert [line.split()[0] for text in (first, second) for line in text.stdout.splitlines()[1:2]] == [
        "index",
        "prompt",
    ]
    assert "more" not in second.stdout


def test_show(filled: str) -> None:
    said = evalvault("assets", "show", "prompt", "answer", "--db", filled)
    assert said.returncode == 0
    assert "1 → 2, differences with 95 % intervals" in said.stdout
    (moved,) = [line.split() for line in said.stdout.splitlines() if line.startswith("output.citation_count")]
    assert (moved[1:3], moved[-1]) == (["1.95", "1"], "worse")
    assert f"changed inside run {RUN}: 1, 2" in said.stdout
    found = orjson.loads(evalvault("assets", "show", "prompt", "answer", "--db", filled, "--json").stdout)
    assert [(item["number"], item["version"], item["uses"]) for item in found["versions"]] == [
        (1, "1", 20),
        (2, "2", 20),
    ]


def test_graph(filled: str) -> None:
    said = evalvault("assets", "graph", RUN, "--db", filled)
    assert said.returncode == 0
    assert said.stdout.startswith("flowchart LR\n")
    assert '(["prompt<br/>answer<br/>v2"])' in said.stdout
    for form in (["--json"], ["-f", "json"]):
        found = orjson.loads(evalvault("assets", "graph", RUN, "--db", filled, *form).stdout)
        assert {item["name"] for item in found["assets"]} >= {"answer"}


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["list", "--kind", "nothing"], 1),
        (["list", "--since", "2099-01-01"], 1),
        (["show", "prompt", "nothing"], 1),
        (["graph", "nothing"], 1),
        (["list", "--since", "yesterday"], 2),
        (["list", "--cursor", "nonsense"], 2),
        (["show", "prompt", "answer", "--before", "1", "--after", "99"], 2),
        (["show", "prompt", "answer", "--before", "1"], 2),
    ],
)
def test_errors_are_one_line_with_their_exit_code(filled: str, arguments: list[str], code: int) -> None:
    said = evalvault("assets", *arguments, "--db", filled)
    assert said.returncode == code
    error_of(said)


@pytest.mark.parametrize("arguments", [["list"], ["show", "prompt", "p"], ["graph", RUN]])
def test_storage_that_is_away_is_exit_code_3(arguments: list[str], tmp_path: Path) -> None:
    for db in (DEAD, str(tmp_path / "missing.db")):
        said = evalvault("assets", *arguments, "--db", db)
        assert said.returncode == 3
        error_of(said)


@pytest.mark.parametrize("arguments", [["show", "prompt"], ["list", "--limit", "0"], ["graph", RUN, "-f", "svg"]])
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    assert evalvault("assets", *arguments).returncode == 2
