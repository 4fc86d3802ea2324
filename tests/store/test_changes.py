"""Following a store: whoever reads on from a position gets every change, whatever is written meanwhile and by whom."""

import threading
import time

import psycopg
import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.errors import InvalidInput
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.changes import Change, Position
from tests.support.clients import trace_of
from tests.support.stages import assembly, save, stage, tid
from tests.support.traces import batches, log

NOW = 1_700_000_000_000_000_000
START = Position(0)


def _save(store: Store, *traces: int) -> None:
    save(store, *(assembly([stage(trace, 1, "retrieval")]) for trace in traces))


def _read_on(store: Store, after: Position, limit: int = 100) -> list[Change]:
    found: list[Change] = []
    while page := store.changes(after, limit):
        found += page
        after = page[-1].position
    return found


def test_changes_come_in_the_order_of_their_commits_page_by_page(store: Store) -> None:
    for traces in ((3, 4), (1,), (2, 5)):
        _save(store, *traces)

    for limit in (1, 2, 100):
        found = _read_on(store, START, limit)
        assert [change.trace_id for change in found] == [tid(trace) for trace in (3, 4, 1, 2, 5)]
    assert _read_on(store, found[2].position) == found[3:]
    assert store.latest_change() == found[-1].position.number


def test_from_now_on_there_is_only_what_comes(store: Store) -> None:
    _save(store, 1)
    now = store.settled()

    assert store.changes(now, 10) == []
    _save(store, 2)
    assert [change.trace_id for change in store.changes(now, 10)] == [tid(2)]


def test_a_trace_that_grew_comes_again_when_it_is_assembled(store: Store) -> None:
    spans = trace_of(tid(7))
    store.write(batches(*spans[1:]), [], NOW)
    assert store.changes(START, 10) == []
    store.reassemble(tid(7), assemble, NOW)
    (first,) = store.changes(START, 10)
    assert first.assemblies == 1

    store.write(batches(spans[0]), [], NOW + 1)
    assert store.changes(START, 10) == []
    store.reassemble(tid(7), assemble, NOW)

    (again,) = store.changes(first.position, 10)
    assert (again.trace_id, again.assemblies) == (tid(7), 2)
    assert [item.stage_type for item in store.changed_stages([tid(7)]) if not item.derived] == ["retrieval", "output"]


def test_log_events_alone_are_no_change(store: Store) -> None:
    store.write(batches(logs=[log(1, "gen_ai.choice")]), [], NOW)

    assert store.changes(START, 10) == []


def test_a_transaction_under_way_is_waited_for(postgres_url: str) -> None:
    store = open_store(postgres_url)
    store.migrate()
    with psycopg.connect(postgres_url) as early:
        # It has its number before the other one, and ends after it.
        early.execute(
            "INSERT INTO trace (trace_id, run_id, span_count, dirty, assemblies, assembled_ns, received_ns, log_count) "
            "VALUES (%s, 'r', 1, false, 1, 1, 1, 0)",
            (tid(1),),
        )
        _save(store, 2)
        assert store.changes(START, 10) == []
        early.commit()

    assert [change.trace_id for change in store.changes(START, 10)] == [tid(1), tid(2)]
    store.close()


@pytest.mark.parametrize("pages", [1, 50])
def test_many_writers_and_nothing_is_missed(store: Store, db_url: str, pages: int) -> None:
    writers, each = 4, 30
    stores = [open_store(db_url) for _ in range(writers)]

    def write(number: int) -> None:
        for index in range(each):
            _save(stores[number], 1 + number * each + index)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[str] = []
    after, deadline = START, time.monotonic() + 60
    while len(seen) < writers * each and time.monotonic() < deadline:
        for change in store.changes(after, pages):
            seen.append(change.trace_id)
            after = change.position
    for thread in threads:
        thread.join()
    for opened in stores:
        opened.close()

    assert sorted(seen) == [tid(number) for number in range(1, 1 + writers * each)]


def test_a_position_is_what_it_was_as_text() -> None:
    for position in (START, Position(12), Position(12, tid(3))):
        assert Position.of(str(position)) == position


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "9" * 19, "9" * 30, "\N{ARABIC-INDIC DIGIT ONE}"])
def test_other_texts_are_no_position(text: str) -> None:
    with pytest.raises(InvalidInput):
        Position.of(text)


def test_a_position_outlives_the_trace_that_had_it(store: Store) -> None:
    _save(store, 1, 2)
    after = _read_on(store, START)[-1].position
    store.prune(2**62, 10)
    assert store.may_know(after)

    _save(store, 1, 3)

    assert [change.trace_id for change in store.changes(after, 10)] == [tid(1), tid(3)]
    assert not store.may_know(Position(2**62))
