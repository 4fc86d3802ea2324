"""`Span` records to OTLP/JSON: the writing half of `otlp_json`."""

import base64
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import orjson

from ..model import Attributes, Resource, Scope, Span, SpanEvent, SpanLink, Value


def encode(spans: Sequence[Span]) -> bytes:
    """A JSON `ExportTraceServiceRequest` with these spans, in their order, grouped by resource and scope."""
    groups = [_encode_resource(list(group)) for _, group in groupby(spans, key=lambda span: span.resource.id)]
    return orjson.dumps({"resourceSpans": groups})


def _encode_resource(spans: Sequence[Span]) -> dict[str, Any]:
    return {
        **resource_header(spans[0].resource),
        "scopeSpans": [_encode_scope(list(group)) for _, group in groupby(spans, key=lambda span: span.scope.id)],
    }


def _encode_scope(spans: Sequence[Span]) -> dict[str, Any]:
    return {**scope_header(spans[0].scope), "spans": [_encode_span(span) for span in spans]}


def resource_header(resource: Resource) -> dict[str, Any]:
    """What a group by resource says of itself."""
    said = {"attributes": pairs(resource.attributes), "droppedAttributesCount": resource.dropped_attributes}
    return {"resource": said, "schemaUrl": resource.schema_url}


def scope_header(scope: Scope) -> dict[str, Any]:
    """What a group by scope says of itself."""
    said = {
        "name": scope.name,
        "version": scope.version,
        "attributes": pairs(scope.attributes),
        "droppedAttributesCount": scope.dropped_attributes,
    }
    return {"scope": said, "schemaUrl": scope.schema_url}


def _encode_span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_span_id,
        "traceState": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": pairs(span.attributes),
        "droppedAttributesCount": span.dropped_attributes,
        "events": [_encode_event(event) for event in span.events],
        "droppedEventsCount": span.dropped_events,
        "links": [_encode_link(link) for link in span.links],
        "droppedLinksCount": span.dropped_links,
        "status": {"code": span.status_code, "message": span.status_message},
    }


def _encode_event(event: SpanEvent) -> dict[str, Any]:
    return {
        "timeUnixNano": str(event.time_ns),
        "name": event.name,
        "attributes": pairs(event.attributes),
        "droppedAttributesCount": event.dropped_attributes,
    }


def _encode_link(link: SpanLink) -> dict[str, Any]:
    return {
        "traceId": link.trace_id,
        "spanId": link.span_id,
        "traceState": link.trace_state,
        "attributes": pairs(link.attributes),
        "droppedAttributesCount": link.dropped_attributes,
        "flags": link.flags,
    }


def pairs(attributes: Attributes) -> list[dict[str, Any]]:
    """Attributes as a list of `KeyValue`."""
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


def any_value(value: Value) -> dict[str, Any]:
    """A value as an `AnyValue`; None is the empty one."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _non_finite(value)}
        case str():
            return {"stringValue": value}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case list():
            return {"arrayValue": {"values": [any_value(item) for item in value]}}
        case dict():
            return {"kvlistValue": {"values": pairs(value)}}
    return {}


def _non_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
