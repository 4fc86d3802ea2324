"""The command line as a process: what it prints, its exit codes, and that errors are one line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
import typer
from typer.testing import CliRunner

from evalvault_otel import __version__
from evalvault_otel.cli.commands import app
from evalvault_otel.cli.serve import without_password
from evalvault_otel.store import open_store
from tests.support.stages import PLANTED_TRACES, RUN, planted_run, save, tid
from tests.support.traces import TRACE_ID, batches, kind

DEAD = "postgresql://nobody:secret@127.0.0.1:1/nothing"
Said = subprocess.CompletedProcess[str]


def evalvault(*arguments: str, cwd: Path | None = None, **variables: str) -> Said:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVALVAULT_", "OTEL_"))}
    command = [sys.executable, "-m", "evalvault_otel", *arguments]
    environment = {**kept, **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def error_of(said: Said) -> str:
    """The one line that an error is."""
    assert said.stdout == ""
    (line,) = said.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with the planted run."""
    url = f"sqlite:///{tmp_path_factory.mktemp('cli') / 'filled.db'}"
    fill(url)
    return url


def fill(url: str) -> None:
    with closing(open_store(url)) as store:
        store.migrate()
        save(store, *planted_run())


# Help.


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        if command.invoke_without_command and path:
            yield path
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))
    else:
        yield path


ALL = list(commands(typer.main.get_command(app)))


def test_all_commands_are_there() -> None:
    expected = [
        ("assets", "graph"),
        ("assets", "list"),
        ("assets", "show"),
        ("compare",),
        ("db", "check"),
        ("db", "migrate"),
        ("db", "prune"),
        ("debug", "report"),
        ("demo",),
        ("doctor",),
        ("export",),
        ("import",),
        ("keys", "create"),
        ("keys", "list"),
        ("rejects",),
        ("rejects", "show"),
        ("remap",),
        ("rules", "check"),
        ("rules", "example"),
        ("rules", "test"),
        ("runs",),
        ("serve",),
        ("stage", "compute-metrics"),
        ("stage", "ingest"),
        ("stage", "list"),
        ("stage", "report"),
        ("stage", "summary"),
        ("trace",),
    ]
    assert sorted(ALL) == expected


@pytest.mark.parametrize("path", ALL, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help_with_an_example(path: tuple[str, ...], flag: str) -> None:
    said = CliRunner().invoke(app, [*path, flag])
    assert said.exit_code == 0
    assert f"Example: evalvault-otel {' '.join(path)}" in said.output.replace("`", "")
    assert OPTIONS.get(path[0], "--db") in said.output


# Commands that look at something else than a database.
OPTIONS = {"keys": "--file", "rules": "rules.yaml"}


@pytest.mark.parametrize(
    "path",
    [
        *[("runs",), ("trace",), ("stage", "summary"), ("debug", "report"), ("import",), ("remap",)],
        *[("assets", "list"), ("assets", "show"), ("assets", "graph")],
        *[("compare",), ("stage", "ingest"), ("stage", "list"), ("stage", "compute-metrics"), ("stage", "report")],
    ],
    ids=" ".join,
)
def test_every_command_that_prints_data_can_print_json(path: tuple[str, ...]) -> None:
    assert "--json" in CliRunner().invoke(app, [*path, "--help"]).output


def test_the_version() -> None:
    said = evalvault("--version")
    assert (said.returncode, said.stdout) == (0, f"evalvault-otel {__version__}\n")


# Looking, in every database.


def test_runs(db_url: str) -> None:
    fill(db_url)
    said = evalvault("runs", "--db", db_url)
    assert (said.returncode, said.stderr) == (0, "")
    header, line = said.stdout.splitlines()
    assert header.split()[:3] == ["RUN", "KIND", "SERVICE"]
    assert line.split()[:3] == [RUN, "offline", "rag-api"]
    assert line.split()[-4:] == [str(PLANTED_TRACES), "4", str(5 * PLANTED_TRACES), "4"]
    (listed,) = orjson.loads(evalvault("runs", "--db", db_url, "--json").stdout)
    assert (listed["run_id"], listed["traces"], listed["dataset"]) == (RUN, PLANTED_TRACES, "qa")


def test_runs_of_another_kind_are_left_out(filled: str) -> None:
    assert evalvault("runs", "--db", filled, "--kind", "offline").returncode == 0
    said = evalvault("runs", "--db", filled, "--kind", "online")
    assert said.returncode == 1
    assert "no run found" in error_of(said)


def test_the_database_of_the_environment_is_used(filled: str, tmp_path: Path) -> None:
    assert RUN in evalvault("runs", cwd=tmp_path, EVALVAULT_DB=filled).stdout
    assert evalvault("runs", "--db", str(tmp_path / "none.db"), EVALVAULT_DB=filled).returncode == 3


def test_a_trace_says_why_and_what_fixes_its_findings(db_url: str) -> None:
    spans = [kind(1, 0, "LLM", {"evalvault.stage.type": "rerank", "evalvault.run.id": "r"}, dropped_events=2)]
    with closing(open_store(db_url)) as store:
        store.migrate()
        store.write(batches(*spans), [], 1)
    said = evalvault("trace", TRACE_ID, "--db", db_url, "--why").stdout
    assert "warning: The SDK dropped 2 events of span 0000000000000001" in said
    assert "\n  fix: Set OTEL_SPAN_EVENT_COUNT_LIMIT=1000" in said
    why = said.partition("\nwhy rerank 0000000000000001\n")[2]
    assert why.splitlines()[:2] == [
        '  type: attribute:evalvault.stage.type: evalvault.stage.type = "rerank"',
        "  run: r, from evalvault.run.id of this span",
    ]
    assert "  conflict: evalvault.stage.type says rerank, openinference.span.kind says generation" in why
    shown = orjson.loads(evalvault("trace", TRACE_ID, "--db", db_url, "--why", "--json").stdout)
    assert [(why["attribute"], why["value"]) for why in shown["why"]] == [("evalvault.stage.type", '"rerank"')]


def test_a_trace_is_shown_as_a_tree(filled: str) -> None:
    said = evalvault("trace", tid(5).upper(), "--db", filled, "--why")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"trace {tid(5)}  run {RUN}")
    table, _, reasons = said.stdout.partition("\nwhy ")
    lines = {line.split()[0]: line for line in table.splitlines()[2:]}
    assert set(lines) == {"input", "query_rewrite", "retrieval", "rerank", "output"}
    assert reasons.count("\nwhy ") == 4
    assert "error: no closing quote" in lines["query_rewrite"]
    assert "attribute:evalvault.stage.type" in lines["rerank"]
    assert "prompt answer (v1)" in lines["output"]
    shown = orjson.loads(evalvault("trace", tid(5), "--db", filled, "--json").stdout)
    assert shown["trace"]["trace_id"] == tid(5)
    assert len(shown["stages"]) == 5
    assert {use["kind"] for use in shown["assets"]} == {"prompt", "index"}


