"""Percentiles for SQLite, which has none: an aggregate that gives what PostgreSQL's `percentile_cont` gives."""

import math
from typing import Final

POINTS: Final = (0.5, 0.95, 0.99, 0.1)


class Percentiles:
    """SQL aggregate `percentiles(x)`: the text `[p50,p95,p99,p10]`, or NULL when no row has a number.

    NULL and text are passed over. Between two ranks the value is interpolated, as by `percentile_cont`.
    """

    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: float | str | None) -> None:
        """Take the value of one row."""
        if isinstance(value, int | float):
            self._values.append(value)

    def finalize(self) -> str | None:
        """The answer, as JSON text."""
        if not self._values:
            return None
        self._values.sort()
        return f"[{','.join(repr(_interpolated(self._values, point)) for point in POINTS)}]"


def _interpolated(ordered: list[float], point: float) -> float:
    rank = point * (len(ordered) - 1)
    below = math.floor(rank)
    low, high = float(ordered[below]), float(ordered[math.ceil(rank)])
    return low + (high - low) * (rank - below)
