"""The reject table, on every store: what is kept, what makes room, who may write, how it is read."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from benchmarks.database import of_url
from evalvault_otel.errors import InvalidInput, NotFound
from evalvault_otel.model import Reject
from evalvault_otel.store import RejectBounds, Store, open_store
from evalvault_otel.store.records import RejectFilter, RejectRow
from evalvault_otel.store.rejecting import MAX_PAYLOAD_BYTES

NOW = 1_700_000_000_000_000_000
ANY = RejectFilter()


@contextmanager
def bounded(db_url: str, rows: int = 10_000, payload_bytes: int = 1 << 30) -> Iterator[Store]:
    """A store with these bounds on the same database."""
    store = open_store(db_url, rejects=RejectBounds(rows, payload_bytes))
    try:
        yield store
    finally:
        store.close()


def reasons(store: Store, wanted: RejectFilter = ANY) -> list[str]:
    return [row.reason for row in store.rejects(wanted, 1000).items]


def kept_bytes(db_url: str) -> int:
    return int(of_url(db_url).query("SELECT COALESCE(sum(length(payload)), 0) FROM reject")[0][0])


def test_all_that_a_reject_says_is_kept(store: Store) -> None:
    said = Reject("span_id is all zeros", b"\x00\xff", "grpc", "ipv4:10.0.0.1:5", "logs", "protobuf", 3)

    store.write([], [said], NOW)

    (row,) = store.rejects(ANY, 10).items
    expected = RejectRow(
        id=row.id,
        received_ns=NOW,
        transport="grpc",
        peer="ipv4:10.0.0.1:5",
        signal="logs",
        encoding="protobuf",
        reason="span_id is all zeros",
        count=3,
        size=2,
        payload=b"\x00\xff",
    )
    assert row == store.reject(row.id) == expected


def test_a_long_payload_is_cut_and_its_size_still_told(store: Store) -> None:
    store.write([], [Reject("why", b"x" * (MAX_PAYLOAD_BYTES + 1)), Reject("why", b"y" * MAX_PAYLOAD_BYTES)], NOW)

    exact, cut = (store.reject(row.id) for row in store.rejects(ANY, 10).items)
    assert (cut.size, cut.payload) == (MAX_PAYLOAD_BYTES + 1, b"x" * MAX_PAYLOAD_BYTES)
    assert (exact.size, exact.payload) == (MAX_PAYLOAD_BYTES, b"y" * MAX_PAYLOAD_BYTES)


def test_a_list_shows_only_the_first_bytes(store: Store) -> None:
    store.write([], [Reject("why", b"x" * 5000)], NOW)

    assert store.rejects(ANY, 10).items[0].payload == b"x" * 512


# Bounds.


def test_the_oldest_go_beyond_the_number_of_rows(store: Store, db_url: str) -> None:
    with bounded(db_url, rows=3) as small:
        for number in range(4):
            small.write([], [Reject(f"{number}a", b""), Reject(f"{number}b", b"")], NOW)
    assert reasons(store) == ["3b", "3a", "2b"]


def test_the_oldest_go_beyond_the_bytes_of_payload(store: Store, db_url: str) -> None:
    with bounded(db_url, payload_bytes=100) as small:
        for number in range(5):
            small.write([], [Reject(f"{number}", b"x" * 40)], NOW)
            assert kept_bytes(db_url) <= 100
        assert reasons(store) == ["4", "3"]

        small.write([], [Reject("exactly", b"x" * 20)], NOW)
        assert (reasons(store), kept_bytes(db_url)) == (["exactly", "4", "3"], 100)
        small.write([], [Reject("empty", b"")], NOW)
        assert reasons(store) == ["empty", "exactly", "4", "3"]
        small.write([], [Reject("one more", b"x")], NOW)
        assert reasons(store) == ["one more", "empty", "exactly", "4"]


def test_one_write_can_be_larger_than_the_table_may_be(store: Store, db_url: str) -> None:
    with bounded(db_url, rows=3, payload_bytes=50) as small:
        small.write([], [Reject(f"{number}", b"x" * 20) for number in range(100)], NOW)
        assert reasons(store) == ["99", "98"]
        small.write([], [Reject("large", b"x" * 1000)], NOW)
    (row,) = store.rejects(ANY, 10).items
    assert (row.reason, row.size, len(row.payload)) == ("large", 1000, 50)


def test_a_smaller_bound_takes_effect_with_the_next_reject(store: Store, db_url: str) -> None:
    store.write([], [Reject(f"{number}", b"x" * 10) for number in range(50)], NOW)
    with bounded(db_url, payload_bytes=30) as small:
        small.write([], [Reject("new", b"x" * 10)], NOW)
    assert reasons(store) == ["new", "49", "48"]


def test_many_writers_at_once_keep_within_the_bounds(store: Store, db_url: str) -> None:
    """Each with a store of its own, as processes have."""
    ready = threading.Barrier(4)

    def write(name: str) -> None:
        with bounded(db_url, payload_bytes=1000) as small:
            ready.wait()
            for number in range(12):
                small.write([], [Reject(f"{name}{number}", b"x" * 60), Reject(f"{name}{number}", b"x" * 37)], NOW)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # 96 rejects came; as many of the latest are kept as fit, and one more would not.
    assert 1000 - 60 < kept_bytes(db_url) <= 1000
    sizes = "SELECT upto_bytes, length(payload) FROM reject ORDER BY id"
    rows = of_url(db_url).query(sizes)
    assert all(after[0] == before[0] + after[1] for before, after in itertools.pairwise(rows))


# Reading.


def test_pages_by_their_cursors(store: Store) -> None:
    for number in range(5):
        store.write([], [Reject(f"{number}", b"")], NOW + number)

    first = store.rejects(ANY, 2)
    second = store.rejects(ANY, 2, first.next_cursor)
    store.write([], [Reject("meanwhile", b"")], NOW)
    third = store.rejects(ANY, 2, second.next_cursor)

    assert [[row.reason for row in page.items] for page in (first, second, third)] == [["4", "3"], ["2", "1"], ["0"]]
    assert third.next_cursor is None


def test_filters(store: Store) -> None:
    base = Reject("span_id is 100% zero", b"")
    store.write([], [base, replace(base, signal="logs")], NOW)
    store.write([], [replace(base, reason="Trace_id has 3 bytes")], NOW + 10)

    assert reasons(store, RejectFilter(since_ns=NOW + 1)) == ["Trace_id has 3 bytes"]
    assert reasons(store, RejectFilter(since_ns=NOW)) == ["Trace_id has 3 bytes", *[base.reason] * 2]
    assert reasons(store, RejectFilter(q="TRACE_ID")) == ["Trace_id has 3 bytes"]
    assert reasons(store, RejectFilter(q="100% z")) == [base.reason] * 2
    assert reasons(store, RejectFilter(q="span_id", signal="logs")) == [base.reason]
    assert reasons(store, RejectFilter(q="%")) == [base.reason] * 2
    assert reasons(store, RejectFilter(signal="metrics")) == []


def test_no_such_reject(store: Store) -> None:
    with pytest.raises(NotFound, match="no reject 7"):
        store.reject(7)
    with pytest.raises(NotFound):
        store.reject(2**70)


def test_a_cursor_of_another_list_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        store.rejects(ANY, 1, "WzEsImEiXQ")
