"""Log events in the store: kept without loss, once, in any order relative to the spans they name."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from benchmarks.database import of_url
from evalvault_otel.assembly import assemble
from evalvault_otel.errors import InvalidInput
from evalvault_otel.model import LogEvent
from evalvault_otel.store import Pauses, Store, Written
from tests.support.strategies import bounded, log_events
from tests.support.traces import (
    TRACE_ID,
    archived_log,
    at,
    batches,
    exact,
    in_trace,
    log,
    new_trace_id,
    sid,
    span,
    stage,
)

NOW = 1_700_000_000_000_000_000
FAR = 2**62
SETTLE = Pauses().settle_ns
PROMPT = {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"}
USED = "evalvault.asset.used"


def _event(number: int = 1, ms: float = 1, **said: object) -> LogEvent:
    return log(number, USED, {**PROMPT, **said}, ms=ms)


def _place(event: LogEvent) -> tuple[str, int]:
    return event.span_id, event.time_ns


def _assets(store: Store) -> list[str]:
    return [use.name for use in store.asset_uses(TRACE_ID)]


def test_every_log_event_is_stored_or_a_duplicate(store: Store) -> None:
    one, two, three = _event(), _event(2), _event(ms=2)

    assert store.write(batches(logs=[one, two]), [], NOW) == Written(0, 0, 0, logs_stored=2)
    assert store.write(batches(span(1), logs=[two, three]), [], NOW) == Written(1, 0, 0, 1, 1)
    assert store.write(batches(span(1), logs=[one, two, three]), [], NOW) == Written(0, 1, 0, 0, 3)
    assert sorted(store.logs(TRACE_ID), key=_place) == [one, three, two]


def test_logs_come_by_time_and_an_unknown_trace_has_none(store: Store) -> None:
    events = [
        _event(ms=3),
        _event(ms=1),
        log(1, USED, PROMPT, time_ns=0, observed_ns=at(2)),
        replace(_event(), time_ns=2**63),
    ]
    store.write(batches(logs=events), [], NOW)

    times = [event.time_ns or event.observed_ns for event in store.logs(TRACE_ID)]
    assert times == sorted(times)
    assert store.logs(new_trace_id()) == []


def test_whatever_a_log_event_holds_comes_back(store: Store) -> None:
    @settings(bounded, max_examples=60)
    @given(log_events)
    def check(event: LogEvent) -> None:
        for first in ([], [span(1)]):
            # Into a new trace by one way, into a known one by another
            trace_id = new_trace_id()
            if first:
                store.write(batches(*in_trace(first, trace_id)), [], NOW)
            sent = replace(event, trace_id=trace_id)
            store.write(batches(logs=[sent]), [], NOW)

            (found,) = store.logs(trace_id)
            assert exact(found) == exact(archived_log(sent))
            # And what came back is known as the same
            assert store.write(batches(logs=[sent]), [], NOW) == Written(0, 0, 0, 0, 1)
            assert store.write(batches(logs=[found]), [], NOW) == Written(0, 0, 0, 0, 1)

    check()


def test_log_events_of_a_whole_new_trace_are_assembled_with_it_at_once(store: Store) -> None:
    store.write(batches(stage(1, 0, "tool"), logs=[_event()]), [], NOW)

    assert _assets(store) == ["p"]
    found = store.trace(TRACE_ID)
    assert (found.span_count, found.assembled) == (1, True)
    assert store.due_traces(FAR, 10) == []


def test_a_trace_of_log_events_alone_is_known_and_waits_for_its_spans(store: Store, db_url: str) -> None:
    # Given log events before any span
    store.write(batches(logs=[_event()]), [], NOW)
    found = store.trace(TRACE_ID)
    assert (found.span_count, found.assembled, found.parts) == (0, False, ())

    # Then nothing is to be done, also when more of them come
    store.write(batches(logs=[_event(ms=2)]), [], NOW)
    assert store.due_traces(FAR, 10) == []
    assert not store.reassemble(TRACE_ID, assemble, NOW)
    assert not store.trace(TRACE_ID).assembled

    # Until the spans come
    store.write(batches(stage(1, 0, "tool")), [], NOW)
    assert store.due_traces(NOW + SETTLE - 1, 10) == []
    assert store.due_traces(NOW + SETTLE, 10) == [TRACE_ID]
    assert store.reassemble(TRACE_ID, assemble, NOW)
    assert _assets(store) == ["p", "p"]
    assert of_url(db_url).query("SELECT span_count, log_count, assemblies FROM trace") == [(1, 2, 1)]


def test_a_log_event_that_comes_late_marks_the_trace_and_a_duplicate_does_not(store: Store) -> None:
    store.write(batches(stage(1, 0, "tool")), [], NOW)
    store.write(batches(logs=[_event()]), [], NOW)

    # Nothing more is to come for it: after the short pause, of which the second one is twice as long.
    assert store.due_traces(NOW + 2 * SETTLE, 10) == [TRACE_ID]
    assert store.reassemble(TRACE_ID, assemble, NOW)
    assert _assets(store) == ["p"]
    store.write(batches(logs=[_event()]), [], NOW)
    assert store.due_traces(FAR, 10) == []


def test_a_log_event_whose_span_never_came_is_kept_and_told(store: Store) -> None:
    store.write(batches(stage(1, 0, "tool"), logs=[_event(7)]), [], NOW)

    assert [finding.code for finding in store.findings(TRACE_ID)] == ["log_event_without_span"]
    assert store.logs(TRACE_ID) == [_event(7)]
    store.write(batches(stage(7, 1, "output")), [], NOW)
    assert store.reassemble(TRACE_ID, assemble, NOW)
    assert store.findings(TRACE_ID) == []
    assert [use.stage_id for use in store.asset_uses(TRACE_ID)] == [sid(7)]


def test_resources_and_scopes_of_log_events_are_kept_once(store: Store, db_url: str) -> None:
    for _ in range(3):
        trace_id = new_trace_id()
        store.write(batches(logs=[replace(_event(), trace_id=trace_id)]), [], NOW)
        store.write(batches(replace(span(1), trace_id=trace_id)), [], NOW)

    assert of_url(db_url).query("SELECT (SELECT count(*) FROM resource), (SELECT count(*) FROM scope)") == [(1, 1)]


@pytest.mark.parametrize("bad", [replace(_event(), severity=2**70), replace(_event(), flags=2**70)])
def test_a_value_that_no_column_holds_undoes_all_of_the_write(store: Store, bad: LogEvent) -> None:
    with pytest.raises(InvalidInput):
        store.write(batches(span(1), logs=[bad]), [], NOW)

    assert store.spans(TRACE_ID) == []
    assert store.logs(TRACE_ID) == []
