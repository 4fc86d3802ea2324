"""Confidence intervals of differences, from counts, means and variances alone.

Means: Welch's interval (B. L. Welch, Biometrika 34, 1947), with Student's t at the degrees of freedom of Welch and
Satterthwaite. Shares: Newcombe's hybrid score interval (R. G. Newcombe, Statistics in Medicine 17, 1998, method 10).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

LEVEL: Final = 0.95
_TAIL: Final = (1 + LEVEL) / 2
_Z: Final = NormalDist().inv_cdf(_TAIL)


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of some scores. `variance` is that of these scores themselves (divided by their number)."""

    count: int
    mean: float
    variance: float


def welch(before: Sample, after: Sample) -> tuple[float, float] | None:
    """The interval of `after.mean - before.mean`; None where either has fewer than two scores."""
    if min(before.count, after.count) < 2:  # noqa: PLR2004 - one score has no spread
        return None
    # Of a sample, the variance of what it was drawn from is larger by n / (n - 1).
    parts = [sample.variance / (sample.count - 1) for sample in (before, after)]
    difference, squared = after.mean - before.mean, sum(parts)
    if not squared:
        return difference, difference
    freedom = squared**2 / sum(p**2 / (s.count - 1) for p, s in zip(parts, (before, after), strict=True))
    reach = student_t(freedom) * math.sqrt(squared)
    return difference - reach, difference + reach


def student_t(freedom: float) -> float:
    """The 97.5 % point of Student's t: to half a percent from 1 to 3 degrees of freedom, to 1e-5 beyond.

    Source: G. W. Hill, Communications of the ACM 13 (1970), algorithm 396; exact for 1 and 2.
    """
    tail = 2 * (1 - _TAIL)
    n = max(freedom, 1.0)
    if n < _FEW:
        return _between(n, tail)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * tail) ** (2 / n)
    if y > 0.05 + a:
        x = -_Z
        y = x**2
        c += 0.3 * (n - 4.5) * (x + 0.6) if n < 5 else 0.0  # noqa: PLR2004 - the algorithm's own bound
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y**2)
    else:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (
            n + 2
        ) + 1 / y
    return math.sqrt(n * y)


_FEW: Final = 2.0


def _between(n: float, tail: float) -> float:
    """From 1 to 2 degrees of freedom, where the algorithm is rough: between the two exact points."""
    one = 1 / math.tan(math.pi * tail / 2)
    two = math.sqrt(2 / (tail * (2 - tail)) - 2)
    return math.exp(math.log(one) + (n - 1) * (math.log(two) - math.log(one)))


def newcombe(before: tuple[int, int], after: tuple[int, int]) -> tuple[float, float] | None:
    """The interval of the difference of two shares, each given as (how many, of how many); None of nothing."""
    if not (before[1] and after[1]):
        return None
    (low_1, high_1), (low_2, high_2) = wilson(*before), wilson(*after)
    old, new = before[0] / before[1], after[0] / after[1]
    difference = new - old
    return (
        difference - math.hypot(new - low_2, high_1 - old),
        difference + math.hypot(high_2 - new, old - low_1),
    )


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Wilson's score interval of a share (E. B. Wilson, JASA 22, 1927)."""
    rate, z2 = part / whole, _Z**2
    centre, reach = rate + z2 / (2 * whole), _Z * math.sqrt(rate * (1 - rate) / whole + z2 / (4 * whole**2))
    return max(0.0, (centre - reach) / (1 + z2 / whole)), min(1.0, (centre + reach) / (1 + z2 / whole))
