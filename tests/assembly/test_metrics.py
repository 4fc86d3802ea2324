import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalvault_otel.assembly.metric_names import METRICS, direction, evidence, generic_name
from evalvault_otel.assembly.metrics import stage_metrics


def scores(stage_type: str, attributes: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, float]:
    """Scores without the stage type in front."""
    found = stage_metrics(stage_type, attributes, metadata or {})
    assert found.bad == ()
    return {name.removeprefix(f"{stage_type}."): score for name, score in found.scores.items()}


class TestRetrieval:
    def test_counts_spread_and_order(self) -> None:
        assert scores("retrieval", {"doc_ids": ["a", "b", "a"], "scores": [0.5, 0.9, 0.1], "top_k": 3}) == {
            "result_count": 3.0,
            "duplicate_count": 1.0,
            "avg_score": 0.5,
            "score_gap": 0.8,
            "order_inversions": 1.0,
        }

    def test_documents_that_were_not_recorded_are_not_counted(self) -> None:
        assert scores("retrieval", {"doc_ids": None}) == scores("retrieval", {"top_k": 3}) == {}

    @pytest.mark.parametrize("doc_ids", [[], ()])
    def test_no_documents_is_a_count_of_zero(self, doc_ids: Any) -> None:
        assert scores("retrieval", {"doc_ids": doc_ids}) == {"result_count": 0.0}

    @pytest.mark.parametrize("doc_ids", ["doc-1", 7])
    def test_one_document_that_is_no_list_counts_as_one(self, doc_ids: Any) -> None:
        assert scores("retrieval", {"doc_ids": doc_ids})["result_count"] == 1.0

    def test_one_score_has_no_gap(self) -> None:
        assert scores("retrieval", {"doc_ids": ["a"], "scores": [0.4]}) == {
            "result_count": 1.0,
            "duplicate_count": 0.0,
            "avg_score": 0.4,
        }

    def test_documents_that_have_no_scores_at_all(self) -> None:
        assert "avg_score" not in scores("retrieval", {"doc_ids": ["a", "b"], "scores": [None, None]})

    def test_sets_have_no_order(self) -> None:
        found = scores("retrieval", {"doc_ids": {"b", "a"}, "scores": {0.2, 0.7}, "relevant_doc_ids": ["a"]})
        assert found["ordering_warning"] == 1.0
        assert found["recall_at_k"] == 1.0
        assert not found.keys() & {"order_inversions", "mrr", "ndcg_at_k"}

    def test_relevance_within_the_first_top_k(self) -> None:
        attributes = {"doc_ids": ["x", "a", "b", "c"], "relevant_doc_ids": ["a", "c"], "top_k": 3}
        found = scores("retrieval", attributes)
        ideal = 1 + 1 / math.log2(3)
        assert found["precision_at_k"] == pytest.approx(1 / 3)
        assert found["recall_at_k"] == 0.5
        assert found["mrr"] == 0.5
        assert found["ndcg_at_k"] == pytest.approx((1 / math.log2(3)) / ideal)
        assert found["hit_rate"] == 1.0

    @pytest.mark.parametrize("top_k", [None, 0, -1, 4, 99])
    def test_k_is_what_was_returned_unless_fewer_were_asked_for(self, top_k: Any) -> None:
        attributes = {"doc_ids": ["a", "b", "c", "d"], "relevant_doc_ids": ["d"], "top_k": top_k}
        assert scores("retrieval", attributes)["precision_at_k"] == 0.25

    def test_nothing_returned_where_something_was_relevant_is_the_worst_score_not_none(self) -> None:
        found = scores("retrieval", {"doc_ids": [], "relevant_doc_ids": ["a"]})
        relevance = {"precision_at_k": 0.0, "recall_at_k": 0.0, "hit_rate": 0.0, "mrr": 0.0, "ndcg_at_k": 0.0}
        assert found == {"result_count": 0.0, **relevance}

    def test_a_relevant_document_returned_twice_is_found_once(self) -> None:
        assert scores("retrieval", {"doc_ids": ["a", "a"], "relevant_doc_ids": ["a", "b"]})["recall_at_k"] == 0.5

    def test_relevant_ids_may_stand_in_metadata_and_be_numbers(self) -> None:
        assert scores("retrieval", {"doc_ids": ["7"]}, {"relevant_doc_ids": [7]})["hit_rate"] == 1.0


