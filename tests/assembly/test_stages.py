"""What else a stage says of its span: name, attempt, payload references, bounded attributes."""

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import PayloadRef, StageEvent, Value
from tests.support.traces import kind, sid, stage


def _stage(attributes: dict[str, Value] | None = None, name: str = "span name", span_kind: str = "TOOL") -> StageEvent:
    (found,) = [item for item in assemble([kind(1, 0, span_kind, attributes, name=name)]).stages if not item.derived]
    return found


@pytest.mark.parametrize(
    "attributes, name, expected",
    [
        ({}, "span name", "span name"),
        ({"agent.name": "planner"}, "span name", "planner"),
        ({"agent.name": "planner", "evalvault.stage.name": "ours"}, "span name", "ours"),
        ({"evalvault.stage.name": ""}, "span name", "span name"),
        ({"evalvault.stage.name": 7}, "span name", "7"),
        ({}, "", None),
        ({}, "x" * 1000, "x" * 200),
        ({}, "a\0b", "a\ufffdb"),
    ],
)
def test_the_name(attributes: dict[str, Value], name: str, expected: str | None) -> None:
    assert _stage(attributes, name).stage_name == expected


@pytest.mark.parametrize(
    "said, attempt", [(1, 1), (3, 3), ("2", 2), (2.0, 2), (0, 1), (-4, 1), (2**31, 1), ("x", 1), (True, 1), (None, 1)]
)
def test_the_attempt_is_a_number_from_one(said: Value, attempt: int) -> None:
    assert _stage({"evalvault.stage.attempt": said}).attempt == attempt


@pytest.mark.parametrize(
    "attributes, expected",
    [
        ({}, None),
        ({"input.value": "text"}, PayloadRef("span", "input", "text")),
        ({"input.value": "{}", "input.mime_type": "application/json"}, PayloadRef("span", "input", "json")),
        ({"evalvault.stage.input.value": {"k": 1}}, PayloadRef("span", "input", "text")),
        ({"evalvault.stage.input.uri": "s3://bucket/key?type=text"}, PayloadRef("s3", "bucket/key", "text")),
        ({"evalvault.stage.input.uri": "no address"}, PayloadRef("uri", "no address", "text")),
        ({"evalvault.stage.input.uri": "s3://a/b", "input.value": "text"}, PayloadRef("s3", "a/b", "json")),
        ({"input.value": "__REDACTED__"}, None),
    ],
)
def test_where_the_payload_is(attributes: dict[str, Value], expected: PayloadRef | None) -> None:
    assert _stage(attributes).input_ref == expected
    other = {key.replace("input", "output"): value for key, value in attributes.items()}
    reference = _stage(other).output_ref
    assert (reference.store if reference else None) == (expected.store if expected else None)


@pytest.mark.parametrize(
    "reference",
    [
        PayloadRef("s3", "a/b"),
        PayloadRef("s3", "a/b", "text"),
        PayloadRef("span", "input", "text"),
        PayloadRef("span", "o"),
    ],
)
def test_a_payload_reference_is_read_as_it_was_written(reference: PayloadRef) -> None:
    assert PayloadRef.parse(str(reference)) == reference


def test_long_texts_are_cut_and_say_so() -> None:
    found = _stage({"output.value": "x" * 5000, "short": "y"}, span_kind="LLM")

    assert 100 < len(found.attributes["answer"]) < 5000
    assert set(found.attributes["answer"]) == {"x"}
    assert (found.attributes["truncated"], found.attributes["short"]) == (True, "y")
    assert "truncated" not in _stage({"output.value": "short"}, span_kind="LLM").attributes


def test_what_serves_assembly_only_is_no_attribute() -> None:
    said = {"llm.invocation_parameters": '{"temperature": 0.5}', "llm.prompt_template.template": "{q}"}

    assert _stage(said, span_kind="LLM").attributes == {"temperature": 0.5}


def test_a_value_that_cannot_be_used_costs_its_metric_and_is_a_finding() -> None:
    said = {"evalvault.retrieval.doc_ids": ["a", "b"], "evalvault.retrieval.scores": [0.5, "high"]}
    assembly = assemble([stage(1, 0, "retrieval", said)])

    (found,) = assembly.stages
    assert found.attributes["scores"] == [0.5, None]
    assert found.metrics == {"retrieval.result_count": 2.0, "retrieval.duplicate_count": 0.0}
    assert [(item.code, item.span_id) for item in assembly.findings] == [("bad_value", sid(1))]
