"""What becomes another while a run goes on: metrics that differ clearly between an earlier and a later part of it.

The time of the run is cut into equal windows. Of all cuts between windows the clearest is taken, in standard errors
(Welch); with some dozens of metrics and seven cuts, five and a half are beyond chance. Whether it came at once or
little by little is told by what explains the averages of the windows better: one step, or a line.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from ..assembly.metric_names import direction
from ..store.symptoms import WINDOWS, Window
from .asset_changes import clearness
from .figures import rounded

_CLEAR: Final = 5.5
_SMALLEST_CHANGE: Final = 0.2
_FEWEST_SCORES: Final = 12
_FEWEST_WINDOWS: Final = 4
# Neither is better, but both are worth knowing: less input is a cut context, more of it is dearer.
WATCHED: Final = frozenset({"tokens_in", "cost_total"})


@dataclass(frozen=True, slots=True)
class Drift:
    """A metric that became another. `before` and `after` are averages; `part` is the first window of what is after."""

    stage_type: str
    metric_name: str
    before: float
    after: float
    gradual: bool
    part: int
    clearness: float

    @property
    def name(self) -> str:
        """The name of the metric without the stage type."""
        return self.metric_name.removeprefix(f"{self.stage_type}.")

    @property
    def change(self) -> float:
        """The change relative to what was before, at most 1 (also from nothing)."""
        return rounded(min(abs(self.after - self.before) / abs(self.before), 1.0)) if self.before else 1.0


def drifts(windows: Iterable[Window]) -> list[Drift]:
    """Metrics that became worse, and watched ones that became another, by stage type, then the clearest first."""
    by_metric = groupby(windows, key=lambda window: window.metric_name)
    found = [drift for _, members in by_metric if (drift := _drift(list(members))) is not None]
    return sorted(found, key=lambda drift: (drift.stage_type, -drift.clearness, drift.metric_name))


def _drift(windows: Sequence[Window]) -> Drift | None:
    if len(windows) < _FEWEST_WINDOWS:
        return None
    cuts = [(_joined(windows[:at]), _joined(windows[at:])) for at in range(1, len(windows))]
    enough = [cut for cut in cuts if min(cut[0].count, cut[1].count) >= _FEWEST_SCORES]
    if not enough:
        return None
    before, after = max(enough, key=lambda cut: (rounded(clearness(*cut)), -cut[1].part))
    clear = clearness(before, after)
    if clear < _CLEAR or abs(after.avg - before.avg) < _SMALLEST_CHANGE * abs(before.avg) or not _worth(before, after):
        return None
    gradual = _explained(windows, _line) > _explained(windows, lambda w: 0.0 if w.part < after.part else 1.0)
    first, last = (windows[0], windows[-1]) if gradual else (before, after)
    stage_type = _stage_type(before.metric_name)
    return Drift(
        stage_type, before.metric_name, rounded(first.avg), rounded(last.avg), gradual, after.part, rounded(clear)
    )


def _stage_type(metric_name: str) -> str:
    return metric_name.rpartition(".")[0]


def _worth(before: Window, after: Window) -> bool:
    name = before.metric_name.rpartition(".")[2]
    worse = {"lower": after.avg > before.avg, "higher": after.avg < before.avg}
    return name in WATCHED or worse.get(direction(before.metric_name), False)


def _joined(windows: Sequence[Window]) -> Window:
    """Windows as one, named by the first."""
    count = sum(window.count for window in windows)
    avg = math.fsum(window.avg * window.count for window in windows) / count
    square = math.fsum((window.variance + (window.avg - avg) ** 2) * window.count for window in windows) / count
    return Window(windows[0].metric_name, windows[0].part, count, avg, square)


def _line(window: Window) -> float:
    return window.part / (WINDOWS - 1)


def _explained(windows: Sequence[Window], shape: Callable[[Window], float]) -> float:
    """The squared correlation of the windows' averages with a shape, by weight of their scores."""
    weight = sum(window.count for window in windows)
    xs, ys = [shape(window) for window in windows], [window.avg for window in windows]
    x_mean = math.fsum(x * w.count for x, w in zip(xs, windows, strict=True)) / weight
    y_mean = math.fsum(y * w.count for y, w in zip(ys, windows, strict=True)) / weight
    xy = math.fsum((x - x_mean) * (y - y_mean) * w.count for x, y, w in zip(xs, ys, windows, strict=True))
    xx = math.fsum((x - x_mean) ** 2 * w.count for x, w in zip(xs, windows, strict=True))
    yy = math.fsum((y - y_mean) ** 2 * w.count for y, w in zip(ys, windows, strict=True))
    return xy * xy / (xx * yy) if xx and yy else 0.0
