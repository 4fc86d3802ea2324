"""Rules 5 and 6: the generation that is the answer, and stages that follow from others."""

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Span, StageEvent
from tests.support.traces import kind, sid, span, stage

SYSTEM = {"llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "Be brief."}


def _types(*spans: Span) -> dict[int, str]:
    return {int(item.stage_id, 16): item.stage_type for item in assemble(spans).stages if not item.derived}


def _derived(*spans: Span) -> list[StageEvent]:
    return [item for item in assemble(spans).stages if item.derived]


# Rule 5: the output.


def test_the_generation_that_ends_last_is_the_output_and_says_why() -> None:
    spans = [
        kind(1, 0, "CHAIN"),
        kind(2, 1, "LLM", start=0, end=90),
        kind(3, 1, "LLM", start=10, end=80),
    ]

    assert _types(*spans) == {1: "workflow", 2: "output", 3: "generation"}
    (output,) = [item for item in assemble(spans).stages if item.stage_type == "output"]
    assert output.type_source == "rule:answering_generation, attribute:openinference.span.kind"


def test_of_two_that_end_together_the_later_start_then_the_larger_id_wins() -> None:
    assert _types(kind(2, 9, "LLM", start=5), kind(3, 9, "LLM", start=1)) == {3: "generation", 2: "output"}
    assert _types(kind(2, 9, "LLM"), kind(3, 9, "LLM")) == {2: "generation", 3: "output"}


def test_an_explicit_output_is_the_only_one() -> None:
    spans = [stage(1, 0, "output", end=10), kind(2, 1, "LLM", end=99)]

    assert _types(*spans) == {1: "output", 2: "generation"}


def test_an_explicit_generation_may_be_the_output_too() -> None:
    (found,) = assemble([stage(1, 0, "generation")]).stages

    assert (found.stage_type, found.type_source) == (
        "output",
        "rule:answering_generation, attribute:evalvault.stage.type",
    )


@pytest.mark.parametrize(
    "serving", ["retrieval", "rerank", "query_rewrite", "evaluation", "answer_validation", "safety_check"]
)
def test_a_generation_that_serves_another_step_is_not_the_answer(serving: str) -> None:
    spans = [
        kind(1, 0, "CHAIN"),
        kind(2, 1, "LLM", start=0, end=10),
        stage(3, 1, serving, start=10, end=90),
        kind(4, 3, "AGENT", start=11, end=89),
        kind(5, 4, "LLM", start=12, end=88),
    ]

    assert _types(*spans) == {1: "workflow", 2: "output", 3: serving, 4: "agent", 5: "generation"}


def test_without_a_candidate_there_is_no_output() -> None:
    assert _types(kind(1, 0, "RETRIEVER"), kind(2, 1, "LLM")) == {1: "retrieval", 2: "generation"}


# Rule 6: derived stages.


def test_the_input_follows_from_what_the_root_was_given() -> None:
    (found,) = _derived(span(1, 0, {"input.value": '{"question": "why?"}'}), stage(2, 1, "tool"))

    assert found == StageEvent(
        trace_id=found.trace_id,
        stage_id=f"{sid(1)}:input",
        run_id="rag-api@2026-01-01",
        stage_type="input",
        started_ns=1_767_225_600_000_000_000,
        attributes={"query": "why?"},
        metadata={"service": "rag-api", "scope": "my.library", "run_id_source": "service_day"},
        span_id=sid(1),
        derived=True,
        type_source="rule:root_input",
        metrics={"input.query_length": 4.0},
    )


def test_an_explicit_input_wins() -> None:
    assert _derived(span(1, 0, {"input.value": "why?"}), stage(2, 1, "input")) == []


def test_without_a_root_there_is_no_root_input() -> None:
    assert _derived(kind(2, 1, "RETRIEVER", {"input.value": "rewritten question"})) == []


@pytest.mark.parametrize("value", ["", "__REDACTED__", None, True])
def test_nothing_said_or_hidden_is_no_input(value: object) -> None:
    assert [item.stage_type for item in _derived(span(1, 0, {"input.value": value}), stage(2, 1, "tool"))] == []


def test_the_system_prompt_follows_from_the_first_generation_that_has_one() -> None:
    spans = [
        kind(1, 0, "CHAIN"),
        kind(2, 1, "LLM", {}, start=0, end=10),
        kind(3, 1, "LLM", SYSTEM, start=10, end=20),
        kind(4, 1, "LLM", {**SYSTEM, "llm.input_messages.0.message.content": "Other."}, start=20, end=30),
    ]

    (found,) = _derived(*spans)
    assert (found.stage_id, found.stage_type, found.parent_stage_id) == (
        f"{sid(3)}:system_prompt",
        "system_prompt",
        sid(3),
    )
    assert found.attributes["text"] == "Be brief."
    assert found.attributes["digest"].startswith("sha256:")
    assert (found.derived, found.type_source) == (True, "rule:system_message")


def test_an_explicit_system_prompt_wins() -> None:
    assert _derived(stage(1, 0, "system_prompt"), kind(2, 1, "LLM", SYSTEM)) == []


def test_only_the_beginning_of_a_long_system_prompt_is_shown_and_its_digest_tells_it_apart() -> None:
    def prompt(text: str) -> StageEvent:
        (found,) = _derived(kind(1, 0, "LLM", {**SYSTEM, "llm.input_messages.0.message.content": text}))
        return found

    one, other = prompt("x" * 1000 + "1"), prompt("x" * 1000 + "2")

    assert one.attributes["text"] == other.attributes["text"]
    assert set(one.attributes["text"]) == {"x"}
    assert len(one.attributes["text"]) < 200
    assert one.attributes["digest"] != other.attributes["digest"]


def test_derived_stages_have_no_duration_and_add_nothing() -> None:
    spans = [kind(1, 0, "LLM", {"input.value": "why?", **SYSTEM, "llm.token_count.prompt": 7}, status_code=2)]

    for found in _derived(*spans):
        assert (found.duration_ms, found.self_ms, found.critical_ms, found.finished_ns) == (None, None, None, None)
        assert (found.status, found.tokens_in, found.error_type) == ("success", None, None)
    assert len(_derived(*spans)) == 2
    assert assemble(spans).runs[0].tokens_in == 7
    assert assemble(spans).runs[0].errors == 1
