"""Metrics beyond their thresholds, by how far, and what the playbook says to do about them."""

from collections.abc import Iterable, Sequence
from typing import Final

from ..store.reads import Queries
from ..store.records import Limit, MetricStats, WorstScore
from .figures import duration, number, rounded, share
from .playbook import Playbook, action_for, component_of
from .report_model import Example, FailingMetric, Recommendation
from .thresholds import Limits, fitting

# Relative distance times share of the stages affected: EvalVault's bounds, on one scale for all units.
_PRIORITIES: Final = ((0.3, "p0_critical"), (0.15, "p1_high"), (0.0, "p2_medium"))


def failing_metrics(store: Queries, run_id: str, limits: Limits, examples: int) -> list[FailingMetric]:
    """Metrics with scores beyond their threshold, the one with the farthest score first."""
    stats = store.metric_stats(run_id, list(limits.values()))
    fit = fitting(limits, stats)
    failed = {m.metric_name: m for m in stats if m.metric_name in fit and m.passed < m.count}
    worst = store.worst_scores(run_id, [fit[name] for name in failed], examples)
    found = [
        _failing(metric, fit[name], [score for score in worst if score.metric_name == name])
        for name, metric in failed.items()
    ]
    return sorted(found, key=lambda metric: (-metric.distance, metric.pass_rate, metric.metric_name))


def _failing(metric: MetricStats, limit: Limit, worst: Sequence[WorstScore]) -> FailingMetric:
    return FailingMetric(
        metric_name=metric.metric_name,
        threshold=limit.bound,
        comparison="max" if limit.at_most else "min",
        count=metric.count,
        failed=metric.count - metric.passed,
        pass_rate=share(metric.passed, metric.count),
        avg=rounded(metric.avg),
        distance=distance(metric.max if limit.at_most else metric.min, limit),
        examples=[
            Example(s.place.trace_id, s.place.span_id, s.place.stage_id, score_text(metric.metric_name, s.score))
            for s in worst
        ],
    )


def distance(score: float, limit: Limit) -> float:
    """How far a score is beyond its limit, relative to the limit; 0 within it."""
    beyond = score - limit.bound if limit.at_most else limit.bound - score
    return rounded(max(beyond, 0.0) / (abs(limit.bound) or 1.0))


def score_text(metric_name: str, score: float) -> str:
    """A score with its unit."""
    return duration(score) if metric_name.endswith("_ms") else number(score)


def recommendations(failing: Iterable[FailingMetric], playbook: Playbook) -> list[Recommendation]:
    """One action per failing metric, the most urgent first."""
    urgent = sorted(failing, key=lambda metric: (-_urgency(metric), metric.metric_name))
    return [_recommendation(metric, playbook) for metric in urgent]


def _urgency(metric: FailingMetric) -> float:
    return metric.distance * metric.failed / metric.count


def _recommendation(metric: FailingMetric, playbook: Playbook) -> Recommendation:
    action = action_for(playbook, metric.metric_name)
    return Recommendation(
        component=component_of(metric.metric_name),
        metric_name=metric.metric_name,
        priority=next(name for least, name in _PRIORITIES if _urgency(metric) >= least),
        title=action.title,
        hint=action.hint or action.description,
        affected=metric.failed,
        of=metric.count,
        effort=action.effort,
        expected_improvement_range=action.expected_improvement_range,
    )
