"""How much memory an ended span takes, about: enough to keep a bound, cheap enough for the program's own thread."""

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

# Measured with tracemalloc on CPython 3.11 and SDK 1.45: a span without attributes, an attribute, an event or link.
_SPAN: Final = 2200
_ATTRIBUTE: Final = 120
_EVENT: Final = 900
_MAX_DEPTH: Final = 20


def size_of(span: ReadableSpan) -> int:
    """Bytes of memory that the span keeps alive, estimated; texts are counted as they are stored."""
    size = _SPAN + _of_attributes(span.attributes)
    for event in span.events:
        size += _EVENT + _of_attributes(event.attributes)
    for link in span.links:
        size += _EVENT + _of_attributes(link.attributes)
    return size


def _of_attributes(attributes: Any) -> int:
    if not attributes:
        return 0
    size = _ATTRIBUTE * len(attributes)
    for value in attributes.values():
        if type(value) is str:
            size += value.__sizeof__()
        elif type(value) is tuple or isinstance(value, Mapping | bytes):
            size += _of_container(value, 0)
    return size


def _of_container(value: Any, depth: int) -> int:
    """Sequences, maps and bytes; what is nested deeper than anything real counts as nothing."""
    if isinstance(value, str | bytes):
        return value.__sizeof__()
    if depth > _MAX_DEPTH:
        return 0
    if isinstance(value, Mapping):
        return sum(_ATTRIBUTE + _of_container(inner, depth + 1) for inner in value.values())
    if isinstance(value, tuple | list):
        return sum(16 + _of_container(inner, depth + 1) for inner in value)
    return 32
