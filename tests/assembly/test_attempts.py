"""Attempts: said, linked, or after a failure; never for stages side by side."""

import random

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import STATUS_ERROR, Span, SpanLink
from tests.support.traces import KIND, TRACE_ID, sid, span, stage


def _call(number: int, start: int, end: int, *, failed: bool = False, name: str = "call") -> Span:
    status = STATUS_ERROR if failed else 0
    return span(number, 1, {KIND: "LLM"}, name=name, start=start, end=end, status_code=status)


def _attempts(*spans: Span) -> dict[str, int]:
    root = stage(1, 0, "agent")
    whole = [root, *spans]
    found = {one.span_id or "": one.attempt for one in assemble(whole).stages if not one.derived}
    random.Random(1).shuffle(whole)  # noqa: S311 - a reproducible order, no secret
    assert {one.span_id or "": one.attempt for one in assemble(whole).stages if not one.derived} == found
    return {key: value for key, value in found.items() if key != sid(1)}


def test_what_follows_a_failure_is_the_next_attempt() -> None:
    tries = (_call(2, 0, 10, failed=True), _call(3, 20, 30, failed=True), _call(4, 40, 50), _call(5, 60, 70))

    assert _attempts(*tries) == {sid(2): 1, sid(3): 2, sid(4): 3, sid(5): 1}


@pytest.mark.parametrize(
    "other",
    [
        _call(3, 5, 30),  # side by side
        _call(3, 20, 30, name="another"),
        span(3, 1, {KIND: "RETRIEVER"}, name="call", start=20, end=30),
    ],
)
def test_what_is_no_try_of_the_same_is_the_first(other: Span) -> None:
    assert _attempts(_call(2, 0, 10, failed=True), other)[sid(3)] == 1


def test_a_timeout_is_a_failure_and_a_skipped_stage_is_none() -> None:
    late = stage(2, 1, "tool", {"evalvault.stage.status": "timeout"}, name="t", start=0, end=10)
    left_out = stage(2, 1, "tool", {"evalvault.stage.status": "skipped"}, name="t", start=0, end=10)
    again = stage(3, 1, "tool", name="t", start=20, end=30)

    assert _attempts(late, again)[sid(3)] == 2
    assert _attempts(left_out, again)[sid(3)] == 1


def test_what_a_stage_says_wins_and_counts_on() -> None:
    said = stage(2, 1, "tool", {"evalvault.stage.attempt": 4, "evalvault.stage.status": "error"}, name="t", end=10)

    assert _attempts(said, stage(3, 1, "tool", name="t", start=20, end=30)) == {sid(2): 4, sid(3): 5}


def _linked(number: int, to: int, link_type: str = "retry_of", trace_id: str = TRACE_ID) -> Span:
    link = SpanLink(trace_id, sid(to), "", {"evalvault.link.type": link_type})
    return stage(number, 1, "tool", name=f"t{number}", links=(link,))


def test_links_lead_back_to_the_first_try() -> None:
    assert _attempts(stage(2, 1, "tool"), _linked(3, 2), _linked(4, 3)) == {sid(2): 1, sid(3): 2, sid(4): 3}


def test_other_links_other_traces_and_links_that_go_round_say_nothing() -> None:
    assert _attempts(stage(2, 1, "tool"), _linked(3, 2, "follows_from"))[sid(3)] == 1
    assert _attempts(stage(2, 1, "tool"), _linked(3, 2, trace_id="f" * 32))[sid(3)] == 1
    assert _attempts(_linked(2, 3), _linked(3, 2)) == {sid(2): 1, sid(3): 1}