def test_the_summary_of_a_run(filled: str) -> None:
    said = evalvault("stage", "summary", RUN, "--db", filled)
    assert (said.returncode, said.stderr) == (0, "")
    lines = {line.split()[0]: line.split()[1:3] for line in said.stdout.splitlines()[1:] if line.split()}
    assert lines["query_rewrite"] == [str(PLANTED_TRACES), "4"]
    assert lines["rerank"] == [str(PLANTED_TRACES), "0"]
    shown = orjson.loads(evalvault("stage", "summary", RUN, "--db", filled, "--json").stdout)
    assert (shown["run_id"], shown["total_events"]) == (RUN, 5 * PLANTED_TRACES)
    assert shown["stage_type_counts"]["output"] == PLANTED_TRACES


# The report.


@pytest.mark.parametrize("options", [(), ("--format", "markdown"), ("-f", "markdown")])
def test_the_report_in_markdown(filled: str, options: tuple[str, ...]) -> None:
    said = evalvault("debug", "report", RUN, "--db", filled, *options)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"# Debug report: {RUN}\n")
    assert all(word in said.stdout for word in ("`rerank`", "ValueError", "`answer`", "found nothing"))


@pytest.mark.parametrize("options", [("--format", "json"), ("-f", "json"), ("--json",)])
def test_the_report_in_json(filled: str, options: tuple[str, ...]) -> None:
    said = evalvault("debug", "report", RUN, "--db", filled, *options)
    assert (said.returncode, said.stderr) == (0, "")
    assert RUN in str(orjson.loads(said.stdout))


@pytest.mark.parametrize("form", ["json", "markdown"])
def test_a_report_in_a_file_is_the_report_on_the_screen(filled: str, tmp_path: Path, form: str) -> None:
    path = tmp_path / "report"
    said = evalvault("debug", "report", RUN, "--db", filled, "-f", form, "-o", str(path))
    assert (said.returncode, said.stdout, said.stderr) == (0, f"written to {path}\n", "")
    on_screen = evalvault("debug", "report", RUN, "--db", filled, "-f", form).stdout
    assert path.read_text("utf-8").rstrip("\n") == on_screen.rstrip("\n")


def test_a_report_into_a_folder_that_is_none(filled: str, tmp_path: Path) -> None:
    said = evalvault("debug", "report", RUN, "--db", filled, "-o", str(tmp_path / "none" / "report.md"))
    assert said.returncode == 2
    assert "none/report.md" in error_of(said)


