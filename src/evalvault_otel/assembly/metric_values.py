"""Attribute values as numbers, truths and lists. What cannot be read raises, and the message says what was there."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

FALSE_TEXTS: Final = frozenset({"false", "0", "no", "off", "none", ""})
_TRUE_TEXTS: Final = frozenset({"true", "1", "yes", "on"})
_SHOWN_CHARACTERS: Final = 60


class BadValueError(ValueError):
    """A value cannot be used; the message completes the sentence `retrieval: …`."""


def items(value: Any) -> Sequence[Any]:
    """A list as it is, a set sorted (it has no order of its own), one thing as a list of it, nothing as no items."""
    if isinstance(value, list | tuple):
        return value
    if value is None:
        return ()
    return sorted(value, key=str) if isinstance(value, set | frozenset) else (value,)


def text(value: Any) -> str:
    """The value as text, as ids are compared."""
    return value if type(value) is str else str(value)


def numbers(values: Sequence[Any]) -> list[float]:
    """All values as finite numbers; no numbers when every value is missing.

    Raises:
        BadValueError: some are missing, or one is not a number.
    """
    missing = sum(value is None for value in values)
    if missing == len(values):
        return []
    if missing:
        raise BadValueError(f"{missing} of {len(values)} scores are missing")
    # x - x is 0 for finite numbers only: the usual list of floats costs no call per item.
    return [value if type(value) is float and value - value == 0 else number(value, "scores") for value in values]


def number(value: Any, what: str) -> float:
    """A finite number; numeric text counts as one, a bool does not.

    Raises:
        BadValueError: it is no number, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadValueError(f"{what} holds {_shown(value)}, which is not a number")
    try:
        return finite(float(value), what)
    except (ValueError, OverflowError) as exc:
        if isinstance(exc, BadValueError):
            raise
        raise BadValueError(f"{what} holds {_shown(value)}, which is not a number") from exc


def finite(value: float, what: str) -> float:
    """The number itself.

    Raises:
        BadValueError: it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise BadValueError(f"{what} is {value}, which cannot be compared")
    return value


def amount(value: Any, what: str) -> float:
    """A number that counts something.

    Raises:
        BadValueError: it is no number, or negative.
    """
    counted = number(value, what)
    if counted < 0:
        raise BadValueError(f"{what} is {_shown(value)}, which is less than nothing")
    return counted


def count(attributes: Mapping[str, Any], key: str, list_key: str) -> float | None:
    """The count an attribute states, else the length of a list attribute, else None.

    Raises:
        BadValueError: the stated count is no number, or negative.
    """
    value = attributes.get(key)
    if value is not None:
        return amount(value, key)
    listed = attributes.get(list_key)
    return None if listed is None else float(len(items(listed)))


def truth(value: Any, what: str) -> float:
    """1.0 or 0.0; the texts "false", "0" and "no" are false.

    Raises:
        BadValueError: it can be read neither way.
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE_TEXTS or word in FALSE_TEXTS:
            return 1.0 if word in _TRUE_TEXTS else 0.0
    elif isinstance(value, int | float):
        return 1.0 if number(int(value) if isinstance(value, bool) else value, what) else 0.0
    raise BadValueError(f"{what} holds {_shown(value)}, which is neither true nor false")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 3] + "..."
