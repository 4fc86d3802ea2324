"""Metrics of a run: each stage's scores against their thresholds, and their distributions."""

from dataclasses import dataclass
from typing import Any

from ..assembly.metric_names import evidence
from ..store.reads import Queries
from ..store.records import Limit, MetricFilter, MetricStats, Score
from .figures import rounded, share
from .thresholds import Limits, fitting


@dataclass(frozen=True, slots=True)
class MetricScore:
    """One metric of one stage. `passed` is None without a threshold; a score equal to it passes."""

    run_id: str
    trace_id: str
    stage_id: str
    span_id: str | None
    metric_name: str
    score: float
    threshold: float | None
    passed: bool | None
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MetricAggregate:
    """The distribution of a metric. `pass_rate` is None without a threshold."""

    metric_name: str
    count: int
    avg: float
    min: float
    max: float
    p50: float
    p95: float
    p99: float
    threshold: float | None
    pass_rate: float | None


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """Some scores of a run, and the distributions of all of them."""

    run_id: str
    metrics: list[MetricScore]
    aggregates: list[MetricAggregate]
    next_cursor: str | None


def run_metrics(  # noqa: PLR0913, PLR0917 - what is asked, of whom, and which page of it
    store: Queries, run_id: str, limits: Limits, wanted: MetricFilter, limit: int, cursor: str | None = None
) -> RunMetrics:
    """The scores that `wanted` names, `limit` at a time.

    Raises:
        NotFound: there is no such run.
        InvalidInput: the cursor is not one of this list.
    """
    store.run(run_id)
    stats = store.metric_stats(run_id, list(limits.values()))
    fit = fitting(limits, stats)
    page = store.scores(run_id, wanted, list(fit.values()), limit, cursor)
    return RunMetrics(
        run_id=run_id,
        metrics=[_metric_score(run_id, item, fit.get(item.metric_name)) for item in page.items],
        aggregates=[aggregate_of(item, fit.get(item.metric_name)) for item in stats],
        next_cursor=page.next_cursor,
    )


def passes(score: float, limit: Limit) -> bool:
    """Whether a score is within its limit; equality passes."""
    return score <= limit.bound if limit.at_most else score >= limit.bound


def aggregate_of(stats: MetricStats, limit: Limit | None) -> MetricAggregate:
    """A distribution with its pass rate."""
    return MetricAggregate(
        metric_name=stats.metric_name,
        count=stats.count,
        avg=rounded(stats.avg),
        min=rounded(stats.min),
        max=rounded(stats.max),
        p50=rounded(stats.p50),
        p95=rounded(stats.p95),
        p99=rounded(stats.p99),
        threshold=limit.bound if limit else None,
        pass_rate=share(stats.passed, stats.count) if limit else None,
    )


def _metric_score(run_id: str, item: Score, limit: Limit | None) -> MetricScore:
    return MetricScore(
        run_id=run_id,
        trace_id=item.place.trace_id,
        stage_id=item.place.stage_id,
        span_id=item.place.span_id,
        metric_name=item.metric_name,
        score=item.score,
        threshold=limit.bound if limit else None,
        passed=passes(item.score, limit) if limit else None,
        evidence=_evidence(item, limit),
    )


def _evidence(item: Score, limit: Limit | None) -> dict[str, Any]:
    """What the score was computed from; `comparison` as the threshold compares."""
    shown = evidence(item.metric_name, item.attributes, item.metadata, item.duration_ms)
    if limit is not None:
        shown.pop("comparison", None)
        if limit.at_most:
            shown["comparison"] = "max"
    return shown