class TestRerank:
    def test_keep_rate_and_displacement(self) -> None:
        found = scores("rerank", {"input_doc_ids": ["a", "b", "c", "d"], "doc_ids": ["c", "a"], "scores": [0.9, 0.2]})
        assert found["keep_rate"] == 0.5
        assert found["rank_displacement"] == 1.5

    def test_counts_are_taken_before_lists(self) -> None:
        assert scores("rerank", {"input_count": 10, "output_count": 4, "doc_ids": ["a"]})["keep_rate"] == 0.4

    @pytest.mark.parametrize(
        "attributes", [{"input_count": 0, "output_count": 0}, {"output_count": 2}, {"input_count": 2}]
    )
    def test_no_keep_rate_without_both_counts(self, attributes: Any) -> None:
        assert "keep_rate" not in scores("rerank", attributes)


class TestOutput:
    @pytest.mark.parametrize(
        "citations,counted",
        [
            (None, 0),
            ("", 0),
            (0, 0),
            (False, 0),
            (3, 3),
            (True, 1),
            ("doc-1", 1),
            (["a", "b"], 2),
            ((), 0),
            ({"doc_ids": ["a", "b", "c"]}, 3),
            ({"sources": ["a"], "count": 9}, 1),
            ({"count": 4}, 4),
            ({"a": 1, "b": 2}, 2),
        ],
    )
    def test_citation_count(self, citations: Any, counted: Any) -> None:
        assert scores("output", {"citations": citations})["citation_count"] == counted

    def test_token_ratio_needs_tokens_in(self) -> None:
        assert scores("output", {"tokens_in": 200, "tokens_out": 50})["token_ratio"] == 0.25
        assert "token_ratio" not in scores("output", {"tokens_in": 0, "tokens_out": 50})

    def test_coverage_is_the_share_of_citations_that_were_retrieved(self) -> None:
        attributes = {"citations": ["a", {"doc_id": "b"}, "never"]}
        found = stage_metrics("output", attributes, {}, retrieved={"a", "b", "c"}).scores
        assert found["output.citation_coverage"] == pytest.approx(2 / 3)
        assert "output.citation_coverage" not in stage_metrics("output", {}, {}, retrieved={"a"}).scores


@pytest.mark.parametrize(
    "stage_type,attributes,expected",
    [
        ("input", {"query": "what?"}, {"query_length": 5.0}),
        ("input", {"query": None}, {}),
        (
            "intent",
            {"predicted_label": "faq", "label": "faq", "confidence": "0.5"},
            {"accuracy": 1.0, "confidence": 0.5},
        ),
        ("language_detection", {"predicted_label": "de", "label": "en"}, {"accuracy": 0.0}),
        ("safety_check", {"violations": [], "blocked": "false"}, {"violation_rate": 0.0, "block_rate": 0.0}),
        ("safety_check", {"violations": ["pii"], "blocked": True}, {"violation_rate": 1.0, "block_rate": 1.0}),
        ("safety_check", {"violation_count": 2}, {"violation_rate": 1.0}),
        ("safety_check", {"violations": "no"}, {"violation_rate": 0.0}),
        ("answer_validation", {"passed": "0"}, {"pass_rate": 0.0}),
        ("answer_validation", {"passed": 1}, {"pass_rate": 1.0}),
        ("custom_module", {"throughput": 100, "error_rate": 0.05}, {"throughput": 100.0, "error_rate": 0.05}),
        (
            "retrieval",
            {"doc_ids": ["a"], "index_size": 9},
            {"result_count": 1.0, "duplicate_count": 0.0, "index_size": 9.0},
        ),
    ],
)
def test_other_stages(stage_type: Any, attributes: Any, expected: Any) -> None:
    assert scores(stage_type, attributes) == expected


@pytest.mark.parametrize(
    "key",
    ["http.status_code", "net.peer.port", "db.rows", "code.lineno", "user_id", "orderId", "id", "temperature", "top_k",
     "max_tokens", "seed", "tokens_used", "cost_total", "llm.token_count.prompt", "duration_ms", "latency_ms"],
)  # fmt: skip
def test_plumbing_and_parameters_are_no_metrics(key: Any) -> None:
    assert stage_metrics("custom", {key: 5}, {}).scores == {}


def test_a_bool_is_no_number_and_a_word_that_ends_like_id_is_no_identifier() -> None:
    assert stage_metrics("custom", {"ok": True, "paid": 3, "name": "x"}, {}).scores == {"custom.paid": 3.0}


def test_a_generic_number_never_takes_the_place_of_a_named_metric() -> None:
    assert generic_name("retrieval", "avg_score") is None
    assert stage_metrics("retrieval", {"avg_score": 9.0}, {}).scores == {}


