"""Log events in their spans: whatever their order, none lost, none twice."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.assembly import assemble
from evalvault_otel.assembly.log_events import as_span_event, merged
from evalvault_otel.model import LogEvent, Span, SpanEvent
from tests.support.strategies import bounded, soup_logs, soup_traces
from tests.support.traces import at, exact, log, raised, sid, span, stage

USED = "evalvault.asset.used"
PROMPT = {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"}


def _events(spans: list[Span], logs: list[LogEvent]) -> list[tuple[SpanEvent, ...]]:
    return [item.events for item in merged(spans, logs)[0]]


def test_log_events_follow_the_span_s_own_by_time_then_content() -> None:
    own = (SpanEvent(at(9), "b", {}), SpanEvent(at(1), "a", {}))
    logs = [log(1, "z", ms=5), log(1, "y", ms=5), log(1, "x", ms=7), log(2, "w")]

    (first,), missing = merged([span(1, events=own)], logs)

    assert [event.name for event in first.events] == ["b", "a", "y", "z", "x"]
    assert missing == [sid(2)]


def test_an_event_on_the_span_and_as_a_log_counts_once() -> None:
    event = as_span_event(log(1, USED, {"a": 1, "b": [2.0]}))
    reordered = log(1, USED, {"b": [2.0], "a": 1})

    assert _events([span(1, events=(event,))], [reordered]) == [(event,)]
    # And two log records of one thing, seen twice, are one event
    assert _events([span(1)], [log(1, USED), log(1, USED, observed_ns=1, severity=1)]) == [
        (as_span_event(log(1, USED)),)
    ]


@pytest.mark.parametrize("other", [{"a": 2}, {"a": 1.0}, {"a": True}, {"a": 1, "b": 1}, {}])
def test_events_that_differ_are_both_kept(other: dict[str, Any]) -> None:
    own = as_span_event(log(1, USED, {"a": 1}))

    assert _events([span(1, events=(own,))], [log(1, USED, other)]) == [(own, as_span_event(log(1, USED, other)))]


def test_events_that_a_span_has_twice_stay_two() -> None:
    own = SpanEvent(at(1), USED, PROMPT)

    assert _events([span(1, events=(own, own))], [log(1, USED, PROMPT)]) == [(own, own)]


def test_time_is_when_it_happened_or_else_when_it_was_seen() -> None:
    assert as_span_event(log(1, "e", time_ns=5, observed_ns=9)).time_ns == 5
    assert as_span_event(log(1, "e", time_ns=0, observed_ns=9)).time_ns == 9


@pytest.mark.parametrize(
    "body, expected",
    [
        (None, {"a": 1}),
        ({"a": 2, "b": 3}, {"a": 1, "b": 3}),
        ("text", {"a": 1, "body": "text"}),
        ([1], {"a": 1, "body": [1]}),
        (False, {"a": 1, "body": False}),
        ({}, {"a": 1}),
    ],
)
def test_a_body_fills_in_what_attributes_do_not_say(body: object, expected: dict[str, Any]) -> None:
    assert as_span_event(log(1, "e", {"a": 1}, body=body)).attributes == expected


def test_an_attribute_named_body_is_not_overwritten() -> None:
    assert as_span_event(log(1, "e", {"body": 1}, body="b")).attributes == {"body": 1}


def test_dropped_counts_stay() -> None:
    assert as_span_event(log(1, "e", dropped_attributes=3)).dropped_attributes == 3


def test_an_exception_event_as_a_log_is_read_as_one_of_the_span() -> None:
    event = raised("TimeoutError", "late")
    (direct,) = assemble([stage(1, 0, "tool", events=(event,))]).stages
    (logged,) = assemble([stage(1, 0, "tool")], [log(1, event.name, event.attributes, time_ns=event.time_ns)]).stages

    assert direct == logged


@settings(bounded, max_examples=40)
@given(soup_traces, st.lists(soup_logs, max_size=6), st.randoms(use_true_random=False), st.data())
def test_order_and_repetition_change_nothing(
    spans: list[Span], logs: list[LogEvent], shuffle: Any, data: st.DataObject
) -> None:
    expected = exact(assemble(spans, logs))
    again = logs + (data.draw(st.lists(st.sampled_from(logs), max_size=4)) if logs else [])
    shuffled = list(spans)
    shuffle.shuffle(shuffled)
    shuffle.shuffle(again)

    assert exact(assemble(shuffled, again)) == expected


@settings(bounded, max_examples=40)
@given(soup_traces, st.lists(soup_logs, max_size=6))
def test_merging_twice_is_merging_once(spans: list[Span], logs: list[LogEvent]) -> None:
    once, missing = merged(spans, logs)
    twice, still_missing = merged(once, logs)

    assert exact(twice) == exact(once)
    assert missing == still_missing
    assert {item.span_id for item in logs} <= {item.span_id for item in spans} | set(missing)
    assert [replace(item, events=()) for item in once] == [replace(item, events=()) for item in spans]


@settings(bounded, max_examples=40)
@given(soup_traces, st.lists(soup_logs, max_size=6))
def test_a_log_event_means_what_the_same_event_of_the_span_means(spans: list[Span], logs: list[LogEvent]) -> None:
    bridged, _ = merged(spans, logs)

    assert exact(assemble(spans, logs).stages) == exact(assemble(bridged).stages)
    assert exact(assemble(bridged, logs).asset_uses) == exact(assemble(bridged).asset_uses)
