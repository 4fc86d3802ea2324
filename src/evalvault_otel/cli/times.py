"""Times and durations as people type them."""

import re
from datetime import datetime
from typing import Final

from ..analysis.figures import nanoseconds
from ..errors import InvalidInput

_SECOND_NS: Final = 1_000_000_000
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)


def duration_ns(text: str) -> int:
    """`90m`, `12h`, `30d` in nanoseconds.

    Raises:
        InvalidInput: it is not of that form.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise InvalidInput(f"{text!r} is not a duration: use a number with s, m, h, d or w, as in 90m, 12h or 30d")
    return int(found[1]) * _UNITS[found[2]] * _SECOND_NS


def time_ns(text: str) -> int:
    """A date or a time (ISO 8601, UTC unless it says otherwise) in nanoseconds since the epoch.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return nanoseconds(datetime.fromisoformat(text.strip()))
    except ValueError as exc:
        raise InvalidInput(f"{text!r} is not a date or time: use 2026-01-31 or 2026-01-31T12:00:00Z") from exc


def ago_ns(text: str, now_ns: int) -> int:
    """The time that is a duration before now; never before the epoch.

    Raises:
        InvalidInput: it is not a duration.
    """
    return max(0, now_ns - duration_ns(text))


def since_ns(text: str, now_ns: int) -> int:
    """A time given as itself or as how long ago it was.

    Raises:
        InvalidInput: it is neither.
    """
    if _DURATION.fullmatch(text.strip().lower()):
        return ago_ns(text, now_ns)
    try:
        return time_ns(text)
    except InvalidInput as exc:
        raise InvalidInput(
            f"{text!r} is not a time: use 2026-01-31, 2026-01-31T12:00:00Z, or 90m for 90 minutes ago"
        ) from exc
