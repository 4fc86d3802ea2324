"""OTLP requests as a sender makes them, protobuf and JSON, without the product's own encoders."""

import base64
import math
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from evalvault_otel.model import Attributes, Resource, Scope, Span, SpanEvent, SpanLink, Value


def otlp_message(spans: Iterable[Span]) -> ExportTraceServiceRequest:
    """The protobuf request with these spans, each in a group of its own."""
    request = ExportTraceServiceRequest()
    for item in spans:
        of_resource = request.resource_spans.add(schema_url=item.resource.schema_url)
        of_resource.resource.attributes.extend(_pairs(item.resource.attributes))
        of_resource.resource.dropped_attributes_count = item.resource.dropped_attributes
        of_scope = of_resource.scope_spans.add(schema_url=item.scope.schema_url)
        of_scope.scope.name, of_scope.scope.version = item.scope.name, item.scope.version
        of_scope.scope.attributes.extend(_pairs(item.scope.attributes))
        of_scope.scope.dropped_attributes_count = item.scope.dropped_attributes
        _fill(of_scope.spans.add(), item)
    return request


def _fill(message: Any, item: Span) -> None:
    message.trace_id, message.span_id = bytes.fromhex(item.trace_id), bytes.fromhex(item.span_id)
    message.parent_span_id, message.trace_state = bytes.fromhex(item.parent_span_id), item.trace_state
    message.flags, message.name, message.kind = item.flags, item.name, item.kind
    message.start_time_unix_nano, message.end_time_unix_nano = item.start_ns, item.end_ns
    message.attributes.extend(_pairs(item.attributes))
    message.dropped_attributes_count = item.dropped_attributes
    for event in item.events:
        added = message.events.add(time_unix_nano=event.time_ns, name=event.name)
        added.attributes.extend(_pairs(event.attributes))
        added.dropped_attributes_count = event.dropped_attributes
    message.dropped_events_count = item.dropped_events
    for link in item.links:
        ids = {"trace_id": bytes.fromhex(link.trace_id), "span_id": bytes.fromhex(link.span_id)}
        added = message.links.add(**ids, trace_state=link.trace_state, flags=link.flags)
        added.attributes.extend(_pairs(link.attributes))
        added.dropped_attributes_count = link.dropped_attributes
    message.dropped_links_count = item.dropped_links
    message.status.code, message.status.message = item.status_code, item.status_message


def _pairs(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any_value(value)) for key, value in attributes.items()]


def _any_value(value: Value) -> AnyValue:
    message = AnyValue()
    if isinstance(value, list):
        message.array_value.SetInParent()
        message.array_value.values.extend(map(_any_value, value))
    elif isinstance(value, dict):
        message.kvlist_value.SetInParent()
        message.kvlist_value.values.extend(_pairs(value))
    elif value is not None:
        setattr(message, _FIELDS[type(value)], value)
    return message


_FIELDS = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value", bytes: "bytes_value"}


def otlp_document(spans: Iterable[Span]) -> dict[str, Any]:
    """The OTLP/JSON request with these spans, each in a group of its own."""
    return {"resourceSpans": [_resource_document(item) for item in spans]}


def _resource_document(item: Span) -> dict[str, Any]:
    described = {**_attributes_document(item.resource), "droppedAttributesCount": item.resource.dropped_attributes}
    scope = {
        "name": item.scope.name,
        "version": item.scope.version,
        **_attributes_document(item.scope),
        "droppedAttributesCount": item.scope.dropped_attributes,
    }
    of_scope = {"scope": scope, "schemaUrl": item.scope.schema_url, "spans": [span_document(item)]}
    return {"resource": described, "schemaUrl": item.resource.schema_url, "scopeSpans": [of_scope]}


def span_document(item: Span) -> dict[str, Any]:
    """A span as OTLP/JSON."""
    return {
        "traceId": item.trace_id,
        "spanId": item.span_id,
        "parentSpanId": item.parent_span_id,
        "traceState": item.trace_state,
        "flags": item.flags,
        "name": item.name,
        "kind": item.kind,
        "startTimeUnixNano": str(item.start_ns),
        "endTimeUnixNano": str(item.end_ns),
        **_attributes_document(item),
        "droppedAttributesCount": item.dropped_attributes,
        "events": [
            {
                "timeUnixNano": str(event.time_ns),
                "name": event.name,
                **_attributes_document(event),
                "droppedAttributesCount": event.dropped_attributes,
            }
            for event in item.events
        ],
        "droppedEventsCount": item.dropped_events,
        "links": [
            {
                "traceId": link.trace_id,
                "spanId": link.span_id,
                "traceState": link.trace_state,
                "flags": link.flags,
                **_attributes_document(link),
                "droppedAttributesCount": link.dropped_attributes,
            }
            for link in item.links
        ],
        "droppedLinksCount": item.dropped_links,
        "status": {"code": item.status_code, "message": item.status_message},
    }


def _attributes_document(holder: Span | SpanEvent | SpanLink | Resource | Scope) -> dict[str, Any]:
    return {"attributes": _pair_documents(holder.attributes)}


def _pair_documents(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": value_document(value)} for key, value in attributes.items()]


def value_document(value: Value) -> dict[str, Any]:
    """A value as OTLP/JSON: 64-bit integers as text, bytes as base64, non-finite doubles by name."""
    if isinstance(value, list):
        return {"arrayValue": {"values": [value_document(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _pair_documents(value)}}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"doubleValue": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    names = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return {} if value is None else {names[type(value)]: str(value) if type(value) is int else value}
