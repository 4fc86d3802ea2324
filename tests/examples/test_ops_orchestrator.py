"""The OPS orchestrator, run for real on both databases: what is stored is what its own registry saw loaded."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.server import Server

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "examples" / "ops_orchestrator"
ABOUT = "run-to-ask-about"
LISTED = {"query": "queries", "screen": "screens"}


def _run(program: Path, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(program), *options]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def _get(server: Server, path: str) -> Any:
    with urllib.request.urlopen(server.url(path), timeout=20) as answer:  # noqa: S310 - our own server
        return json.load(answer)


def _filled(server: Server) -> Server:
    """A server with the 40 traces of the quickstart."""
    endpoint = f"http://{server.http}"
    done = _run(PROJECT / "examples/quickstart/app.py", "--run-id", ABOUT, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert done.returncode == 0, done.stderr
    return server


@pytest.fixture
def filled(server: Server) -> Server:
    return _filled(server)


def _ask(server: Server, *options: str) -> "subprocess.CompletedProcess[str]":
    place = ("--endpoint", f"http://{server.http}", "--api", f"http://{server.api}", "--db", server.db)
    return _run(FOLDER / "ops.py", *place, "--about", ABOUT, *options)


def test_what_is_stored_is_what_happened(filled: Server, tmp_path: Path) -> None:
    log = tmp_path / "loads.jsonl"
    done = _ask(filled, "--log", str(log))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 of 20 questions pass every check" in done.stdout
    run_id = done.stdout.rsplit("run ", 1)[1].split()[0]
    events = _get(filled, f"/api/stage/events/{quote(run_id)}?limit=1000")["events"]
    assert len({event["trace_id"] for event in events}) == 20
    assert {event["metadata"]["test_case_id"] for event in events} == {str(number) for number in range(1, 21)}
    assert _stored(events) == _loaded([json.loads(line) for line in log.read_text().splitlines()])
    _answers_come_from_the_database(filled, done.stdout)
    _skipped_stages_say_why(events)
    _further_attempts_are_stages_of_their_own(events)


def _answers_come_from_the_database(server: Server, table: str) -> None:
    said = " ".join(table.split())
    summary = _get(server, f"/api/stage/summary/{ABOUT}")
    rewrites = next(item for item in summary["stages"] if item["stage_type"] == "query_rewrite")

    assert "40 traces with 280 spans are stored." in said
    assert f"{rewrites['errors']} of {rewrites['count']} query_rewrite stages failed." in said


def _skipped_stages_say_why(events: list[dict[str, Any]]) -> None:
    skipped = [event for event in events if event["status"] == "skipped"]

    assert Counter((event["stage_type"], event["error_message"]) for event in skipped) == {
        (stage, reason): 1 for stage in ("validate", "execute", "compose") for reason in ("direct_answer", "rejected")
    }


def _further_attempts_are_stages_of_their_own(events: list[dict[str, Any]]) -> None:
    again = [(event["metadata"]["test_case_id"], event["stage_type"]) for event in events if event["attempt"] == 2]

    assert again == [("20", "route_plan"), ("20", "validate"), ("20", "execute")]


Use = tuple[str, str, int, str, str]


def _stored(events: list[dict[str, Any]]) -> Counter[Use]:
    """Question, stage type, attempt, kind and text of every use, from the texts that the API gives."""
    found: Counter[Use] = Counter()
    for event in events:
        stage = (event["metadata"]["test_case_id"], event["stage_type"], event["attempt"])
        for kind, texts in event["applied_assets"].items():
            for text in [texts] if isinstance(texts, str) else texts:
                found[*stage, kind, text] += 1
    return found


def _loaded(loads: list[dict[str, Any]]) -> Counter[Use]:
    return Counter(
        (
            load["question"],
            load["step"],
            load["attempt"],
            LISTED.get(load["kind"], load["kind"]),
            f"{load['name']} (v{load['version']})",
        )
        for load in loads
    )


def test_a_missing_asset_fails_its_questions_and_the_program(serve: Callable[..., Server], tmp_path: Path) -> None:
    filled = _filled(serve(str(tmp_path / "ops.db")))
    shutil.copytree(FOLDER / "assets", tmp_path / "assets")
    (tmp_path / "assets" / "query" / "tokens.sql").unlink()
    done = _ask(filled, "--assets", str(tmp_path / "assets"))

    assert done.returncode == 1
    assert "19 of 20 questions pass every check" in done.stdout
    assert "UnknownAsset" in done.stdout


def test_an_edit_without_a_new_version_shows(serve: Callable[..., Server], tmp_path: Path) -> None:
    filled = _filled(serve(str(tmp_path / "ops.db")))
    shutil.copytree(FOLDER / "assets", tmp_path / "assets")
    assert _ask(filled).returncode == 0
    edited = tmp_path / "assets" / "screen" / "note.txt"
    edited.write_text(f"{edited.read_text()}!\n")
    assert _ask(filled, "--assets", str(tmp_path / "assets")).returncode == 0

    (edit,) = _get(filled, "/api/assets/screen/note")["drift"]["edits"]
    assert (edit["version"], len(edit["digests"])) == ("1", 2)
    assert _get(filled, "/api/assets/screen/list")["drift"]["edits"] == []


@pytest.fixture
def checks() -> Iterator[ModuleType]:
    """The module that holds what was stored against what was loaded."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("checks")
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "change, told",
    [
        ({}, ""),
        ({"version": "2"}, "assets differ: only stored [('compose', 1, 'prompt', 'answer', '2', 'sha256:a')]"),
        ({"digest": "sha256:b"}, "only loaded [('compose', 1, 'prompt', 'answer', '1', 'sha256:a')]"),
        ({"name": "other"}, "assets differ"),
    ],
)
def test_the_checks_see_a_difference(checks: ModuleType, change: dict[str, str], told: str) -> None:
    use = {"kind": "prompt", "name": "answer", "version": "1", "digest": "sha256:a", **change}
    load = sys.modules["registry"].Load("1", "compose", 1, "prompt", "answer", "1", "sha256:a")
    wrong = checks._of_assets([{"stage_type": "compose", "attempt": 1, "assets": [use]}], [load])

    assert bool(wrong) == bool(told)
    assert told in "".join(wrong)
