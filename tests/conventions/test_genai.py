"""Contents of GenAI calls: attributes, one event with all of them, one event per message."""

from typing import Any

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.conventions.genai_events import event_content
from evalvault_otel.model import SpanEvent, StageEvent
from tests.support.traces import at, log, stage

DETAILS = "gen_ai.client.inference.operation.details"
MESSAGES = [{"role": "user", "parts": [{"type": "text", "content": "q"}]}]
IN, OUT = "gen_ai.input.messages", "gen_ai.output.messages"


def _event(name: str, **said: Any) -> SpanEvent:
    return SpanEvent(at(1), name, {key.replace("__", "."): value for key, value in said.items()})


def _refs(found: StageEvent) -> tuple[str | None, str | None]:
    return str(found.input_ref) if found.input_ref else None, str(found.output_ref) if found.output_ref else None


def test_one_event_has_the_attributes_of_the_span() -> None:
    event = _event(DETAILS, gen_ai__input__messages=MESSAGES, gen_ai__request__model="m", other=1)

    assert event_content([event]) == {IN: MESSAGES, "gen_ai.request.model": "m"}


def test_one_event_per_message_becomes_lists_of_messages() -> None:
    events = [
        _event("gen_ai.system.message", content="s", gen_ai__system="openai"),
        _event("gen_ai.user.message", content="q"),
        _event("gen_ai.assistant.message", tool_calls=[{"id": "1"}]),
        _event("gen_ai.tool.message", content="t", id="1"),
        _event("gen_ai.choice", index=0, message={"content": "a"}, finish_reason="stop"),
        _event("gen_ai.other", content="x"),
    ]

    assert event_content(events) == {
        IN: [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "q"},
            {"role": "assistant", "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "t", "id": "1"},
        ],
        OUT: [{"role": "assistant", "index": 0, "message": {"content": "a"}, "finish_reason": "stop"}],
    }


def test_a_message_says_its_own_role_and_the_newer_event_goes_first() -> None:
    events = [
        _event("gen_ai.user.message", role="developer", content="q"),
        _event(DETAILS, gen_ai__output__messages="first"),
        _event(DETAILS, gen_ai__output__messages="second"),
        _event("gen_ai.choice", content="older"),
    ]

    assert event_content(events) == {IN: [{"role": "developer", "content": "q"}], OUT: "first"}


@pytest.mark.parametrize(
    "attributes, expected",
    [
        ({IN: "[]", OUT: "[]"}, ("span://input?type=json", "span://output?type=json")),
        ({"gen_ai.system_instructions": [{"type": "text", "content": "s"}]}, ("span://input?type=json", None)),
        ({IN: "[]", "evalvault.stage.input.value": "q"}, ("span://input", None)),
        ({OUT: "[]", "evalvault.stage.output.uri": "s3://b/o"}, (None, "s3://b/o")),
        ({}, (None, None)),
    ],
)
def test_contents_are_payloads_of_a_stage_that_has_no_other(
    attributes: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    by_attribute = assemble([stage(1, 0, "tool", attributes)]).stages[-1]
    own = {key: value for key, value in attributes.items() if not key.startswith("gen_ai.")}
    said = {key: value for key, value in attributes.items() if key.startswith("gen_ai.")}
    by_event = assemble([stage(1, 0, "tool", own)], [log(1, DETAILS, said)]).stages[-1]

    assert _refs(by_attribute) == expected
    assert by_event == by_attribute


def test_what_the_span_says_goes_before_what_an_event_says() -> None:
    span_says = {"gen_ai.request.model": "span"}

    (found,) = assemble(
        [stage(1, 0, "tool", span_says)], [log(1, DETAILS, {"gen_ai.request.model": "event", "gen_ai.x": 1})]
    ).stages

    assert found.attributes == {"model_name": "span", "gen_ai.x": 1}