# Exit codes.

LOOKING = [("runs",), ("trace", tid(1)), ("stage", "summary", RUN), ("debug", "report", RUN)]
looking = pytest.mark.parametrize("arguments", LOOKING, ids=lambda words: " ".join(words[:2]))


@pytest.mark.parametrize(
    "arguments, named",
    [
        (("stage", "summary", "no-run"), "no-run"),
        (("stage", "list", "no-run"), "no-run"),
        (("stage", "list", RUN, "--stage-type", "unheard"), RUN),
        (("stage", "compute-metrics", "no-run"), "no-run"),
        (("stage", "report", "no-run"), "no-run"),
        (("compare", RUN, "no-run"), "no-run"),
        (("debug", "report", "no-run"), "no-run"),
        (("trace", "f" * 32), "f" * 32),
    ],
)
def test_what_is_not_there_is_1(filled: str, arguments: tuple[str, ...], named: str) -> None:
    said = evalvault(*arguments, "--db", filled)
    assert said.returncode == 1
    assert named in error_of(said)


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("runs", "--no-such-option"),
        ("runs", "--limit", "0"),
        ("runs", "--limit", "many"),
        ("trace",),
        ("debug", "report", RUN, "-f", "pdf"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_2(arguments: tuple[str, ...]) -> None:
    said = evalvault(*arguments)
    assert (said.returncode, said.stdout) == (2, "")
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("url", ["mysql://host/db", "/no/such/folder/x.db"])
def test_a_database_that_cannot_be_meant_is_2(url: str) -> None:
    said = evalvault("runs", "--db", url)
    assert said.returncode == 2
    assert url.rpartition("/")[0] in error_of(said)


@pytest.mark.parametrize("url", ["", ":memory:", "sqlite://", "sqlite:///:memory:", "."])
def test_serving_needs_a_file_that_stays(tmp_path: Path, url: str) -> None:
    # For SQLite these are databases that end with their connection: what was acknowledged would be lost.
    said = evalvault("serve", "--db", url, "--grpc", ":0", "--http", ":0", "--api", ":0", cwd=tmp_path)
    assert said.returncode == 2
    assert "--db must name a file" in error_of(said)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    said = evalvault("serve", "--db", str(tmp_path), "--grpc", ":0", "--http", ":0", "--api", ":0")
    assert said.returncode == 2
    assert f"--db {tmp_path} is a folder" in error_of(said)


@pytest.mark.parametrize(
    "url, shown",
    [
        ("postgresql://me:s3cret@host:1/db", "postgresql://me:***@host:1/db"),
        ("postgresql://:s3cret@host/db", "postgresql://:***@host/db"),
        ("postgresql://me:s3/c#r@et@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db?password=s3cret&port=1", "postgresql://me@host/db?password=***&port=1"),
        ("postgresql:///db?host=/tmp&sslpassword=s3cret", "postgresql:///db?host=/tmp&sslpassword=***"),
        ("postgresql://me:@/db?host=/tmp", "postgresql://me:@/db?host=/tmp"),
        ("postgresql://host:1/db", "postgresql://host:1/db"),
        ("a folder/c:d@e.db", "a folder/c:d@e.db"),
    ],
)
def test_no_password_of_an_address_is_shown_wherever_it_stands(url: str, shown: str) -> None:
    assert without_password(url) == shown


@looking
def test_a_database_file_that_is_not_there_is_3_and_stays_away(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = evalvault(*arguments, "--db", "none.db", cwd=tmp_path)
    assert said.returncode == 3
    assert "none.db" in error_of(said)
    assert list(tmp_path.iterdir()) == []


@looking
def test_a_server_that_is_away_is_3_and_no_password_is_shown(arguments: tuple[str, ...]) -> None:
    said = evalvault(*arguments, "--db", DEAD)
    assert said.returncode == 3
    assert "secret" not in error_of(said)


def test_a_file_that_is_no_database_is_2(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("not a database, but long enough to look like one" * 50)
    said = evalvault("runs", "--db", str(path))
    assert said.returncode == 2
    error_of(said)


@pytest.mark.parametrize(
    "words", [("--debug", "stage", "summary", "no-run"), ("stage", "summary", "no-run", "--debug")]
)
def test_the_traceback_is_shown_on_demand(filled: str, words: tuple[str, ...]) -> None:
    said = evalvault(*words, "--db", filled)
    assert said.returncode != 0
    assert "Traceback (most recent call last)" in said.stderr
    assert "NotFound" in said.stderr


def test_a_reader_that_goes_away_harms_nothing(filled: str) -> None:
    command = [sys.executable, "-m", "evalvault_otel", "debug", "report", RUN, "--db", filled, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    process.wait(30)
    assert "Traceback" not in errors