@pytest.mark.parametrize(
    "attributes,lost,sentence",
    [
        ({"doc_ids": ["a"], "scores": ["high"]}, "avg_score", "retrieval: scores holds 'high', which is not a number"),
        ({"doc_ids": ["a", "b"], "scores": [0.5, None]}, "avg_score", "retrieval: 1 of 2 scores are missing"),
        (
            {"doc_ids": ["a"], "scores": [float("nan")]},
            "avg_score",
            "retrieval: scores is nan, which cannot be compared",
        ),
        (
            {"doc_ids": ["a"], "relevant_doc_ids": ["a"], "top_k": "ten"},
            "recall_at_k",
            "retrieval: top_k holds 'ten', which is not a number",
        ),
        ({"size": float("inf")}, "size", "retrieval: size is inf, which cannot be compared"),
    ],
)
def test_a_bad_value_costs_its_own_metric_and_is_told(attributes: Any, lost: Any, sentence: Any) -> None:
    found = stage_metrics("retrieval", attributes, {})
    assert found.bad == (sentence,)
    assert f"retrieval.{lost}" not in found.scores
    assert found.scores.get("retrieval.result_count", 0) == len(attributes.get("doc_ids", ()))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS = sorted({"doc_ids", "scores", "top_k", "relevant_doc_ids", "input_count", "output_count", "input_doc_ids",
               "query",
               "citations", "tokens_in", "tokens_out", "predicted_label", "label", "confidence", "violations",
               "violation_count", "blocked", "passed", "anything", "http.x"})  # fmt: skip


@given(st.sampled_from([*METRICS, "unknown"]), st.dictionaries(st.sampled_from(KEYS), ANYTHING))
def test_whatever_comes_in_only_finite_scores_come_out(stage_type: Any, attributes: Any) -> None:
    found = stage_metrics(stage_type, attributes, {}, retrieved={"a"})
    assert all(type(score) is float and math.isfinite(score) for score in found.scores.values())
    assert all(name.startswith(f"{stage_type}.") for name in found.scores)
    assert all(sentence.startswith(f"{stage_type}: ") for sentence in found.bad)


@pytest.mark.parametrize(
    "name,way",
    [
        ("retrieval.recall_at_k", "higher"),
        ("retrieval.duplicate_count", "lower"),
        ("custom.ranker.latency_ms", "lower"),
        ("trace.error_rate", "lower"),
        ("rerank.rank_displacement", "neutral"),
        ("custom.throughput", "neutral"),
    ],
)
def test_direction(name: Any, way: Any) -> None:
    assert direction(name) == way


def test_evidence_shows_what_a_score_was_made_from() -> None:
    attributes = {"doc_ids": ["a"], "top_k": 3, "query": "q", "x.y": 2}
    assert evidence("retrieval.recall_at_k", attributes, {"relevant_doc_ids": ["b"]}) == {
        "doc_ids": ["a"],
        "relevant_doc_ids": ["b"],
        "top_k": 3,
    }
    assert evidence("custom.ranker.x.y", attributes, {}) == {"x.y": 2}
    assert evidence("output.latency_ms", {}, {}, 12.5) == {"duration_ms": 12.5, "comparison": "max"}


def test_evalvaults_own_example_gives_evalvaults_own_figures() -> None:
    """The five stages of its sample file; beside its figures come only metrics that it does not have."""
    retrieval = scores("retrieval", {"top_k": 3, "doc_ids": ["doc-1", "doc-7", "doc-9"], "scores": [0.91, 0.72, 0.45]})
    assert retrieval["result_count"] == 3
    assert retrieval["avg_score"] == pytest.approx(0.6933333)
    assert retrieval["score_gap"] == pytest.approx(0.46)
    rerank = scores("rerank", {"input_count": 3, "output_count": 2, "scores": [0.88, 0.62]})
    assert rerank["keep_rate"] == pytest.approx(2 / 3)
    assert rerank["avg_score"] == pytest.approx(0.75)
    output = scores("output", {"answer": "...", "citations": ["doc-1", "doc-7"], "tokens_in": 900, "tokens_out": 210})
    assert output == {"citation_count": 2.0, "token_ratio": pytest.approx(210 / 900)}
    assert scores("input", {"query": "Summarize the insurance coverage", "language": "en"}) == {"query_length": 32.0}
    assert scores("system_prompt", {"prompt_id": "sys-01", "checksum": "abc123"}) == {}
