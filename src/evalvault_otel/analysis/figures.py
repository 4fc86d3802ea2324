"""Figures for people: rounding that is the same everywhere, times as text, numbers in words."""

from datetime import UTC, datetime, timedelta
from typing import Final, overload

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_NS: Final = 2**63 - 1
_SECOND_MS: Final = 1000.0
_MINUTE_MS: Final = 60_000.0
_HOUR_MS: Final = 3_600_000.0
# From here on digits after the point say nothing.
_WHOLE_FROM: Final = 10


@overload
def rounded(value: float) -> float: ...
@overload
def rounded(value: None) -> None: ...
def rounded(value: float | None) -> float | None:
    """Six significant digits: databases sum in different orders, so the digits after these differ by chance."""
    return None if value is None else float(f"{value:.6g}")


@overload
def iso(ns: int) -> str: ...
@overload
def iso(ns: None) -> None: ...
def iso(ns: int | None) -> str | None:
    """Nanoseconds since the epoch as ISO 8601 in UTC, with microseconds."""
    if ns is None:
        return None
    return (_EPOCH + timedelta(microseconds=ns // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@overload
def nanoseconds(moment: datetime) -> int: ...
@overload
def nanoseconds(moment: None) -> None: ...
def nanoseconds(moment: datetime | None) -> int | None:
    """A time in nanoseconds since the epoch, at most what a database holds; one without a zone is UTC."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    microseconds = (aware - _EPOCH) // timedelta(microseconds=1)
    return max(-_LATEST_NS, min(microseconds * 1000, _LATEST_NS))


def share(part: float, whole: float) -> float:
    """`part / whole`, or 0 of nothing."""
    return rounded(part / whole) if whole else 0.0


def percent(value: float) -> str:
    """A share as people say it: `0.6 %`, `38 %`."""
    points = value * 100
    return f"{points:.0f} %" if points >= _WHOLE_FROM or points == 0 else f"{points:.2g} %"


def duration(ms: float) -> str:
    """A time as people say it: `0.43 ms`, `218 ms`, `1.4 s`, `3.5 min`. Never `0.0 ms` for a time that passed."""
    if ms >= _HOUR_MS:
        return f"{ms / _HOUR_MS:.1f} h"
    if ms >= _MINUTE_MS:
        return f"{ms / _MINUTE_MS:.1f} min"
    if ms >= _SECOND_MS:
        return f"{ms / _SECOND_MS:.2g} s" if ms < _WHOLE_FROM * _SECOND_MS else f"{ms / _SECOND_MS:.0f} s"
    return f"{ms:.0f} ms" if ms >= _WHOLE_FROM else f"{ms:.2g} ms"


def number(value: float) -> str:
    """A score as people say it: three significant digits, whole numbers whole."""
    return f"{value:.0f}" if value == int(value) or abs(value) >= _SECOND_MS else f"{value:.3g}"


def count(n: int, noun: str, nouns: str | None = None) -> str:
    """`1 trace`, `40 traces`."""
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"
