"""Commands, options and routes are in the pages that promise them, and the pages show none that does not exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from prometheus_client import CollectorRegistry

from evalvault_otel.assembly.finding_codes import CODES
from evalvault_otel.cli.commands import app
from evalvault_otel.conventions.reading import DIALECTS
from evalvault_otel.ingest import Ingestor, IngestTelemetry
from evalvault_otel.server.api import create_api
from evalvault_otel.server.keys import Keys
from evalvault_otel.server.receiver import Receiver
from evalvault_otel.server.relevance_routes import add_relevance
from evalvault_otel.server.stage_events import add_stage_events
from evalvault_otel.settings import Settings
from evalvault_otel.store import open_store

ROOT = Path(__file__).parents[1]
_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FROM_FASTAPI = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
_PROGRAM = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?evalvault-otel (.*)$", re.MULTILINE)


# A click command; typer brings its own copy of click or uses the installed one, depending on its version.
Command = Any


def _leaves(command: Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, subcommand in inner.items():
        yield from _leaves(subcommand, (*words, name))
    # After its commands: the first that fits a line is the one it shows.
    if words and command.invoke_without_command:
        yield words, command


@pytest.fixture(scope="module")
def commands() -> dict[tuple[str, ...], Command]:
    return dict(_leaves(typer.main.get_command(app)))


def _shown() -> Iterator[tuple[str, list[str]]]:
    """Words after `evalvault-otel` of every line in a code block, with the place."""
    for page in _PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for line in _PROGRAM.findall(block.replace("\\\n", " ")):
                yield f"{page.name}: {line}", shlex.split(line, comments=True)


def test_command_page_has_a_section_for_every_command(commands: dict[tuple[str, ...], Command]) -> None:
    page = (ROOT / "docs" / "cli.md").read_text()

    assert [words for words in commands if f"\n## {' '.join(words)}\n" not in page] == []


def test_pages_show_only_commands_and_options_that_exist(commands: dict[tuple[str, ...], Command]) -> None:
    shown = list(_shown())

    assert len(shown) > 10
    assert [place for place, words in shown if not _exists(words, commands)] == []


def _exists(words: list[str], commands: dict[tuple[str, ...], Command]) -> bool:
    found = next((command for name, command in commands.items() if tuple(words[: len(name)]) == name), None)
    if found is None:
        return False
    known = {option for param in found.params for option in (*param.opts, *param.secondary_opts)}
    used = {word.partition("=")[0] for word in words if word.startswith("-")}
    return used <= known | {"--help", "--debug"}


def test_api_page_lists_the_routes_that_exist(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    listed = set(re.findall(r"^\| `(?:GET|POST) (/\S*)` \|", page, re.MULTILINE))
    store = open_store(str(tmp_path / "test.db"))
    api = create_api(store, CollectorRegistry())
    settings, telemetry = Settings(), IngestTelemetry(CollectorRegistry())
    receiver = Receiver(Ingestor(store, settings, telemetry), settings, telemetry, Keys())
    add_stage_events(api, receiver, settings)
    add_relevance(api, receiver, settings)
    store.close()

    assert listed == set(api.openapi()["paths"])


def test_findings_page_lists_the_codes_that_exist() -> None:
    page = (ROOT / "docs" / "findings.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \| (.+) \|$", page, re.MULTILINE)

    assert listed == [(code, said.severity, said.unknown, said.fix) for code, said in CODES.items()]


def test_every_attribute_of_every_convention_is_in_the_tables() -> None:
    pages = (ROOT / "docs" / "conventions.md").read_text() + (ROOT / "docs" / "other-conventions.md").read_text()
    ours = {"evalvault", "openinference"}  # their tables shorten keys; tests of their own hold them to the code
    keys = [
        key for d in DIALECTS if d.name not in ours for key in (*(r.key for r in d.rules), *(t.key for t in d.typings))
    ]

    assert [key for key in keys if f"`{key}`" not in pages] == []
