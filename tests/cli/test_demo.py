"""`demo` as a user runs it, in a folder of their own: it finds what is planted, and leaves a database to look at."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

Twice = tuple[Path, list[subprocess.CompletedProcess[str]]]
PLANTED = (
    "`rerank` is sometimes slow",
    "`query_rewrite` failed in 3 of 40 traces with ValueError",
    "`output.citation_count` is below",
    "The prompt `qa_answer` changed from version 1 to version 2",
    "`retrieval` found nothing in 4 of 40 calls",
)


def evalvault(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVALVAULT_", "OTEL_"))}
    command = [sys.executable, "-m", "evalvault_otel", *arguments]
    environment = {**kept, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Twice:
    """A folder whose name holds a space, and what `demo` said there, twice."""
    folder = tmp_path_factory.mktemp("my demo")
    return folder, [evalvault(folder, "demo", "--db", "mine.db") for _ in range(2)]


def test_it_ends_well_both_times(twice: Twice) -> None:
    _, runs = twice
    assert [(run.returncode, run.stderr) for run in runs] == [(0, ""), (0, "")]


@pytest.mark.parametrize("planted", PLANTED)
def test_the_report_names_what_is_planted(twice: Twice, planted: str) -> None:
    for run in twice[1]:
        findings = run.stdout.partition("## Findings")[2].partition("\n## ")[0]
        (_, _, after) = findings.partition(planted)
        assert after, f"not in the findings: {planted}"
        assert after.split("\n   - ")[1].startswith("trace `"), "no example"


def test_it_leaves_one_run_each_and_nothing_else(
    twice: Twice,
) -> None:
    folder, _ = twice
    listed = orjson.loads(evalvault(folder, "runs", "--db", "mine.db", "--json").stdout)
    assert [(run["traces"], run["stages"], run["errors"]) for run in listed] == [(40, 240, 3)] * 2
    assert len({run["run_id"] for run in listed}) == 2
    assert {path.name for path in folder.iterdir()} <= {"mine.db", "mine.db-wal", "mine.db-shm"}


def test_the_commands_it_names_work(twice: Twice) -> None:
    folder, runs = twice
    named = [shlex.split(line) for line in runs[0].stdout.partition("Look further:")[2].splitlines() if "--db" in line]
    commands = [words[1:] for words in named if "serve" not in words]
    assert [words[0] for words in commands] == ["runs", "debug", "stage"]
    for words in commands:
        assert evalvault(folder, *words).returncode == 0


def test_variables_of_another_setup_do_not_lead_it_astray(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1/v1/traces"
    theirs = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": nowhere, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    keys = {"EVALVAULT_API_KEYS": "ingest:k", "EVALVAULT_RATE_REQUESTS": "0.1"}
    run = evalvault(tmp_path, "demo", EVALVAULT_HTTP="127.0.0.1:1", **theirs, **keys)
    assert run.returncode == 0, run.stderr
    assert "40 traces" in run.stdout
    assert (tmp_path / "evalvault-demo.db").exists()


def test_a_place_that_is_none_is_one_line(tmp_path: Path) -> None:
    run = evalvault(tmp_path, "demo", "--db", "no/such/folder/x.db")
    assert (run.returncode, run.stdout) == (2, "")
    (line,) = run.stderr.splitlines()
    assert line.startswith("error: ")
    assert "create it first" in line
