"""OTLP values as JSON text and back, losing nothing (ADR 0002).

JSON says most of it: `1` is an int, `1.0` a double, `null` the empty value. What it cannot say is written as a map with
one key: `{"$bytes": base64}`, `{"$double": "NaN" | "Infinity" | "-Infinity"}`, `{"$text": base64 of UTF-8}` for text
with NUL (databases refuse it), and `{"$map": {…}}` around a map whose only key begins with `$`.
"""

import base64
import math
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson

from .model import Value
from .text import clean_text, without_surrogates

# The receivers take less than half of this; what a program hands over directly may be of any depth.
_MAX_DEPTH = 200
TOO_DEEP = "(nested too deeply)"


def dumps(value: Value) -> str:
    """JSON text of any OTLP value. The result holds no NUL, escaped or not, and is valid for every database."""
    try:
        text = orjson.dumps(value, default=_tag)
    except TypeError:  # a lone surrogate, or an int beyond 64 bits
        return orjson.dumps(_escape(value)).decode()
    # Only three things can be wrong with the fast result, and each leaves a mark in the text.
    # One byte is looked for much faster than several.
    odd = (b"$" in text and b'{"$' in text) or (b"\\" in text and b"\\u0000" in text) or b"null" in text
    return orjson.dumps(_escape(value)).decode() if odd else text.decode()


def content_id(content: Value) -> str:
    """An id for equal contents, 11 characters: 64 bits of a hash, enough for dictionaries of a few million rows."""
    return base64.urlsafe_b64encode(sha256(dumps(content).encode()).digest()[:8]).decode().rstrip("=")


def loads(text: str) -> Value:
    """The value that `dumps` wrote."""
    value = orjson.loads(text)
    return _unescape(value) if '{"$' in text else value


def plain_json(value: Value) -> str:
    """JSON for derived rows, where people query: no tags, but base64, names of non-finite numbers and no NUL."""
    try:
        text = orjson.dumps(value, default=_plain_default)
    except TypeError:
        return orjson.dumps(_plain(value)).decode()
    return orjson.dumps(_plain(value)).decode() if b"null" in text or b"\\u0000" in text else text.decode()


def _tag(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(f"not an OTLP value: {type(value).__name__}")


def _escape(value: Value, depth: int = 0) -> Value:
    if depth > _MAX_DEPTH:
        return TOO_DEEP
    match value:
        case float() if not math.isfinite(value):
            return {"$double": _non_finite_name(value)}
        case str():
            text = without_surrogates(value)
            return {"$text": base64.b64encode(text.encode()).decode()} if "\x00" in text else text
        case bytes():
            return _tag(value)
        case list() | tuple():
            return [_escape(item, depth + 1) for item in value]
        case dict():
            escaped = {clean_text(key): _escape(item, depth + 1) for key, item in value.items()}
            return {"$map": escaped} if len(escaped) == 1 and next(iter(escaped)).startswith("$") else escaped
        case int() if not isinstance(value, bool) and not -(2**63) <= value < 2**64:
            return str(value)
    return value


def _non_finite_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


_UNTAG: dict[str, Callable[[Any], Value]] = {
    "$bytes": base64.b64decode,
    "$double": float,
    "$text": lambda text: base64.b64decode(text).decode(),
    "$map": lambda inner: {key: _unescape(item) for key, item in inner.items()},
}


def _unescape(value: Value) -> Value:
    if isinstance(value, list):
        return [_unescape(item) for item in value]
    if isinstance(value, dict):
        if len(value) == 1:
            key, inner = next(iter(value.items()))
            if key in _UNTAG:
                return _UNTAG[key](inner)
        return {key: _unescape(item) for key, item in value.items()}
    return value


def _plain_default(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"not an OTLP value: {type(value).__name__}")


def _plain(value: Value, depth: int = 0) -> Value:
    if depth > _MAX_DEPTH:
        return TOO_DEEP
    match value:
        case float() if not math.isfinite(value):
            return _non_finite_name(value)
        case str():
            return clean_text(value)
        case bytes():
            return _plain_default(value)
        case list() | tuple():
            return [_plain(item, depth + 1) for item in value]
        case dict():
            return {clean_text(key): _plain(item, depth + 1) for key, item in value.items()}
        case int() if not isinstance(value, bool) and not -(2**63) <= value < 2**64:
            return str(value)
    return value
