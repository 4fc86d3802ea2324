"""How sure a difference of two samples is: bootstrap intervals, and a probability for the correction of many tests.

Means are resampled over at most 40 groups of units (a group's mean stands for its units): the spread of a mean is the
same, and 10,000 resamples of a few dozen numbers take milliseconds. The 95th percentile is resampled without drawing
samples: of n sorted values the percentile of a resample is the one at a place that follows a beta distribution.

Sources: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16; B. L. Welch,
Biometrika 34 (1947); S. Holm, Scandinavian Journal of Statistics 6 (1979).
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any, Final

from .intervals import LEVEL

RESAMPLES: Final = 10_000
FEWEST: Final = 5
FEWEST_FOR_TAIL: Final = 40
_SEED: Final = 20_260_101
_GROUPS: Final = 40
_TAIL_SHARE: Final = 0.95
_CERTAIN: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two samples: its interval, and how probable it is by chance (of one test alone)."""

    before: float
    after: float
    low: float
    high: float
    probability: float


def of_means(before: Sequence[float], after: Sequence[float]) -> Difference | None:
    """The difference of two means of independent units; None below five on either side."""
    if min(len(before), len(after)) < FEWEST:
        return None
    one, other = _mean(before), _mean(after)
    old, new = (_resampled_means(_grouped(values), which) for which, values in enumerate((before, after)))
    low, high = _bounds([b - a for a, b in zip(old, new, strict=True)])
    parts = [_variance(values) / len(values) for values in (before, after)]
    freedom = _freedom(parts, (len(before), len(after)))
    return Difference(one, other, low, high, _probability(other - one, math.sqrt(sum(parts)), freedom))


def of_pairs(before: Sequence[float], after: Sequence[float]) -> Difference | None:
    """The mean difference of units that are the same on both sides, in the same order; None below five."""
    if len(before) < FEWEST:
        return None
    differences = [new - old for old, new in zip(before, after, strict=True)]
    low, high = _bounds(_resampled_means(_grouped(differences), 0))
    spread = math.sqrt(_variance(differences) / len(differences))
    probability = _probability(_mean(differences), spread, len(differences) - 1.0)
    return Difference(_mean(before), _mean(after), low, high, probability)


def of_tails(before: Sequence[float], after: Sequence[float]) -> Difference | None:
    """The difference of the 95th percentiles of independent units; None below 40 on either side."""
    if min(len(before), len(after)) < FEWEST_FOR_TAIL:
        return None
    old, new = sorted(before), sorted(after)
    draws = [_resampled_tails(values, which) for which, values in enumerate((old, new))]
    differences = sorted(b - a for a, b in zip(*draws, strict=True))
    low, high = _bounds(differences)
    below = sum(one <= 0 for one in differences)
    above = sum(one >= 0 for one in differences)
    probability = min(1.0, 2 * (min(below, above) + 1) / (RESAMPLES + 1))
    return Difference(_tail(old), _tail(new), low, high, probability)


def holm(probabilities: Mapping[str, float], level: float = 1 - LEVEL) -> set[str]:
    """The names whose difference holds although many were looked at: all together are wrong in `level` of all cases."""
    kept: set[str] = set()
    ranked = sorted(probabilities.items(), key=itemgetter(1, 0))
    for place, (name, probability) in enumerate(ranked):
        if probability > level / (len(ranked) - place):
            break
        kept.add(name)
    return kept


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _grouped(values: Sequence[float]) -> list[float]:
    """Means of at most 40 groups of equal size; what is left of a division goes to the first groups."""
    if len(values) <= _GROUPS:
        return list(values)
    return [_mean(values[start::_GROUPS]) for start in range(_GROUPS)]


@cache
def _draws(size: int, which: int) -> tuple[Callable[[Sequence[float]], Any], ...]:
    """10,000 choices of `size` out of `size`, the same at each call; both sides of a comparison have their own."""
    chooser = random.Random(_SEED + 1000 * which + size)  # noqa: S311 - the same for the same data is what is wanted
    places = range(size)
    return tuple(itemgetter(*chooser.choices(places, k=size)) for _ in range(RESAMPLES))


def _resampled_means(values: Sequence[float], which: int) -> list[float]:
    size = len(values)
    mean = _mean(values)
    # A few values vary less among themselves than what they were drawn from.
    wider = math.sqrt(size / (size - 1))
    return [mean + wider * (sum(draw(values)) / size - mean) for draw in _draws(size, which)]


def _resampled_tails(values: Sequence[float], which: int) -> list[float]:
    chooser = random.Random(_SEED + which)  # noqa: S311 - the same for the same data is what is wanted
    size = len(values)
    place = math.ceil(_TAIL_SHARE * size)
    drawn = (chooser.betavariate(place, size + 1 - place) for _ in range(RESAMPLES))
    return [values[min(size - 1, int(share * size))] for share in drawn]


def _tail(values: Sequence[float]) -> float:
    return values[math.ceil(_TAIL_SHARE * len(values)) - 1]


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    ranked = sorted(values)
    cut = round((1 - LEVEL) / 2 * len(ranked))
    return ranked[cut], ranked[-1 - cut]


def _freedom(parts: Sequence[float], counts: Sequence[int]) -> float:
    """Degrees of freedom of Welch and Satterthwaite."""
    squared = sum(parts)
    if not squared:
        return 1.0
    return squared**2 / sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))


def _probability(difference: float, spread: float, freedom: float) -> float:
    """How probable a difference so far from zero is, on both sides, where there is none: Student's t."""
    if spread <= _CERTAIN * abs(difference):
        return 1.0 if difference == 0 else 0.0
    t2 = (difference / spread) ** 2
    return _incomplete_beta(freedom / (freedom + t2), freedom / 2, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x > (a + 1) / (a + b + 2):
        return 1 - front * _fraction(1 - x, b, a) / b
    return front * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float, terms: int = 300) -> float:
    """The continued fraction, by the method of Lentz."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d or tiny)
    value = d
    for m in range(1, terms):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            value *= c * d
        if abs(c * d - 1) < _CERTAIN:
            break
    return value
