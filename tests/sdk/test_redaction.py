"""The content policy for finished spans of any instrumentation."""

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Link, StatusCode

import evalvault_otel as ev
from evalvault_otel.sdk.content import EVERYTHING, ContentPolicy
from evalvault_otel.sdk.exporter import EvalVaultSpanExporter
from evalvault_otel.sdk.redaction import redacted
from tests.support.recording import Recording, recording

_MASKS = ContentPolicy("none", mask_patterns=("sk-[a-z]+",))


def _sent(recorded: Recording) -> ReadableSpan:
    with recorded.tracer.start_as_current_span("outer") as outer:
        link = Link(outer.get_span_context(), {"a": 1})
    with recorded.tracer.start_as_current_span("chat", links=[link] * 3) as span:
        span.set_attributes({f"n.{number}": number for number in range(9)})
        span.set_attributes({"gen_ai.input.messages": "[]", "llm.model_name": "m"})
        for number in range(7):
            span.add_event("gen_ai.choice", {"gen_ai.output.messages": "secret", "n": number})
        span.set_status(StatusCode.ERROR, "bad key sk-abc")
    return recorded.sent()[-1]


def test_contents_of_others_are_hidden_and_everything_else_stays() -> None:
    limits = SpanLimits(max_span_attributes=5, max_events=4, max_links=2)
    with recording(limits) as recorded:
        before = _sent(recorded)
        (after,) = redacted([before], _MASKS)

    assert dict(after.attributes or {}) == {
        **dict(before.attributes or {}),
        "gen_ai.input.messages": "__REDACTED__",
        "evalvault.content.hidden_keys": ("gen_ai.input.messages",),
    }
    assert [dict(event.attributes or {}) for event in after.events] == [
        {
            "gen_ai.output.messages": "__REDACTED__",
            "n": number,
            "evalvault.content.hidden_keys": ("gen_ai.output.messages",),
        }
        for number in range(3, 7)
    ]
    assert after.status.description == "bad key [masked]"
    assert (before.attributes or {})["gen_ai.input.messages"] == "[]"
    same = ("name", "context", "parent", "kind", "start_time", "end_time", "links", "resource", "instrumentation_scope")
    assert {name: getattr(after, name) for name in same} == {name: getattr(before, name) for name in same}
    lost = ("dropped_attributes", "dropped_events", "dropped_links")
    assert [getattr(after, name) for name in lost] == [getattr(before, name) for name in lost]
    assert (before.dropped_attributes, before.dropped_events, before.dropped_links) == (6, 3, 1)
    assert [event.timestamp for event in after.events] == [event.timestamp for event in before.events]


@pytest.mark.parametrize("policy", [EVERYTHING, ContentPolicy(mask_patterns=("no such text",))])
def test_spans_without_contents_to_hide_are_the_same_objects(policy: ContentPolicy) -> None:
    with recording() as recorded:
        span = _sent(recorded)

    assert redacted([span], policy)[0] is span


@pytest.mark.parametrize("policy, arrives", [(EVERYTHING, True), (_MASKS, False)])
def test_our_exporter_follows_the_policy(tmp_path: Path, policy: ContentPolicy, arrives: bool) -> None:
    with recording() as recorded:
        span = _sent(recorded)
        ev.use_content_policy(policy)
        exporter = EvalVaultSpanExporter(db=str(tmp_path / "test.db"))
        assert exporter.export([span]) is SpanExportResult.SUCCESS
        exporter.shutdown()

    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert (b"sk-abc" in stored) is arrives
    assert b"chat" in stored
