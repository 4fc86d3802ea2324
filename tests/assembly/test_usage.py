"""Rule 9: tokens and cost count once, where a model was called."""

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Span, Value
from tests.support.traces import kind, stage

IN = "llm.token_count.prompt"


def _counted(*spans: Span) -> tuple[int, dict[int, int], list[str]]:
    """Tokens of the run, tokens per stage that counts them, finding codes."""
    assembly = assemble(spans)
    by_stage = {int(item.stage_id, 16): item.tokens_in for item in assembly.stages if item.tokens_in is not None}
    (part,) = assembly.runs
    return part.tokens_in, by_stage, [item.code for item in assembly.findings]


@pytest.mark.parametrize("span_kind", ["LLM", "EMBEDDING", "RERANKER", "DECISION"])
def test_model_calls_count(span_kind: str) -> None:
    assert _counted(kind(1, 0, span_kind, {IN: 10})) == (10, {1: 10}, [])


@pytest.mark.parametrize("span_kind", ["AGENT", "TOOL", "RETRIEVER", "CHAIN", "GUARDRAIL"])
def test_other_stages_do_not(span_kind: str) -> None:
    assert _counted(kind(1, 0, span_kind, {IN: 10})) == (0, {}, ["usage_ignored"])


def test_a_parent_that_repeats_its_children_is_a_finding() -> None:
    spans = [
        kind(1, 0, "AGENT", {IN: 30}),
        kind(2, 1, "LLM", {IN: 10}, end=10),
        kind(3, 1, "TOOL"),
        kind(4, 3, "LLM", {IN: 20}, end=20),
    ]

    assert _counted(*spans) == (30, {2: 10, 4: 20}, ["usage_repeated"])


def test_a_collapsed_chain_counts_once() -> None:
    spans = [kind(1, 0, "LLM", {IN: 10}), kind(2, 1, "LLM", {IN: 10}), kind(3, 2, "LLM", {IN: 10})]

    assert _counted(*spans) == (10, {1: 10}, [])


def test_a_collapsed_chain_has_the_usage_of_any_of_its_spans() -> None:
    assert _counted(kind(1, 0, "LLM"), kind(2, 1, "LLM", {IN: 10})) == (10, {1: 10}, [])


def test_of_two_explicit_stages_the_inner_one_counts() -> None:
    said = {"evalvault.usage.input_tokens": 10}

    assert _counted(stage(1, 0, "generation", said), stage(2, 1, "generation", said)) == (
        10,
        {2: 10},
        ["usage_repeated"],
    )


def test_a_model_call_above_another_counts_only_below() -> None:
    spans = [kind(1, 0, "LLM", {IN: 10}), kind(2, 1, "RETRIEVER"), kind(3, 2, "LLM", {IN: 10})]

    assert _counted(*spans) == (10, {3: 10}, ["usage_repeated"])


def test_a_model_call_above_another_counts_only_below_also_over_a_collapsed_chain() -> None:
    spans = [
        kind(1, 0, "LLM", {IN: 10}),
        kind(2, 1, "RETRIEVER"),
        kind(3, 2, "RETRIEVER"),
        kind(4, 3, "LLM", {IN: 10}),
    ]

    assert _counted(*spans) == (10, {4: 10}, ["usage_repeated"])


def test_calls_side_by_side_all_count() -> None:
    spans = [kind(1, 0, "CHAIN"), *(kind(number, 1, "LLM", {IN: number}) for number in range(2, 6))]

    assert _counted(*spans)[0] == 2 + 3 + 4 + 5


def test_tokens_and_cost_add_up_in_the_run() -> None:
    said: dict[str, Value] = {
        "evalvault.usage.input_tokens": 900,
        "evalvault.usage.output_tokens": "210",
        "evalvault.cost.total": 0.25,
    }
    (part,) = assemble([stage(1, 0, "generation", said), stage(2, 0, "embedding", said)]).runs

    assert (part.tokens_in, part.tokens_out, part.cost_total) == (1800, 420, 0.5)


@pytest.mark.parametrize("value", ["many", float("nan"), True, None, 1e300, "1e300", float(2**63)])
def test_what_is_no_number_counts_nothing(value: Value) -> None:
    assert _counted(kind(1, 0, "LLM", {IN: value}))[:2] == (0, {})


def test_a_sum_stays_what_a_database_can_hold() -> None:
    spans = [kind(number, 9, "LLM", {IN: 2**63 - 1, "llm.cost.total": 1e308}) for number in (1, 2, 3)]

    (part,) = assemble(spans).runs
    assert part.tokens_in == 2**63 - 1
    assert part.cost_total > 0
