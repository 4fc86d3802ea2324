"""Two versions of an asset compared: every metric of the stages that used them, with 95 % confidence intervals.

Durations and scores by Welch's interval of the difference of means, failures by Newcombe's of shares (`intervals`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..assembly.metric_names import direction
from ..store.asset_records import LedgerMetric, LedgerStages
from .figures import rounded, share
from .intervals import LEVEL, Sample, newcombe, welch

# Fewer scores prove nothing, whatever the interval says.
_FEWEST: Final = 5
ERROR_RATE: Final = "stage.error_rate"


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric under both versions. `low` and `high` bound the difference `after - before`.

    `verdict` is `better`, `worse` or `changed` (neither way is better) where the interval leaves out zero, `same` where
    it does not, and `not enough data` below five scores on either side.
    """

    metric_name: str
    before: float
    after: float
    difference: float
    low: float | None
    high: float | None
    count_before: int
    count_after: int
    verdict: str


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """Two versions of an asset over the stages with their latest uses; metrics that only one has are left out."""

    before: str | None
    after: str | None
    level: float
    differences: list[Difference]


def compared(
    before: str | None, after: str | None, stages: Sequence[LedgerStages], metrics: Sequence[LedgerMetric]
) -> VersionComparison:
    """The comparison of two versions, failures first, then metrics by name."""
    old, new = (
        {metric.metric_name: metric for metric in metrics if metric.version == version} for version in (before, after)
    )
    found = [_metric(old[name], new[name]) for name in sorted(old.keys() & new.keys())]
    wholes = [
        next((item for item in stages if item.version == version and item.stage_type is None), None)
        for version in (before, after)
    ]
    rates = [_error_rate(wholes[0], wholes[1])] if wholes[0] and wholes[1] else []
    return VersionComparison(before, after, LEVEL, rates + found)


def _metric(old: LedgerMetric, new: LedgerMetric) -> Difference:
    samples = [Sample(metric.count, metric.avg, metric.variance) for metric in (old, new)]
    bounds = welch(samples[0], samples[1])
    return _difference(old.metric_name, (old.avg, new.avg), (old.count, new.count), bounds)


def _error_rate(old: LedgerStages, new: LedgerStages) -> Difference:
    bounds = newcombe((old.errors, old.stages), (new.errors, new.stages))
    rates = (share(old.errors, old.stages), share(new.errors, new.stages))
    return _difference(ERROR_RATE, rates, (old.stages, new.stages), bounds)


def _difference(
    name: str, values: tuple[float, float], counts: tuple[int, int], bounds: tuple[float, float] | None
) -> Difference:
    difference = values[1] - values[0]
    low, high = bounds or (None, None)
    return Difference(
        metric_name=name,
        before=rounded(values[0]),
        after=rounded(values[1]),
        difference=rounded(difference),
        low=rounded(low),
        high=rounded(high),
        count_before=counts[0],
        count_after=counts[1],
        verdict=_verdict(name, difference, bounds, min(counts), values),
    )


def _verdict(
    name: str, difference: float, bounds: tuple[float, float] | None, fewest: int, values: tuple[float, float]
) -> str:
    if bounds is None or fewest < _FEWEST:
        return "not enough data"
    # A rest of rounding in sums is no difference.
    tiny = abs(difference) <= 1e-9 * max(map(abs, values))
    if tiny or bounds[0] <= 0 <= bounds[1]:
        return "same"
    way = "lower" if name == ERROR_RATE else direction(name)
    return "changed" if way == "neutral" else "better" if (difference > 0) == (way == "higher") else "worse"
