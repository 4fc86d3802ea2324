"""Evaluation results as scores of the stage that was evaluated, from span events as from log events."""

from typing import Any

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.assembly.metric_names import direction, evidence
from evalvault_otel.model import Assembly, SpanEvent, StageEvent
from tests.support.traces import at, log, sid, span, stage

RESULT = "gen_ai.evaluation.result"


def _result(ms: float = 1, **said: Any) -> SpanEvent:
    keys = {"name": "name", "score": "score.value", "label": "score.label", "explanation": "explanation"}
    return SpanEvent(at(ms), RESULT, {f"gen_ai.evaluation.{keys[key]}": value for key, value in said.items()})


def _stage(*events: SpanEvent, stage_type: str = "output", **attributes: Any) -> StageEvent:
    (found,) = assemble([stage(1, 0, stage_type, attributes, events=events)]).stages
    return found


def _codes(assembly: Assembly) -> list[str]:
    return [item.code for item in assembly.findings]


def test_a_score_is_a_metric_of_the_stage_and_says_what_it_was_made_from() -> None:
    found = _stage(_result(name="Relevance", score=0.8, label="good", explanation="On topic."))

    said = {"name": "Relevance", "score": 0.8, "label": "good", "explanation": "On topic."}
    assert found.metrics["output.Relevance"] == 0.8
    assert found.attributes["evaluations"] == [said]
    assert evidence("output.Relevance", found.attributes, {}) == {"evaluation": said}
    assert direction("output.Relevance") == "neutral"


def test_a_label_without_a_score_is_kept_and_is_no_metric() -> None:
    found = _stage(_result(name="tone", label="kind"))

    assert found.attributes["evaluations"] == [{"name": "tone", "label": "kind"}]
    assert "output.tone" not in found.metrics


def test_of_several_the_latest_counts_and_all_are_shown() -> None:
    found = _stage(_result(3, name="r", score=3), _result(1, name="r", score=1), _result(2, name="r", score=2))

    assert found.metrics["output.r"] == 3.0
    assert [item["score"] for item in found.attributes["evaluations"]] == [1, 2, 3]
    assert evidence("output.r", found.attributes, {}) == {"evaluation": {"name": "r", "score": 3}}


@pytest.mark.parametrize("score", ["good", True, float("nan"), float("inf"), [1], {"a": 1}, b"1"])
def test_a_score_that_is_no_number_costs_this_metric_only(score: Any) -> None:
    spans = [stage(1, 0, "output", events=(_result(name="bad", score=score), _result(name="fine", score="0.5")))]

    assembly = assemble(spans)

    assert assembly.stages[0].metrics["output.fine"] == 0.5
    assert "output.bad" not in assembly.stages[0].metrics
    assert _codes(assembly) == ["bad_value"]


@pytest.mark.parametrize("name", [None, "", " ", 5.5, ["a"], True])
def test_an_evaluation_without_a_name_is_left_in_the_archive(name: Any) -> None:
    found = _stage(_result(name=name, score=1))

    assert found.metrics.keys() - {"output.citation_count"} == ({"output.5.5"} if name == 5.5 else set())


def test_what_is_computed_goes_before_what_an_evaluator_says() -> None:
    events = (_result(name="result_count", score=9), _result(name="recall_at_k", score=0.5))
    found = _stage(*events, stage_type="retrieval", **{"evalvault.retrieval.doc_ids": ["a"]})

    assert (found.metrics["retrieval.result_count"], found.metrics["retrieval.recall_at_k"]) == (1.0, 0.5)


def test_an_evaluation_recorded_within_a_stage_is_the_stage_s() -> None:
    spans = [stage(1, 0, "workflow"), stage(2, 1, "output"), span(3, 2, events=(_result(name="r", score=1),))]

    assembly = assemble(spans)

    assert {item.stage_id: item.metrics.get("output.r") for item in assembly.stages} == {sid(1): None, sid(2): 1.0}


def test_a_log_event_does_the_same() -> None:
    event = _result(name="r", score=0.25)

    logged = assemble([stage(1, 0, "output")], [log(1, RESULT, event.attributes, time_ns=event.time_ns)])

    assert logged.stages == (_stage(event),)


def test_long_texts_are_cut() -> None:
    found = _stage(_result(name="n" * 500, score=1, explanation="e" * 5000))

    (said,) = found.attributes["evaluations"]
    assert (len(said["name"]), len(said["explanation"])) == (200, 1000)
