"""A database that cannot be reached: every call says so, soon, and a store that is closed says so too."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.errors import SettingsError, Unavailable
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.records import RunFilter
from tests.support.traces import TRACE_ID, batches, span, stage

CALLS: dict[str, Callable[[Store], object]] = {
    "migrate": lambda store: store.migrate(),
    "ping": lambda store: store.ping(),
    "write": lambda store: store.write(batches(stage(1, 0, "tool")), [], 1),
    "due_traces": lambda store: store.due_traces(1, 1),
    "reassemble": lambda store: store.reassemble(TRACE_ID, assemble, 1),
    "spans": lambda store: store.spans(TRACE_ID),
    "runs": lambda store: store.runs(RunFilter(), 1),
}
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
LONGEST_S = 8.0


# Each takes as long as the store tries.
@pytest.mark.parametrize("call", ["migrate", "ping", "write", "runs"])
def test_a_server_that_is_away(call: str) -> None:
    store = open_store(NOWHERE)
    started = time.monotonic()

    with pytest.raises(Unavailable) as caught:
        CALLS[call](store)

    store.close()
    assert time.monotonic() - started < LONGEST_S
    assert caught.value.retryable
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", CALLS)
def test_a_file_in_a_folder_that_is_gone(call: str, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    store = open_store(str(tmp_path / "gone" / "test.db"))
    shutil.rmtree(tmp_path / "gone")

    with pytest.raises(Unavailable):
        CALLS[call](store)

    store.close()


@pytest.mark.parametrize("call", CALLS)
def test_a_file_that_only_begins_as_a_database(call: str, tmp_path: Path) -> None:
    (tmp_path / "test.db").write_bytes(b"SQLite format 3\0" + b"Dear diary, " * 1000)
    store = open_store(str(tmp_path / "test.db"))

    with pytest.raises(Unavailable):
        CALLS[call](store)

    store.close()


@pytest.mark.parametrize("call", [name for name in CALLS if name != "migrate"])
def test_a_database_without_tables(call: str, db_url: str) -> None:
    store = open_store(db_url)
    try:
        with pytest.raises(Unavailable):
            CALLS[call](store)
        # And once the tables are there, the same store works
        store.migrate()
        CALLS[call](store)
    finally:
        store.close()


def test_looking_for_a_file_does_not_make_one(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "none.db"))

    with pytest.raises(Unavailable, match=r"none\.db"):
        store.ping()

    store.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "http://host", "/no/such/folder/test.db", "sqlite:////no/such/test.db"]
)
def test_an_address_that_cannot_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="--db"):
        open_store(url)


@pytest.mark.parametrize("call", [name for name in CALLS if name != "ping"])
def test_a_store_that_was_closed(store: Store, call: str) -> None:
    CALLS["write"](store)
    store.close()
    store.close()

    with pytest.raises(Unavailable, match="closed"):
        CALLS[call](store)


def test_a_store_that_was_never_used_can_be_closed(db_url: str) -> None:
    store = open_store(db_url)
    store.close()
    store.close()


def test_after_its_connections_were_killed_the_store_comes_back(postgres_url: str) -> None:
    store = open_store(postgres_url)
    store.migrate()
    stored = _write_until_it_works(store, 1)

    # When the server ends all connections of the store
    _kill_connections(postgres_url)

    # Then it may say "try again" for a while, stores nothing twice, and works soon
    stored += _write_until_it_works(store, 2)
    store.close()
    assert stored == 2


def _kill_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _write_until_it_works(store: Store, number: int) -> int:
    for _ in range(10):
        try:
            return store.write(batches(stage(number, 0, "tool")), [], 1).stored
        except Unavailable:
            time.sleep(0.1)
    raise AssertionError("the store did not come back")


def test_a_write_that_is_interrupted_stores_nothing(postgres_url: str) -> None:
    # Given a write that waits for a trace which another transaction holds
    store = open_store(postgres_url)
    store.migrate()
    failures: list[Exception] = []

    def write() -> None:
        try:
            store.write(batches(stage(1, 0, "tool")), [], 1)
        except Unavailable as exc:
            failures.append(exc)

    writing = threading.Thread(target=write)
    with psycopg.connect(postgres_url) as blocker:
        blocker.execute(
            "INSERT INTO trace (trace_id, span_count, dirty, assemblies, received_ns) VALUES (%s, 0, false, 0, 0)",
            (TRACE_ID,),
        )
        writing.start()
        time.sleep(0.3)
        # When its connection is cut
        _kill_waiting(postgres_url)
        writing.join(10)
        blocker.rollback()

    # Then the caller is told to try again, and nothing is there
    assert len(failures) == 1
    assert store.spans(TRACE_ID) == []
    assert _write_until_it_works(store, 1) == 1
    store.close()


def _kill_waiting(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock'"
        )


def test_a_trace_that_another_process_assembles_is_left_to_it(postgres_url: str) -> None:
    store = open_store(postgres_url)
    store.migrate()
    store.write(batches(stage(2, 1, "tool")), [], 1)
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (TRACE_ID,))

        assert not store.reassemble(TRACE_ID, assemble, 1)
        # Nobody who adds to it waits for that
        assert store.write(batches(span(3, 1)), [], 1).stored == 1

    assert store.reassemble(TRACE_ID, assemble, 1)
    store.close()


def test_a_writer_that_holds_a_trace_for_a_moment_is_waited_for(postgres_url: str) -> None:
    store = open_store(postgres_url)
    store.migrate()
    store.write(batches(stage(2, 1, "tool")), [], 1)
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT 1 FROM trace WHERE trace_id = %s FOR UPDATE", (TRACE_ID,))
        release = threading.Timer(0.2, other.commit)
        release.start()

        assert store.reassemble(TRACE_ID, assemble, 1)
        release.join()

    store.close()
