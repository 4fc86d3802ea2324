"""`db migrate`, `db check` and `db prune` as processes, on every store."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from typer.testing import CliRunner

from benchmarks.database import of_url
from evalvault_otel.cli.commands import app
from evalvault_otel.errors import InvalidInput
from evalvault_otel.model import Reject
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.migrations import scripts
from tests.support.traces import RUN_ID, batches, new_trace_id, span, stage

FREE = "127.0.0.1:0"
DEAD = "postgresql://nobody:secret@127.0.0.1:1/nothing"
NEWEST = scripts("sqlite")[-1][0]
DAY = 86_400 * 10**9
Said = subprocess.CompletedProcess[str]


def evalvault(*arguments: str) -> Said:
    command = [sys.executable, "-m", "evalvault_otel", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def shown(*arguments: str) -> Any:
    return orjson.loads(evalvault(*arguments, "--json").stdout)


def change(db_url: str, statement: str) -> None:
    """Run a statement from outside, for good."""
    if db_url.startswith("sqlite"):
        with closing(sqlite3.connect(db_url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute(statement)
    else:
        with psycopg.connect(db_url, autocommit=True) as server:
            server.execute(statement.encode())


def fill(store: Store, days_ago: int, traces: int) -> None:
    """Traces of two spans that arrived then, and a reject."""
    at_ns = time.time_ns() - days_ago * DAY
    run = {RUN_ID: f"{days_ago}-days-ago"}
    ids = [new_trace_id() for _ in range(traces)]
    spans = [made for one in ids for made in (stage(1, 0, "input", run, trace_id=one), span(2, 1, trace_id=one))]
    store.write(batches(*spans), [Reject("why", b"x")], at_ns)


# migrate


def test_migrate_says_how_many_ran(db_url: str) -> None:
    first, second = (evalvault("db", "migrate", "--db", db_url) for _ in range(2))

    total = len(scripts("sqlite"))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"{total} migrations ran: the tables have version {NEWEST}\n"
    assert (second.returncode, second.stdout) == (0, f"0 migrations ran: the tables have version {NEWEST}\n")
    assert shown("db", "migrate", "--db", db_url) == {"ran": 0, "version": NEWEST}


@pytest.mark.parametrize("words", [("migrate",), ("check",), ("prune", "--older-than", "1d")], ids=" ".join)
def test_a_server_that_is_away_is_3(words: tuple[str, ...]) -> None:
    said = evalvault("db", *words, "--db", DEAD)

    assert (said.returncode, said.stdout) == (3, "")
    assert said.stderr.startswith("error: ")
    assert "secret" not in said.stderr


@pytest.mark.parametrize("words", [("check",), ("prune", "--older-than", "1d")], ids=" ".join)
def test_a_file_that_is_not_there_stays_away(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert evalvault("db", *words, "--db", str(tmp_path / "none.db")).returncode == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("db", "migrate"), ("serve", "--grpc", FREE, "--http", FREE, "--api", FREE)], ids=lambda words: words[0]
)
def test_tables_of_a_newer_version_are_refused(store: Store, db_url: str, words: tuple[str, ...]) -> None:
    change(db_url, "INSERT INTO migration (version, name) VALUES (9999, '9999_later.sql')")

    said = evalvault(*words, "--db", db_url)

    assert (said.returncode, said.stdout) == (2, "")
    assert "newer version of evalvault-otel" in said.stderr
    assert said.stderr.rstrip().endswith("upgrade evalvault-otel")


# check


def test_check_of_a_database_in_order(store: Store, db_url: str) -> None:
    fill(store, 0, 3)

    said = evalvault("db", "check", "--db", db_url)
    assert (said.returncode, said.stderr) == (0, "")
    words = {line.split()[0]: line.split()[1] for line in said.stdout.splitlines()[2:15]}
    assert (words["span"], words["trace"], words["reject"]) == ("6", "3", "1")
    assert "0 traces waiting for assembly" in said.stdout
    assert said.stdout.rstrip().endswith("no problem found")
    found = shown("db", "check", "--quick", "--db", db_url)
    assert (found["problems"], found["schema"]["version"], found["condition"]["waiting"]) == ([], NEWEST, 0)


def test_check_names_what_is_wrong(store: Store, db_url: str) -> None:
    fill(store, 0, 1)
    change(db_url, "DELETE FROM trace")

    said = evalvault("db", "check", "--db", db_url)

    assert said.returncode == 1
    assert "problem: 2 rows of span belong to no trace" in said.stdout
    assert "no problem" not in said.stdout


@pytest.mark.parametrize(
    "statement, remedy",
    [
        (f"DELETE FROM migration WHERE version = {NEWEST}", "run `evalvault-otel db migrate`"),  # noqa: S608 - a number
        ("INSERT INTO migration (version, name) VALUES (9999, 'later')", "upgrade evalvault-otel"),
    ],
    ids=["older", "newer"],
)
def test_check_of_another_version_names_the_remedy(store: Store, db_url: str, statement: str, remedy: str) -> None:
    change(db_url, statement)

    said = evalvault("db", "check", "--db", db_url)

    assert said.returncode == 1
    assert said.stdout.rstrip().endswith(remedy)
    assert shown("db", "check", "--db", db_url)["condition"] is None


# prune


def test_prune_removes_what_is_old_and_says_so(store: Store, db_url: str) -> None:
    for days, traces in ((40, 25), (31, 5), (29, 3), (0, 2)):
        fill(store, days, traces)

    plan = evalvault("db", "prune", "--older-than", "30d", "--dry-run", "--db", db_url)
    assert (plan.returncode, plan.stderr) == (0, "")
    assert "30 traces with 60 spans, the oldest from " in plan.stdout
    assert of_url(db_url).query("SELECT count(*) FROM trace") == [(35,)]

    said = evalvault("db", "prune", "--older-than", "30d", "--slice", "7", "--db", db_url)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.rstrip().endswith(": 30 traces, 60 spans, 30 stages, 2 runs, 2 rejects")
    assert of_url(db_url).query("SELECT count(*) FROM trace") == [(5,)]
    assert store.condition().orphans == ()
    again = evalvault("db", "prune", "--older-than", "30d", "--db", db_url)
    assert (again.returncode, again.stdout.rstrip()[-9:]) == (0, ": nothing")

    gone = shown("db", "prune", "--before", "2100-01-01", "--db", db_url)
    assert (gone["complete"], gone["removed"]["trace"], gone["removed"]["reject"]) == (True, 5, 2)
    assert (gone["before"], store.prunable(2**62).traces) == ("2100-01-01T00:00:00.000000Z", 0)


@pytest.mark.parametrize(
    "words, said",
    [
        ((), "--older-than 30d or --before 2026-01-31"),
        (("--older-than", "1d", "--before", "2026-01-01"), "in one way"),
        (("--older-than", "a month"), "'a month' is not a duration"),
        (("--before", "yesterday"), "'yesterday' is not a date"),
    ],
)
def test_prune_wants_to_know_what_is_old(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["db", "prune", *words, "--db", str(tmp_path / "none.db")])

    assert isinstance(done.exception, InvalidInput)
    assert said in str(done.exception)


def test_prune_stops_cleanly_and_goes_on_the_next_time(store: Store, db_url: str) -> None:
    fill(store, 40, 400)
    command = ["db", "prune", "--older-than", "30d", "--slice", "1", "--json", "--db", db_url]
    process = subprocess.Popen([sys.executable, "-m", "evalvault_otel", *command], stdout=subprocess.PIPE)
    while len(of_url(db_url).query("SELECT 1 FROM trace")) == 400:
        assert process.poll() is None
        time.sleep(0.01)

    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)

    said = orjson.loads(out)
    assert (process.returncode, said["complete"]) == (130, False)
    left = of_url(db_url).query("SELECT count(*) FROM trace")[0][0]
    assert 0 < left == 400 - said["removed"]["trace"]
    assert store.condition().orphans == ()
    assert shown("db", "prune", "--older-than", "30d", "--db", db_url)["removed"]["trace"] == left


def test_a_server_goes_on_while_old_traces_are_removed(db_url: str) -> None:
    """Everything that is written meanwhile is there at the end."""
    store = open_store(db_url)
    store.migrate()
    fill(store, 40, 200)
    command = ["db", "prune", "--older-than", "30d", "--slice", "20", "--db", db_url]
    process = subprocess.Popen([sys.executable, "-m", "evalvault_otel", *command], stdout=subprocess.DEVNULL)
    written = 0
    while process.poll() is None:
        fill(store, 0, 5)
        written += 5

    assert process.returncode == 0
    assert written > 0
    assert of_url(db_url).query("SELECT count(*) FROM trace") == [(written,)]
    assert of_url(db_url).query("SELECT count(*) FROM span") == [(2 * written,)]
    assert store.run("0-days-ago").traces == written
    store.close()
