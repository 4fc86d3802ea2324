"""Migrations: once, whoever starts, however many start at once."""

import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg

from benchmarks.database import of_url
from evalvault_otel.assembly import assemble
from evalvault_otel.model import Reject
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.migrations import scripts
from tests.support.scripts import run_script
from tests.support.traces import TRACE_ID, at, batches, log, sid, span

ALL = len(scripts("sqlite"))


def _applied(db_url: str) -> list[tuple[int, str]]:
    return [tuple(row) for row in of_url(db_url).query("SELECT version, name FROM migration ORDER BY version")]


def _expected(db_url: str) -> list[tuple[int, str]]:
    return [(version, name) for version, name, _ in scripts(of_url(db_url).kind)]


def test_the_first_start_runs_them_all_and_the_second_none(db_url: str) -> None:
    store = open_store(db_url)
    try:
        assert [store.migrate(), store.migrate()] == [ALL, 0]
        assert _applied(db_url) == _expected(db_url)
        store.ping()
    finally:
        store.close()


def test_eight_threads_at_once_run_each_of_them_once(db_url: str) -> None:
    ran: list[int] = []
    ready = threading.Barrier(8)

    def start() -> None:
        store = open_store(db_url)
        ready.wait()
        ran.append(store.migrate())
        store.close()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ran) == [0] * 7 + [ALL]
    assert _applied(db_url) == _expected(db_url)


_START = """
import sys
from evalvault_otel.store import open_store
store = open_store(sys.argv[1])
sys.stdin.readline()
print(store.migrate())
store.close()
"""


def test_two_processes_at_once_run_each_of_them_once(db_url: str) -> None:
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", _START, db_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for start in starts:
        assert start.stdin is not None
        start.stdin.write("\n")
        start.stdin.flush()

    assert sorted(int(start.communicate(timeout=60)[0]) for start in starts) == [0, ALL]
    assert _applied(db_url) == _expected(db_url)


def test_a_migration_that_fails_leaves_nothing_half_done(tmp_path: Path) -> None:
    # Given a database in which a table of another program has one of our names
    db_url = f"sqlite:///{tmp_path / 'test.db'}"
    of_url(db_url).query("CREATE TABLE run_trace (theirs INTEGER)")
    store = open_store(db_url)

    failed = _fails(store)
    store.close()

    # Then none of our tables is there
    assert failed
    assert of_url(db_url).query("SELECT name FROM sqlite_master WHERE type = 'table'") == [("run_trace",)]


def test_tables_of_the_first_version_with_data_are_brought_up_to_date(db_url: str) -> None:
    # Given a database of the first version, with a reject before its bounds, a whole trace and one in two pieces
    database = of_url(db_url)
    _run(db_url, scripts(database.kind)[0][2], _FIRST_VERSION)

    store = open_store(db_url)
    try:
        assert store.migrate() == ALL - 1

        # Then the rejects say the usual for what they did not say, and count for the bounds
        rejects = "SELECT signal, encoding, count, size, length(payload), upto_bytes FROM reject ORDER BY id"
        assert database.query(rejects) == [
            ("traces", "bytes", 1, 3, 3, 3),
            ("traces", "bytes", 1, 70_000, 65_536, 65_539),
        ]
        store.write([], [Reject("new", b"12345")], 30)
        assert database.query(rejects)[-1][-1] == 65_544
        # And a trace is as old as its latest arrival
        arrivals = "SELECT trace_id, received_ns FROM trace ORDER BY trace_id"
        assert database.query(arrivals) == [("aa", 10), ("bb", 25), ("cc", 12)]
    finally:
        store.close()


_FIRST_VERSION = """
CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO migration VALUES (1, '0001_initial.sql');
INSERT INTO reject (received_ns, transport, peer, reason, size, payload)
    VALUES (1, 'http', 'me', 'why', 3, 'abc'), (2, 'http', 'me', 'why', 70000, '{long}');
INSERT INTO trace (trace_id, span_count, dirty, assemblies, assembled_ns, received_ns)
    VALUES ('aa', 1, {false}, 1, 10, 10), ('bb', 2, {false}, 2, 40, 11), ('cc', 0, {true}, 0, NULL, 12);
INSERT INTO span (trace_id, span_id, parent_span_id, name, kind, start_ns, end_ns, status_code, status_message,
    attributes, flags, trace_state, resource_id, scope_id, received_ns)
    VALUES ('aa', '1', '', '', 0, 0, 0, 0, '', '{}', 0, '', '', '', 99),
        ('bb', '1', '', '', 0, 0, 0, 0, '', '{}', 0, '', '', '', 25),
        ('bb', '2', '', '', 0, 0, 0, 0, '', '{}', 0, '', '', '', 11);
"""


def _run(db_url: str, *scripts_said: str) -> None:
    """Run scripts from outside, for good; `{true}` and `{false}` become what the database calls them."""
    sqlite = of_url(db_url).kind == "sqlite"
    words = {"{true}": "1" if sqlite else "true", "{false}": "0" if sqlite else "false", "{long}": "x" * 70_000}
    for script in scripts_said:
        text = re.sub(r"\{\w+\}", lambda word: words[word[0]], script)
        if sqlite:
            with closing(sqlite3.connect(db_url.removeprefix("sqlite:///"))) as file:
                file.executescript(text)
        else:
            with psycopg.connect(db_url) as server:
                server.execute(text.encode())


def _fails(store: Store) -> bool:
    try:
        store.migrate()
    except Exception:  # noqa: BLE001 - which error it is does not matter here
        return True
    return False


_OTHER = "1" * 32


def _of_the_first_version(db_url: str) -> Store:
    """A store on a database as the first version left it."""
    _, _, first = scripts(of_url(db_url).kind)[0]
    run_script(db_url, first + (Path(__file__).parent / "first_version.sql").read_text())
    return open_store(db_url)


def test_a_database_of_the_first_version_keeps_its_answers_and_goes_on(db_url: str) -> None:
    store = _of_the_first_version(db_url)
    try:
        assert store.migrate() == ALL - 1
        assert _applied(db_url) == _expected(db_url)

        # What was there is there
        assert [item.span_id for item in store.spans(TRACE_ID)] == [sid(1)]
        assert store.logs(TRACE_ID) == []
        run = store.run("nightly")
        assert (run.name, run.kind, run.dataset, run.dataset_version) == ("my run", "offline", "insurance-qa", "1.2")
        assert (run.traces, run.last_ns) == (2, at(100))
        assert [part.run_name for part in store.trace(_OTHER).parts] == ["my run"]
        assert store.due_traces(2**62, 10) == []

        # And an old trace takes log events and spans
        event = log(1, "evalvault.asset.used", {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"})
        written = store.write(batches(span(2, 1), logs=[event]), [], 2)
        assert (written.stored, written.logs_stored) == (1, 1)
        assert store.reassemble(TRACE_ID, assemble, 3)
        assert [use.name for use in store.asset_uses(TRACE_ID)] == ["p"]
        # The run keeps its name until each of the older traces has been looked at again, and none of them said it
        assert store.run("nightly").name == "my run"
        store.write(batches(logs=[replace(event, trace_id=_OTHER)]), [], 4)
        assert store.reassemble(_OTHER, assemble, 5)
        assert (store.run("nightly").name, store.run("nightly").traces) == (None, 2)
    finally:
        store.close()
