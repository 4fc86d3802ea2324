"""Figures about stages for Prometheus: how long they take, and how many used the assets they are expected to use.

Counted from assemblies, many at once: observing each stage by itself would cost ten times as much. Stages of a trace
that is assembled again, because more of it came, count again.
"""

from bisect import bisect_right
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Collection, Iterable
from math import fsum, inf
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from ..model import Assembly

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BOUNDS_MS: Final = (*(bound * 1000 for bound in _BUCKETS), inf)
# Names come from outside, and each is a time series more: further ones are counted together.
_MOST_TYPES: Final = 60
_OTHERS: Final = "(other)"


class StageTelemetry:
    """Durations by stage type, and the two counts whose quotient is the completeness of assets."""

    def __init__(self, registry: CollectorRegistry, expected: Collection[str]) -> None:
        self._expected = frozenset(expected)
        self._types: set[str] = set()
        self._seconds = Histogram(
            "evalvault_stage_seconds", "Duration of stages", ["stage_type"], buckets=_BUCKETS, registry=registry
        )
        self._expecting = Counter(
            "evalvault_stages_expecting_assets",
            "Stages of types that are expected to use assets",
            ["stage_type"],
            registry=registry,
        )
        self._filled = Counter(
            "evalvault_stages_with_assets", "Those of them that used at least one", ["stage_type"], registry=registry
        )

    def count(self, assemblies: Iterable[Assembly]) -> None:
        """Count the stages of some traces."""
        durations_ms: defaultdict[str, list[float]] = defaultdict(list)
        expecting: list[str] = []
        filled: list[str] = []
        expected = self._expected
        for assembly in assemblies:
            used = {use.stage_id for use in assembly.asset_uses}
            for stage in assembly.stages:
                stage_type, ms = stage.stage_type, stage.duration_ms
                if ms is not None:
                    durations_ms[stage_type].append(ms)
                if stage_type in expected and not stage.derived and stage.status != "skipped":
                    expecting.append(stage_type)
                    if stage.stage_id in used:
                        filled.append(stage_type)
        for stage_type, found in durations_ms.items():
            _observe(self._seconds.labels(self._label(stage_type)), found)
        for counter, names in ((self._expecting, expecting), (self._filled, filled)):
            for name, number in Tally(names).items():
                counter.labels(name).inc(number)

    def _label(self, stage_type: str) -> str:
        if len(self._types) < _MOST_TYPES:
            self._types.add(stage_type)
        return stage_type if stage_type in self._types else _OTHERS


def _observe(histogram: Histogram, durations_ms: list[float]) -> None:
    """What `Histogram.observe` does with each of them, in seconds, with one step per bucket."""
    histogram._sum.inc(fsum(durations_ms) / 1000.0)  # noqa: SLF001 - there is no public way to observe many at once
    durations_ms.sort()
    below = 0
    for bucket, bound_ms in enumerate(_BOUNDS_MS):
        upto = bisect_right(durations_ms, bound_ms, below)
        if upto > below:
            histogram._buckets[bucket].inc(upto - below)  # noqa: SLF001 - the same; a test compares with `observe`
        below = upto
