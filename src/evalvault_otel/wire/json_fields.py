"""Fields of OTLP/JSON objects, each checked: ids in hex, 64-bit integers as text or numbers, enums as integers.

Every function takes the object and the name of the field; absent and null are protobuf's default.
Source: opentelemetry-proto, docs/specification.md, "JSON Protobuf Encoding".
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..errors import Undecodable
from ..model import Resource, Scope, Value
from ..values import TOO_DEEP
from . import identity

Proto = Mapping[str, Any]

# As deep as protobuf's own parser takes it, so that whatever is kept can be written as protobuf: messages in messages,
# of which an array brings two and a map three.
_MAX_DEPTH: Final = 95
_DEEPER: Final = {"arrayValue": 2, "kvlistValue": 3}
# Arrays and objects, of which a value has up to four a level.
_MAX_LEVELS: Final = 300
_SHOWN: Final = 60
_HEX: Final = frozenset("0123456789abcdef")
_STANDARD_BASE64: Final = str.maketrans("-_", "+/")


class TooDeep(Undecodable):
    """A value is nested too deeply; `flatten` helps."""


def read_resource(group: Proto) -> Resource:
    """The resource of a group of spans or log records."""
    proto = nested(group, "resource")
    return identity.resource(attributes(proto), uint32(proto, "droppedAttributesCount"), text(group, "schemaUrl"))


def read_scope(group: Proto) -> Scope:
    """The instrumentation scope of a group of spans or log records."""
    proto = nested(group, "scope")
    name, version, dropped = text(proto, "name"), text(proto, "version"), uint32(proto, "droppedAttributesCount")
    return identity.scope(name, version, attributes(proto), dropped, text(group, "schemaUrl"))


def attributes(proto: Proto, field: str = "attributes", depth: int = 0) -> dict[str, Value]:
    """Attributes as a dict; of a key given twice the last value wins."""
    found: dict[str, Value] = {}
    for pair in objects(proto, field):
        said, key = pair.get("value"), pair.get("key")
        # Text is by far the most frequent.
        value = said.get("stringValue") if type(said) is dict else None
        if type(value) is str and type(key) is str:
            found[key] = value
        else:
            found[text(pair, "key")] = any_value(said, depth)
    return found


def any_value(proto: Any, depth: int = 0) -> Value:
    """A value of any form; an unknown form and none at all are the empty value.

    Raises:
        TooDeep: it is nested too deeply.
    """
    if depth > _MAX_DEPTH:
        raise TooDeep("an attribute value is nested deeper than protobuf takes it")
    if proto is None:
        return None
    if not isinstance(proto, dict):
        raise Undecodable(f'an attribute value must be an object such as {{"stringValue": "…"}}, not {short(proto)}')
    for field, read in _READ.items():
        if proto.get(field) is not None:
            return read(proto, field, depth)
    return None


_READ: dict[str, Callable[[Proto, str, int], Value]] = {
    "stringValue": lambda proto, field, _: text(proto, field),
    "boolValue": lambda proto, field, _: _bool(proto[field]),
    "intValue": lambda proto, field, _: _integer(proto, field),
    "doubleValue": lambda proto, field, _: _double(proto[field]),
    "arrayValue": lambda proto, field, depth: [
        any_value(item, depth + _DEEPER[field]) for item in _list(nested(proto, field), "values")
    ],
    "kvlistValue": lambda proto, field, depth: attributes(nested(proto, field), "values", depth + _DEEPER[field]),
    "bytesValue": lambda proto, field, _: _bytes(proto[field]),
}


def flatten(node: Any, depth: int = 0, levels: int = 0) -> int:
    """Replace values nested too deeply, in place, by a text that says so; how many these were."""
    if not isinstance(node, (dict, list)):
        return 0
    if levels == _MAX_LEVELS:  # no value is as deep as that
        node.clear()
        return 1
    if isinstance(node, dict) and not node.keys().isdisjoint(_DEEPER):
        depth += max(_DEEPER[field] for field in node.keys() & _DEEPER.keys())
        if depth > _MAX_DEPTH:
            node.clear()
            node["stringValue"] = TOO_DEEP
            return 1
    replaced = 0
    for item in node.values() if isinstance(node, dict) else node:
        replaced += flatten(item, depth, levels + 1)
    return replaced


def nested(proto: Proto, field: str) -> Proto:
    """A message in a message."""
    value = proto.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Undecodable(f"{field} must be an object, not {short(value)}")
    return value


def objects(proto: Proto, field: str) -> Sequence[Proto]:
    """A list of messages."""
    found = _list(proto, field)
    for item in found:
        if not isinstance(item, dict):
            raise Undecodable(f"{field} must hold objects, not {short(item)}")
    return found


def _list(proto: Proto, field: str) -> Sequence[Any]:
    value = proto.get(field)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Undecodable(f"{field} must be an array, not {short(value)}")
    return value


def text(proto: Proto, field: str) -> str:
    """A text."""
    value = proto.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Undecodable(f"{field} must be text, not {short(value)}")
    return value


def hex_id(proto: Proto, field: str) -> str:
    """An id in lower-case hex digits, of any length."""
    value = text(proto, field).lower()
    if not _HEX.issuperset(value) or len(value) % 2:
        raise Undecodable(f"{field} must be hex digits, not {short(value)}")
    return value


def enum(proto: Proto, field: str) -> int:
    """An enum, by number, also one that is not known."""
    return _in_range(proto, field, -(2**31), 2**31)


def uint32(proto: Proto, field: str) -> int:
    """A count or flags."""
    return _in_range(proto, field, 0, 2**32)


def uint64(proto: Proto, field: str) -> int:
    """A time in nanoseconds."""
    return _in_range(proto, field, 0, 2**64)


def _in_range(proto: Proto, field: str, low: int, high: int) -> int:
    """An integer given as a number, a decimal string or a whole float; absent is 0."""
    value = proto.get(field)
    if value is None:
        return 0
    if type(value) is int and low <= value < high:  # most of them
        return value
    try:
        number = int(value)
        whole = not isinstance(value, bool) and (not isinstance(value, float) or value == number)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or not low <= number < high:
        raise Undecodable(f"{field} must be an integer in range, not {short(value)}")
    return number


def _integer(proto: Proto, field: str) -> int | float:
    """An integer; a JSON number (not a text) beyond 64 bits is a double.

    JavaScript has one kind of number, and its exporter calls every whole one an integer.
    """
    value = proto[field]
    if isinstance(value, int | float) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return _double(value)
    return _in_range(proto, field, -(2**63), 2**63)


def _double(value: Any) -> float:
    problem = f"doubleValue must be a number, not {short(value)}"
    if isinstance(value, bool):
        raise Undecodable(problem)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise Undecodable(problem) from exc


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Undecodable(f"boolValue must be true or false, not {short(value)}")
    return value


def _bytes(value: Any) -> bytes:
    """Base64 with either alphabet, with or without padding, as protobuf's JSON mapping allows."""
    try:
        standard = value.translate(_STANDARD_BASE64)
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (AttributeError, ValueError) as exc:
        raise Undecodable(f"bytesValue must be base64, not {short(value)}") from exc


def short(value: Any) -> str:
    """A value for a message. Arrays and objects are only named: they may be large."""
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "an object"
    shown = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
