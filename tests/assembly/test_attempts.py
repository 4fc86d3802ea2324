"""Rule 7: which attempt a stage is. What it says comes first, then its links, then what came before it."""

from typing import Any

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Span, SpanEvent, Value
from tests.assembly.test_links import OTHER, link
from tests.support.traces import TRACE_ID, kind, sid, span, stage


def _attempts(*spans: Span) -> dict[str, tuple[int, Value]]:
    """Span id -> attempt and why, for those that are not simply a first one."""
    found = assemble(spans).stages
    return {
        str(int(item.span_id or "0", 16)): (item.attempt, item.attributes.get("attempt_source"))
        for item in found
        if item.attempt != 1 or "attempt_source" in item.attributes
    }


def _call(number: int, start: float, end: float, *, fails: bool = False, **said: Any) -> Span:
    attributes = said.pop("attributes", None)
    return stage(number, 1, "tool", attributes, name="call", start=start, end=end, status_code=2 * fails, **said)


ROOT = stage(1, 0, "workflow", end=1000)


@pytest.mark.parametrize(
    "attributes, events",
    [
        ({"evalvault.stage.attempt": 3}, ()),
        ({"http.request.resend_count": 2}, ()),
        ({"haystack.component.visits": 3}, ()),
        ({}, (SpanEvent(1, "retry", {"retry.attempt": 3}),)),
        ({"evalvault.stage.attempt": 3, "http.request.resend_count": 9}, ()),
    ],
)
def test_what_a_span_says_of_itself(attributes: dict[str, Value], events: tuple[SpanEvent, ...]) -> None:
    assert _attempts(ROOT, _call(2, 0, 1, attributes=attributes, events=events)) == {"2": (3, None)}


def test_what_a_wrapped_span_says() -> None:
    spans = [kind(1, 0, "LLM"), kind(2, 1, "LLM", {"http.request.resend_count": 1})]

    assert _attempts(*spans) == {"1": (2, None)}


def test_retries_one_after_the_other_count_up_and_start_again_after_a_success() -> None:
    spans = [
        ROOT,
        _call(2, 0, 10, fails=True),
        _call(3, 10, 20, fails=True),
        _call(4, 25, 30),
        _call(5, 40, 50),
        _call(6, 60, 70, fails=True),
        _call(7, 80, 90),
    ]
    expected = {"3": (2, "rule:after_error"), "4": (3, "rule:after_error"), "7": (2, "rule:after_error")}

    assert _attempts(*spans) == expected
    assert _attempts(*reversed(spans)) == expected


def test_the_answer_is_the_next_attempt_of_the_generations_before_it() -> None:
    failed = kind(2, 1, "LLM", name="chat", start=0, end=10, status_code=2)
    spans = [kind(1, 0, "CHAIN", end=1000), failed, kind(3, 1, "LLM", name="chat", start=20, end=30)]

    assert [item.stage_type for item in assemble(spans).stages if item.span_id == sid(3)] == ["output"]
    assert _attempts(*spans) == {"3": (2, "rule:after_error")}


def test_what_ran_at_the_same_time_is_no_retry() -> None:
    assert _attempts(ROOT, _call(2, 0, 10, fails=True), _call(3, 5, 20)) == {}
    assert _attempts(ROOT, _call(2, 0, 10), _call(3, 5, 20, fails=True), _call(4, 30, 40)) == {}


def test_other_names_types_parents_and_questions_are_no_retry() -> None:
    failed = _call(2, 0, 10, fails=True, attributes={"input.value": "a"})

    assert _attempts(ROOT, failed, stage(3, 1, "tool", name="other", start=20)) == {}
    assert _attempts(ROOT, failed, stage(3, 1, "rerank", name="call", start=20)) == {}
    assert _attempts(ROOT, failed, stage(3, 1, "agent", start=15), stage(4, 3, "tool", name="call", start=20)) == {}
    assert _attempts(ROOT, failed, _call(3, 20, 30, attributes={"input.value": "b"})) == {}
    assert _attempts(ROOT, failed, _call(3, 20, 30, attributes={"input.value": "a"})) == {"3": (2, "rule:after_error")}


def test_a_cancelled_stage_is_not_tried_again() -> None:
    assert _attempts(ROOT, _call(2, 0, 1, attributes={"evalvault.stage.status": "cancelled"}), _call(3, 2, 3)) == {}


def test_a_guess_goes_on_from_what_was_said() -> None:
    spans = [ROOT, _call(2, 0, 10, fails=True, attributes={"evalvault.stage.attempt": 4}), _call(3, 20, 30)]

    assert _attempts(*spans) == {"2": (4, None), "3": (5, "rule:after_error")}


def _retry_of(number: int, trace_id: str = TRACE_ID) -> dict[str, Any]:
    return {"links": (link(number, "retry_of", trace_id),)}


def test_links_say_what_a_stage_is_a_retry_of() -> None:
    spans = [ROOT, _call(2, 0, 10), _call(3, 5, 20, **_retry_of(2)), _call(4, 5, 20, **_retry_of(3))]

    assert _attempts(*spans) == {"3": (2, "link:retry_of"), "4": (3, "link:retry_of")}
    assert _attempts(ROOT, _call(2, 0, 1, **_retry_of(9, OTHER))) == {"2": (2, "link:retry_of")}
    assert _attempts(ROOT, _call(2, 0, 1, **_retry_of(99))) == {"2": (2, "link:retry_of")}


def test_a_link_to_what_a_stage_stands_for_counts() -> None:
    spans = [span(1), kind(2, 1, "LLM"), kind(3, 2, "LLM"), stage(4, 1, "tool", **_retry_of(3))]

    assert _attempts(*spans) == {"4": (2, "link:retry_of")}


def test_links_in_a_circle_end() -> None:
    spans = [ROOT, _call(2, 0, 1, **_retry_of(3)), _call(3, 2, 3, **_retry_of(2)), _call(4, 4, 5, **_retry_of(4))]

    assert {number for number, _ in _attempts(*spans).values()} <= {2, 3}


def test_a_long_chain_of_retries_has_no_limit() -> None:
    spans = [ROOT, *(_call(number, number, number, **_retry_of(number - 1)) for number in range(3, 5000))]

    found = {item.span_id: item.attempt for item in assemble([*spans, _call(2, 0, 1)]).stages}
    assert found[sid(4999)] == 4998
