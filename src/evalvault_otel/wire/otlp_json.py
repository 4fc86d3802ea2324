"""OTLP/JSON <-> `Span`, as the specification has it rather than protobuf's own JSON mapping.

Ids are hex, 64-bit integers decimal strings (or numbers), enums integers, unknown fields ignored at every level.
Source: opentelemetry-proto, docs/specification.md, "JSON Protobuf Encoding".
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from ..errors import Undecodable
from ..model import Reject, Resource, Scope, Span, SpanEvent, SpanLink, Value
from ..text import without_surrogates
from . import Decoded, identity
from .otlp_json_encode import encode

__all__ = ["decode", "encode"]

_MAX_DEPTH = 64
_SHOWN = 60
_HEX = frozenset("0123456789abcdef")


def decode(data: bytes) -> Decoded:
    """The spans of a JSON `ExportTraceServiceRequest` or `TracesData`.

    Raises:
        Undecodable: not JSON, or not of that shape outside of a single span.
    """
    document = _parse(data)
    if not isinstance(document, dict):
        raise Undecodable('the body must be a JSON object with "resourceSpans"')
    decoded = Decoded([], [])
    for resource_spans in _objects(document, "resourceSpans"):
        _decode_resource(resource_spans, decoded)
    return decoded


def _parse(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        if b"\\u" not in data:
            raise Undecodable(f"not JSON: {exc}") from exc
    try:  # half of a surrogate pair, which the fast parser refuses: truncated text has it
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise Undecodable(f"not JSON: {exc}") from exc


def _decode_resource(resource_spans: Mapping[str, Any], decoded: Decoded) -> None:
    proto = _object(resource_spans, "resource")
    resource = identity.resource(
        _attributes(proto), _uint32(proto, "droppedAttributesCount"), _text(resource_spans, "schemaUrl")
    )
    for scope_spans in _objects(resource_spans, "scopeSpans"):
        scope = _decode_scope(_object(scope_spans, "scope"), _text(scope_spans, "schemaUrl"))
        for span in _objects(scope_spans, "spans"):
            _decode_span(span, resource, scope, decoded)


def _decode_scope(proto: Mapping[str, Any], schema_url: str) -> Scope:
    name, version = _text(proto, "name"), _text(proto, "version")
    return identity.scope(name, version, _attributes(proto), _uint32(proto, "droppedAttributesCount"), schema_url)


def _decode_span(proto: Mapping[str, Any], resource: Resource, scope: Scope, decoded: Decoded) -> None:
    """Add the span, or a reject: one bad span must not cost its neighbours."""
    try:
        trace_id, span_id = _hex(proto, "traceId"), _hex(proto, "spanId")
        reason = identity.invalid_ids(trace_id, span_id)
        if reason is None:
            decoded.spans.append(_span(proto, trace_id, span_id, resource, scope))
    except Undecodable as exc:
        reason = str(exc)
    if reason is not None:
        decoded.rejects.append(Reject(reason, _written(proto)))


def _written(proto: Mapping[str, Any]) -> bytes:
    """A refused span as it came, for a person to read."""
    try:
        return json.dumps(proto).encode()
    except RecursionError:
        return b'"a span nested too deeply to be written"'


def _span(proto: Mapping[str, Any], trace_id: str, span_id: str, resource: Resource, scope: Scope) -> Span:
    status = _object(proto, "status")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=_hex(proto, "parentSpanId"),
        name=_text(proto, "name"),
        kind=_enum(proto, "kind"),
        start_ns=_uint64(proto, "startTimeUnixNano"),
        end_ns=_uint64(proto, "endTimeUnixNano"),
        status_code=_enum(status, "code"),
        status_message=_text(status, "message"),
        attributes=_attributes(proto),
        events=tuple(_event(event) for event in _objects(proto, "events")),
        links=tuple(_link(link) for link in _objects(proto, "links")),
        dropped_attributes=_uint32(proto, "droppedAttributesCount"),
        dropped_events=_uint32(proto, "droppedEventsCount"),
        dropped_links=_uint32(proto, "droppedLinksCount"),
        flags=_uint32(proto, "flags"),
        trace_state=_text(proto, "traceState"),
        resource=resource,
        scope=scope,
    )


def _event(proto: Mapping[str, Any]) -> SpanEvent:
    time_ns, dropped = _uint64(proto, "timeUnixNano"), _uint32(proto, "droppedAttributesCount")
    return SpanEvent(time_ns, _text(proto, "name"), _attributes(proto), dropped)


def _link(proto: Mapping[str, Any]) -> SpanLink:
    return SpanLink(
        _hex(proto, "traceId"),
        _hex(proto, "spanId"),
        _text(proto, "traceState"),
        _attributes(proto),
        _uint32(proto, "droppedAttributesCount"),
        _uint32(proto, "flags"),
    )


def _attributes(proto: Mapping[str, Any], field: str = "attributes", depth: int = 0) -> dict[str, Value]:
    return {_text(pair, "key"): _value(pair.get("value"), depth) for pair in _objects(proto, field)}


def _value(proto: Any, depth: int) -> Value:
    if depth > _MAX_DEPTH:
        raise Undecodable(f"an attribute value is nested deeper than {_MAX_DEPTH} levels")
    if proto is None:
        return None
    if not isinstance(proto, dict):
        raise Undecodable(f'an attribute value must be an object such as {{"stringValue": "…"}}, not {_short(proto)}')
    for field, read in _READ.items():
        if proto.get(field) is not None:
            return read(proto, field, depth)
    return None


_READ: dict[str, Callable[[Mapping[str, Any], str, int], Value]] = {
    "stringValue": lambda proto, field, _: _text(proto, field),
    "boolValue": lambda proto, field, _: _bool(proto[field]),
    "intValue": lambda proto, field, _: _in_range(proto, field, -(2**63), 2**63),
    "doubleValue": lambda proto, field, _: _double(proto[field]),
    "arrayValue": lambda proto, field, depth: [
        _value(item, depth + 1) for item in _list(_object(proto, field), "values")
    ],
    "kvlistValue": lambda proto, field, depth: _attributes(_object(proto, field), "values", depth + 1),
    "bytesValue": lambda proto, field, _: _bytes(proto[field]),
}


def _object(proto: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = proto.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Undecodable(f"{field} must be an object, not {_short(value)}")
    return value


def _list(proto: Mapping[str, Any], field: str) -> list[Any]:
    value = proto.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Undecodable(f"{field} must be an array, not {_short(value)}")
    return value


def _objects(proto: Mapping[str, Any], field: str) -> Iterable[Mapping[str, Any]]:
    for item in _list(proto, field):
        if not isinstance(item, dict):
            raise Undecodable(f"{field} must hold objects, not {_short(item)}")
        yield item


def _text(proto: Mapping[str, Any], field: str) -> str:
    value = proto.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Undecodable(f"{field} must be text, not {_short(value)}")
    return value if value.isascii() else without_surrogates(value)


def _hex(proto: Mapping[str, Any], field: str) -> str:
    value = _text(proto, field).lower()
    if not _HEX.issuperset(value) or len(value) % 2:
        raise Undecodable(f"{field} must be hex digits, not {_short(value)}")
    return value


def _enum(proto: Mapping[str, Any], field: str) -> int:
    return _in_range(proto, field, -(2**31), 2**31)


def _uint32(proto: Mapping[str, Any], field: str) -> int:
    return _in_range(proto, field, 0, 2**32)


def _uint64(proto: Mapping[str, Any], field: str) -> int:
    return _in_range(proto, field, 0, 2**64)


def _in_range(proto: Mapping[str, Any], field: str, low: int, high: int) -> int:
    """An integer given as a number, a decimal string or a whole float; absent is 0."""
    value = proto.get(field)
    if value is None:
        return 0
    try:
        number = int(value)
        whole = not isinstance(value, bool) and (not isinstance(value, float) or value == number)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or not low <= number < high:
        raise Undecodable(f"{field} must be an integer in range, not {_short(value)}")
    return number


def _double(value: Any) -> float:
    problem = f"doubleValue must be a number, not {_short(value)}"
    if isinstance(value, bool):
        raise Undecodable(problem)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise Undecodable(problem) from exc


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Undecodable(f"boolValue must be true or false, not {_short(value)}")
    return value


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError) as exc:
        raise Undecodable(f"bytesValue must be base64, not {_short(value)}") from exc


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
