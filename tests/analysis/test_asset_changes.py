from typing import Any

import pytest

from evalvault_otel.analysis.asset_changes import moved
from evalvault_otel.store.records import VersionMetric


def metric(name: str, version: str, avg: float, variance: float = 0.0, count: int = 20) -> VersionMetric:
    return VersionMetric("prompt", "answer", version, name, count, avg, variance)


def verdicts(name: str, before: float, after: float, **more: Any) -> list[str]:
    found = moved([metric(name, "1", before, **more)], [metric(name, "2", after, **more)])
    return [item.verdict for item in found]


@pytest.mark.parametrize(
    "name,before,after,verdict",
    [
        ("output.citation_count", 2.0, 1.0, "worse"),
        ("output.citation_count", 1.0, 2.0, "better"),
        ("output.latency_ms", 100.0, 200.0, "worse"),
        ("trace.error_rate", 0.5, 0.0, "better"),
        ("custom.throughput", 1.0, 2.0, "changed"),
    ],
)
def test_the_direction_decides_between_worse_and_better(name: str, before: float, after: float, verdict: str) -> None:
    assert verdicts(name, before, after) == [verdict]


def test_a_difference_within_the_usual_spread_is_none() -> None:
    assert verdicts("output.latency_ms", 100.0, 130.0, variance=2500.0) == []
    assert verdicts("output.latency_ms", 100.0, 160.0, variance=2500.0) == ["worse"]


def test_a_tiny_difference_is_none_however_sure_it_is() -> None:
    assert verdicts("output.latency_ms", 100.0, 104.0, count=1_000_000) == []


def test_a_few_scores_prove_nothing() -> None:
    assert verdicts("output.citation_count", 2.0, 1.0, count=4) == []


def test_a_rest_of_rounding_is_no_difference() -> None:
    assert verdicts("output.citation_count", 0.1 + 0.2, 0.3) == []
    assert verdicts("output.citation_count", 0.0, 0.0) == []


def test_worse_comes_first_and_a_metric_that_only_one_version_has_is_left_out() -> None:
    before = [metric("a.x", "1", 1), metric("b.latency_ms", "1", 5), metric("output.mrr", "1", 1)]
    after = [metric("a.x", "2", 3), metric("b.latency_ms", "2", 50), metric("new.y", "2", 1)]
    assert [(item.metric_name, item.verdict, item.relative_change) for item in moved(before, after)] == [
        ("b.latency_ms", "worse", 9.0),
        ("a.x", "changed", 2.0),
    ]


def test_from_zero_there_is_no_relative_change() -> None:
    (item,) = moved([metric("trace.error_rate", "1", 0.0)], [metric("trace.error_rate", "2", 0.4)])
    assert (item.before, item.after, item.relative_change) == (0.0, 0.4, None)
