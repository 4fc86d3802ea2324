"""Migrations: once, whoever starts, however many start at once."""

import subprocess
import sys
import threading
from pathlib import Path

from benchmarks.database import of_url
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.migrations import scripts

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
