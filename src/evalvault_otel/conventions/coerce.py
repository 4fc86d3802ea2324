"""Attribute values as the type that a field promises. A value that cannot be that type comes back as None."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from ..model import Value
from ..text import clean_text

Coerce = Callable[[Value], Value]

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no", ""})
# Larger JSON texts are payloads, not settings; parsing them at ingest would cost more than they tell.
_MAX_JSON = 64 * 1024
_TWO_63 = 1 << 63


def text(value: Value) -> str | None:
    """Text; numbers are written out."""
    if type(value) is str:
        return (value if value.isascii() and "\x00" not in value else clean_text(value)) or None
    if isinstance(value, bool) or value is None:
        return None
    return str(value) if isinstance(value, int | float) else None


def number(value: Value) -> float | int | None:
    """A finite number; numeric text is read, booleans are not numbers."""
    if type(value) is float or type(value) is int:  # what nearly all are
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if isinstance(value, float) and math.isfinite(value) else None


def integer(value: Value) -> int | None:
    """A whole number of at most 64 bits; 5.0 and "5" are 5 (Node sends 1.0 as an int and the reverse)."""
    found = value if type(value) is int else number(value)
    if found is None or found != int(found) or not -_TWO_63 <= found < _TWO_63:
        return None
    return int(found)


def boolean(value: Value) -> bool | None:
    """True or false; the texts "false", "0", "no" and "" are false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return None


def texts(value: Value) -> list[str | None] | None:
    """A list of texts, also from JSON text or a single value."""
    items = _items(value)
    return None if items is None else [text(item) for item in items]


def numbers(value: Value) -> list[float | int | None] | None:
    """A list of numbers; an item that is none becomes None and keeps its place."""
    items = _items(value)
    return None if items is None else [number(item) for item in items]


def citations(value: Value) -> Value:
    """Citations as a list or mapping; JSON text is read, other text stays one citation."""
    if isinstance(value, str) and value[:1] in "[{":
        return parse_json(value)
    return value


def anything(value: Value) -> Value:
    """The value as it is."""
    return value


def _items(value: Value) -> list[Value] | None:
    if isinstance(value, str):
        value = parse_json(value) if value[:1] == "[" else [value]
    if isinstance(value, int | float):
        value = [value]
    return list(value) if isinstance(value, list | tuple) else None


def parse_json(value: Value, largest: int = _MAX_JSON) -> Any:
    """JSON text as a value, or None for anything else (truncated, longer than `largest` characters, not text)."""
    if isinstance(value, str) and len(value) <= largest:
        try:
            return orjson.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, list | dict) else None


_QUESTION_DEPTH = 4
_QUESTION_KEYS = (
    *("query", "question", "input", "query_str", "query_bundle", "text", "prompt", "content", "value"),
    *("inputs", "kwargs", "args", "str_or_query_bundle"),
)


def question(value: Value) -> str | None:
    """The question in an input payload: the text itself, or what a JSON payload calls query, question or the like.

    Source: OpenInference `input.value`, whose JSON shape differs by framework.
    """
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        parsed = parse_json(value)
        return clean_text(value) if parsed is None else _question_in(parsed, 0) or clean_text(value)
    return text(value) if not isinstance(value, list | dict) else _question_in(value, 0)


def embedded(value: Value) -> str | None:
    """The text that an embedding call was given; None where a payload names several, or names it in no known way."""
    parsed = parse_json(value)
    return question(value) if not isinstance(parsed, list | dict) else _question_in(parsed, 0)


def _question_in(value: Any, depth: int) -> str | None:
    if depth > _QUESTION_DEPTH:
        return None
    if isinstance(value, str):
        return clean_text(value) or None
    if isinstance(value, list):
        return _question_in(value[-1], depth + 1) if value else None
    if isinstance(value, Mapping):
        for key in (*_QUESTION_KEYS, "messages"):
            found = _question_in(value[key], depth + 1) if key in value else None
            if found:
                return found
        if all(isinstance(inner, Mapping) for inner in value.values()):  # the input of each component of a pipeline
            return next(filter(None, (_question_in(inner, depth + 1) for inner in value.values())), None)
    return None
