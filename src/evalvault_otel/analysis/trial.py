"""Metrics of a run with a relevance map that is not stored: what they would be."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from ..store.reads import Queries
from ..store.records import Limit, MetricStats
from .metrics import MetricAggregate, aggregate_of, passes
from .relevance import Relevance, retrievals, scores_with
from .thresholds import Limits, fitting

_CENT = 100


def aggregates(
    store: Queries, run_id: str, limits: Limits, relevance: Relevance | None = None
) -> list[MetricAggregate]:
    """The distribution of every metric of a run, by name; with a map those of retrievals as they would be with it.

    Raises:
        NotFound: there is no such run.
    """
    store.run(run_id)
    stats = store.metric_stats(run_id, list(limits.values()))
    if relevance:
        stats = _with(stats, _tried(store, run_id, relevance), limits)
    fit = fitting(limits, stats)
    return [aggregate_of(item, fit.get(item.metric_name)) for item in stats]


def _tried(store: Queries, run_id: str, relevance: Relevance) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for stage in retrievals(store, run_id):
        for name, score in scores_with(stage, relevance).items():
            found[name].append(score)
    return found


def _with(stats: Iterable[MetricStats], tried: dict[str, list[float]], limits: Limits) -> list[MetricStats]:
    others = [item for item in stats if item.metric_name not in tried]
    made = [_stats(name, sorted(scores), limits.get(name)) for name, scores in tried.items()]
    return sorted([*others, *made], key=lambda item: item.metric_name)


def _stats(name: str, scores: Sequence[float], limit: Limit | None) -> MetricStats:
    return MetricStats(
        metric_name=name,
        count=len(scores),
        avg=math.fsum(scores) / len(scores),
        min=scores[0],
        max=scores[-1],
        passed=sum(passes(score, limit) for score in scores) if limit else 0,
        p50=_percentile(scores, 50),
        p95=_percentile(scores, 95),
        p99=_percentile(scores, 99),
    )


def _percentile(scores: Sequence[float], share: int) -> float:
    """Interpolated between ranks, as `percentile_cont` of SQL does it."""
    place = share / _CENT * (len(scores) - 1)
    below = math.floor(place)
    above = min(below + 1, len(scores) - 1)
    return scores[below] + (scores[above] - scores[below]) * (place - below)
