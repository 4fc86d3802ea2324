"""Summary, metrics, playbook and stage JSON."""

from pathlib import Path

import orjson
import pytest

from evalvault_otel.analysis.bottlenecks import in_tree_order
from evalvault_otel.analysis.failing import distance
from evalvault_otel.analysis.metrics import passes, run_metrics
from evalvault_otel.analysis.playbook import action_for, component_of, load_playbook
from evalvault_otel.analysis.stage_json import stage_json
from evalvault_otel.analysis.summary import Missing, summarize
from evalvault_otel.analysis.thresholds import load_limits
from evalvault_otel.errors import NotFound, SettingsError
from evalvault_otel.model import PayloadRef
from evalvault_otel.store import Store
from evalvault_otel.store.records import Limit, MetricFilter
from tests.support.stages import RUN, assembly, save, stage, tid


class TestSummary:
    def test_counts_shares_and_what_is_missing(self, store: Store) -> None:
        save(
            store,
            assembly([stage(1, 1, "retrieval", 0, 30, critical_ms=10.0), stage(1, 2, "output", 30, 30)]),
            assembly([stage(2, 1, "retrieval", 0, 10, critical_ms=10.0, status="error")]),
        )
        found = summarize(store, RUN)
        assert found.total_events == 3
        assert found.stage_type_counts == {"output": 1, "retrieval": 2}
        assert found.stage_type_avg_durations == {"output": 30.0, "retrieval": 20.0}
        assert found.missing_required_stage_types == ["input"]
        assert found.missing == [Missing("input", 2, 2, tid(1)), Missing("output", 1, 2, tid(2))]
        output, retrieval = found.stages
        assert (retrieval.errors, retrieval.error_rate, retrieval.p50_ms, retrieval.max_ms) == (1, 0.5, 20.0, 30.0)
        assert (output.critical_path_share, retrieval.critical_path_share) == (0.6, 0.4)

    def test_without_a_critical_path_the_self_time_counts(self, store: Store) -> None:
        save(store, assembly([stage(1, 1, "a", 0, 30, critical_ms=None), stage(1, 2, "b", 30, 10, critical_ms=None)]))
        assert [item.critical_path_share for item in summarize(store, RUN).stages] == [0.75, 0.25]

    def test_an_unknown_run(self, store: Store) -> None:
        with pytest.raises(NotFound):
            summarize(store, RUN)


class TestMetrics:
    def test_scores_thresholds_and_evidence(self, store: Store) -> None:
        docs = {"doc_ids": ["a"], "scores": [7.5], "top_k": 3}
        save(store, assembly([stage(1, 1, "retrieval", 0, 700, attributes=docs)]))
        found = run_metrics(store, RUN, load_limits(), MetricFilter(), 10)
        shown = {item.metric_name: (item.score, item.threshold, item.passed, item.evidence) for item in found.metrics}
        assert shown == {
            "retrieval.avg_score": (7.5, None, None, {"scores": [7.5]}),
            "retrieval.duplicate_count": (0.0, None, None, {"doc_ids": ["a"], "comparison": "max"}),
            "retrieval.latency_ms": (700.0, 500.0, False, {"duration_ms": 700.0, "comparison": "max"}),
            "retrieval.result_count": (1.0, 1.0, True, {"doc_ids": ["a"], "top_k": 3}),
        }
        rates = {item.metric_name: item.pass_rate for item in found.aggregates}
        assert rates["retrieval.latency_ms"] == 0.0
        assert rates["retrieval.result_count"] == 1.0
        assert rates["retrieval.avg_score"] is None, "7.5 is on no scale from 0 to 1"

    def test_failing_only(self, store: Store) -> None:
        save(store, assembly([stage(1, 1, "retrieval", 0, 700, attributes={"doc_ids": ["a"]})]))
        found = run_metrics(store, RUN, load_limits(), MetricFilter(failing=True), 10)
        assert [item.metric_name for item in found.metrics] == ["retrieval.latency_ms"]
        assert len(found.aggregates) == 3

    @pytest.mark.parametrize(
        "limit,within,beyond", [(Limit("a", 2.0), 2.0, 1.9), (Limit("a", 2.0, at_most=True), 2.0, 2.1)]
    )
    def test_equality_passes(self, limit: Limit, within: float, beyond: float) -> None:
        assert passes(within, limit)
        assert not passes(beyond, limit)

    def test_distance_is_relative_and_in_the_direction_that_counts(self) -> None:
        assert distance(33_046, Limit("a", 3000, at_most=True)) == 10.0153
        assert distance(0, Limit("a", 1)) == 1.0
        assert distance(5, Limit("a", 1)) == 0.0
        assert distance(-2, Limit("a", 0)) == 2.0


class TestPlaybook:
    def test_the_packaged_one_is_there_without_asking(self) -> None:
        found = load_playbook()
        assert len(found) == 13
        assert found["retrieval.recall_at_k"].expected_improvement_range == (0.04, 0.12)

    def test_a_file_overlays_it(self, tmp_path: Path) -> None:
        path = tmp_path / "p.yaml"
        path.write_text("metrics:\n  custom.x: {action: {title: Do it}}\n  rerank.keep_rate: {title: Mine}\n")
        found = load_playbook(path)
        assert (found["custom.x"].title, found["rerank.keep_rate"].title) == ("Do it", "Mine")
        assert found["retrieval.recall_at_k"].title == "Improve retrieval recall"

    @pytest.mark.parametrize("text", ["[1, 2]", "metrics: [a]", "metrics: {a: 1}", ":", "{}", "a: [unclosed"])
    def test_what_is_no_playbook_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "p.yaml"
        path.write_text(text)
        with pytest.raises(SettingsError, match=r"playbook .*p\.yaml"):
            load_playbook(path)

    def test_every_metric_has_advice_and_a_component(self) -> None:
        assert action_for({}, "custom.x").title == "Review custom.x"
        assert [component_of(name) for name in ("retrieval.mrr", "input.x", "custom.x")] == [
            "retriever", "query_processor", "custom",
        ]  # fmt: skip


def test_stage_json_is_evalvaults_stage_event() -> None:
    item = stage(1, 1, "retrieval", 1.5, 10, input_ref=PayloadRef("span", "s/input"), attributes={"doc_ids": ["a"]})
    found = orjson.loads(orjson.dumps(stage_json(item)))
    assert found["trace"] == {"trace_id": item.trace_id, "span_id": item.span_id}
    assert (found["trace_id"], found["span_id"]) == (item.trace_id, item.span_id)
    assert found["started_at"] == "2026-01-01T00:00:00.001500Z"
    assert found["finished_at"] == "2026-01-01T00:00:00.011500Z"
    assert found["input_ref"] == {"store": "span", "id": "s/input", "type": "json"}
    assert found["attributes"] == {"doc_ids": ["a"]}
    assert found["metrics"]["retrieval.result_count"] == 1.0


def test_a_tree_puts_parents_first_and_loses_no_stage_of_a_circle() -> None:
    stages = [
        stage(1, 1, "child", parent_stage_id="t1-s2"),
        stage(1, 2, "top"),
        stage(1, 3, "x", parent_stage_id="t1-s4"),
        stage(1, 4, "y", parent_stage_id="t1-s3"),
        stage(1, 5, "grandchild", parent_stage_id="t1-s1"),
        stage(1, 6, "stray", parent_stage_id="gone"),
    ]
    assert [(item.stage_type, depth) for item, depth in in_tree_order(stages)] == [
        ("top", 0), ("child", 1), ("grandchild", 2), ("stray", 0), ("x", 0), ("y", 1),
    ]  # fmt: skip
