"""Migrations: once, whoever starts, however many start at once."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from benchmarks.database import of_url
from evalvault_otel.assembly import assemble
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
