"""Assembly beside writers: nobody waits for it, nothing is forgotten, one at a time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Assembly, LogEvent, Span
from evalvault_otel.store import Store, open_store
from tests.support.traces import TRACE_ID, batches, log, new_trace_id, span, stage

NOW = 1_700_000_000_000_000_000
FAR = 2**62


@pytest.fixture
def other(store: Store, db_url: str) -> Iterator[Store]:
    """A second store on the same database."""
    opened = open_store(db_url)
    yield opened
    opened.close()


def _write(store: Store, *spans: Span, logs: Sequence[LogEvent] = ()) -> None:
    store.write(batches(*spans, logs=logs), [], NOW)


def _types(store: Store) -> list[str]:
    return sorted(item.stage_type for item in store.trace_stages(TRACE_ID))


def _interrupted(*interruptions: Callable[[], object]) -> tuple[Callable[..., Assembly], list[int]]:
    """An assembly during whose calls these things happen, one in each; and how many spans each call was given."""
    waiting, seen = list(interruptions), []

    def slowly(spans: Sequence[Span], logs: Sequence[LogEvent]) -> Assembly:
        seen.append(len(spans))
        if waiting:
            waiting.pop(0)()
        return assemble(spans, logs)

    return slowly, seen


def test_a_span_that_comes_during_the_assembly_is_stored_at_once_and_in_the_result(store: Store, other: Store) -> None:
    _write(store, stage(2, 1, "retrieval"))

    slowly, seen = _interrupted(lambda: _write(other, stage(1, 0, "workflow")))

    assert store.reassemble(TRACE_ID, slowly, NOW)
    assert seen == [1, 2]
    assert _types(store) == ["retrieval", "workflow"]
    assert store.due_traces(FAR, 10) == []


def test_a_log_event_that_comes_during_the_assembly_is_in_the_result(store: Store, other: Store) -> None:
    _write(store, stage(1, 0, "tool"))
    _write(store, span(2, 1))
    event = log(1, "evalvault.asset.used", {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"})

    slowly, _ = _interrupted(lambda: _write(other, logs=[event]))

    assert store.reassemble(TRACE_ID, slowly, NOW)
    assert [use.name for use in store.asset_uses(TRACE_ID)] == ["p"]


def test_a_trace_that_never_stops_growing_is_assembled_with_its_writers_waiting(store: Store, other: Store) -> None:
    # Given spans that come during each assembly
    _write(store, stage(1, 0, "workflow"), span(9, 8))
    late: list[threading.Thread] = []

    def grow(number: int) -> Callable[[], None]:
        def write() -> None:
            late.append(threading.Thread(target=lambda: _write(other, span(number, 1))))
            late[-1].start()
            late[-1].join(0.5)

        return write

    slowly, seen = _interrupted(*(grow(number) for number in range(10, 20)))

    # Then after some tries one has its way
    assert store.reassemble(TRACE_ID, slowly, NOW)
    for thread in late:
        thread.join()
    assert seen == [2, 3, 4, 5]
    # And what had to wait marks the trace again
    assert len(store.spans(TRACE_ID)) == 6
    assert store.due_traces(FAR, 10) == [TRACE_ID]


def test_writers_of_other_traces_do_not_wait_for_an_assembly(store: Store, other: Store) -> None:
    _write(store, stage(2, 1, "tool"))
    took: list[float] = []

    def write_another() -> None:
        started = time.perf_counter()
        _write(other, span(1, trace_id=new_trace_id()))
        took.append(time.perf_counter() - started)

    slowly, seen = _interrupted(write_another)

    assert store.reassemble(TRACE_ID, slowly, NOW)
    # SQLite's busy timeout and PostgreSQL's locks would take many seconds, and fail.
    assert took[0] < 5
    assert seen == [1]


def test_of_two_that_assemble_a_trace_at_once_one_does(store: Store, other: Store) -> None:
    _write(store, stage(2, 1, "tool"))
    results: list[bool] = []

    slowly, seen = _interrupted(lambda: results.append(other.reassemble(TRACE_ID, assemble, NOW)))
    results.append(store.reassemble(TRACE_ID, slowly, NOW))

    assert sorted(results) == [False, True]
    assert seen == [1]
    assert store.due_traces(FAR, 10) == []


def test_an_assembly_that_fails_lets_the_next_one_in(store: Store, other: Store) -> None:
    _write(store, stage(2, 1, "tool"))

    def fail(*_: object) -> Assembly:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        store.reassemble(TRACE_ID, fail, NOW)

    assert other.reassemble(TRACE_ID, assemble, NOW)
