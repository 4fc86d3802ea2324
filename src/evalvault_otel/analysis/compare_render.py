"""A comparison as Markdown, as fits a pull request. The same comparison gives the same bytes."""

from collections.abc import Sequence
from typing import Final

from .compare_model import SAME, TOO_FEW, WORSE, Comparison, MetricDifference
from .figures import count
from .render import environment

_QUIET: Final = frozenset({SAME, TOO_FEW})


def to_markdown(comparison: Comparison, gate_reasons: Sequence[str] | None = None) -> str:
    """The comparison; with what a gate says of it, if there is one."""
    metrics = comparison.metrics
    return (
        environment()
        .get_template("compare.md.j2")
        .render(comparison=comparison, moved=moved(metrics), rest=_rest(metrics), gate_reasons=gate_reasons)
    )


def moved(metrics: Sequence[MetricDifference]) -> list[MetricDifference]:
    """Metrics with something to say: worse ones first, then by how much they moved."""
    found = [metric for metric in metrics if metric.verdict not in _QUIET]
    return sorted(found, key=lambda m: (m.verdict != WORSE, -abs(m.relative or float("inf")), m.metric_name))


def _rest(metrics: Sequence[MetricDifference]) -> str:
    same = sum(metric.verdict == SAME for metric in metrics)
    few = sum(metric.verdict == TOO_FEW for metric in metrics)
    said = [f"{count(same, 'metric')} without a difference that holds"] if same else []
    said += [f"{few} with too little data"] if few else []
    return f"Besides: {', '.join(said)}." if said else ""
