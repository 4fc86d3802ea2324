"""OTLP protobuf <-> `Span`. Written for speed: this runs once for every span received.

Source: opentelemetry-proto, trace.proto and common.proto (OTLP 1.11).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from itertools import groupby
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceProto
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanProto

from ..model import Attributes, Resource, Scope, Span, SpanEvent, SpanLink, Value
from . import Decoded, identity
from .fields import with_length
from .gathering import Gathering
from .salvage import GROUPS, MEMBERS, salvage


def decode(data: bytes) -> Decoded:
    """The spans of an `ExportTraceServiceRequest` (equal on the wire to `TracesData`).

    Raises:
        Undecodable: the bytes are not that message, and no span in them can be read.
    """
    gathering = Gathering("traces")
    try:
        request = ExportTraceServiceRequest.FromString(data)
    except DecodeError:
        request = salvage(data, ExportTraceServiceRequest, gathering)
    for resource_spans in request.resource_spans:
        resource: Resource | None = None
        for scope_spans in resource_spans.scope_spans:
            scope: Scope | None = None
            for span in scope_spans.spans:
                trace_id, span_id = span.trace_id.hex(), span.span_id.hex()
                reason = identity.invalid_ids(trace_id, span_id)
                if reason is not None:
                    gathering.reject(reason, partial(_alone, resource_spans, scope_spans, span), "protobuf")
                    continue
                if scope is None or resource is None:  # read only when needed: a request may be millions of empty ones
                    resource = resource or read_resource(resource_spans)
                    scope = read_scope(scope_spans)
                gathering.spans.append(_span(span, trace_id, span_id, resource, scope))
    return gathering.decoded()


def _alone(resource_spans: ResourceSpans, scope_spans: ScopeSpans, span: SpanProto) -> bytes:
    """A request with this one span."""
    of_scope = ScopeSpans(scope=scope_spans.scope, schema_url=scope_spans.schema_url)
    of_resource = ResourceSpans(resource=resource_spans.resource, schema_url=resource_spans.schema_url)
    return with_length(GROUPS, in_envelope(of_resource, [in_envelope(of_scope, [span.SerializeToString()])]))


def _span(span: SpanProto, trace_id: str, span_id: str, resource: Resource, scope: Scope) -> Span:
    status = span.status
    events, links = span.events, span.links
    return Span(
        trace_id,
        span_id,
        span.parent_span_id.hex(),
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        status.code,
        status.message,
        read_attributes(span.attributes),
        tuple([_event(event) for event in events]) if events else (),
        tuple([_link(link) for link in links]) if links else (),
        span.dropped_attributes_count,
        span.dropped_events_count,
        span.dropped_links_count,
        span.flags,
        span.trace_state,
        resource,
        scope,
    )


def read_resource(group: ResourceSpans | ResourceLogs) -> Resource:
    """The resource of a group of spans or log records."""
    proto = group.resource
    return identity.resource(read_attributes(proto.attributes), proto.dropped_attributes_count, group.schema_url)


def read_scope(group: ScopeSpans | ScopeLogs) -> Scope:
    """The instrumentation scope of a group of spans or log records."""
    scope = group.scope
    attributes = read_attributes(scope.attributes)
    return identity.scope(scope.name, scope.version, attributes, scope.dropped_attributes_count, group.schema_url)


def _event(event: SpanProto.Event) -> SpanEvent:
    time_ns = event.time_unix_nano
    event.ClearField("time_unix_nano")
    content = event.SerializeToString()
    if len(content) > _MAX_KNOWN:
        return SpanEvent(time_ns, event.name, read_attributes(event.attributes), event.dropped_attributes_count)
    return SpanEvent(time_ns, *_known_event(content))


_MAX_KNOWN = 1024


# The same few assets are used all the time, and all that differs between the events that say so is the time.
@lru_cache(maxsize=4096)
def _known_event(content: bytes) -> tuple[str, Attributes, int]:
    event = SpanProto.Event.FromString(content)
    return event.name, read_attributes(event.attributes), event.dropped_attributes_count


def _link(link: SpanProto.Link) -> SpanLink:
    return SpanLink(
        link.trace_id.hex(),
        link.span_id.hex(),
        link.trace_state,
        read_attributes(link.attributes),
        link.dropped_attributes_count,
        link.flags,
    )


def read_attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    """Attributes as a dict; of a key given twice the last value wins."""
    attributes: dict[str, Value] = {}
    for pair in pairs:
        value = pair.value
        # Text is by far the most frequent, and only a value that is text has any.
        attributes[pair.key] = value.string_value or _READ[value.WhichOneof("value")](value)
    return attributes


def read_value(value: AnyValue) -> Value:
    """A value of any form."""
    return _READ[value.WhichOneof("value")](value)


_READ: dict[str | None, Callable[[AnyValue], Value]] = {
    "string_value": lambda value: value.string_value,
    "bool_value": lambda value: value.bool_value,
    "int_value": lambda value: value.int_value,
    "double_value": lambda value: value.double_value,
    "bytes_value": lambda value: value.bytes_value,
    "array_value": lambda value: [_READ[item.WhichOneof("value")](item) for item in value.array_value.values],
    "kvlist_value": lambda value: read_attributes(value.kvlist_value.values),
    # A string table index is for profiles only; elsewhere it counts as absent (common.proto).
    "string_value_strindex": lambda _: None,
    None: lambda _: None,
}


def encode(spans: Sequence[Span]) -> bytes:
    """An `ExportTraceServiceRequest` with these spans, in their order, grouped by resource and scope."""
    groups = (list(group) for _, group in groupby(spans, key=lambda span: span.resource.id))
    return b"".join(with_length(GROUPS, _encode_resource(group)) for group in groups)


def _encode_resource(spans: Sequence[Span]) -> bytes:
    resource = spans[0].resource
    groups = (list(group) for _, group in groupby(spans, key=lambda span: span.scope.id))
    envelope = ResourceSpans(resource=write_resource(resource), schema_url=resource.schema_url)
    return in_envelope(envelope, map(_encode_scope, groups))


def _encode_scope(spans: Sequence[Span]) -> bytes:
    scope = spans[0].scope
    envelope = ScopeSpans(scope=write_scope(scope), schema_url=scope.schema_url)
    return in_envelope(envelope, (_encode_span(span).SerializeToString() for span in spans))


def in_envelope(group: ResourceSpans | ScopeSpans | ResourceLogs | ScopeLogs, members: Iterable[bytes]) -> bytes:
    """A group of the envelope with its members, put together from bytes.

    Three messages more around a record may be too many for the package, which bounds how deep they are in each other.
    """
    return b"".join((group.SerializeToString(), *(with_length(MEMBERS, member) for member in members)))


def write_resource(resource: Resource) -> ResourceProto:
    """A resource as a message; its schema belongs to the group."""
    dropped = resource.dropped_attributes
    return ResourceProto(attributes=write_attributes(resource.attributes), dropped_attributes_count=dropped)


def write_scope(scope: Scope) -> InstrumentationScope:
    """A scope as a message; its schema belongs to the group."""
    return InstrumentationScope(
        name=scope.name,
        version=scope.version,
        attributes=write_attributes(scope.attributes),
        dropped_attributes_count=scope.dropped_attributes,
    )


def _encode_span(span: Span) -> SpanProto:
    return SpanProto(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_span_id),
        trace_state=span.trace_state,
        flags=span.flags,
        name=span.name,
        kind=enum(span.kind),
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        attributes=write_attributes(span.attributes),
        dropped_attributes_count=span.dropped_attributes,
        events=[_encode_event(event) for event in span.events],
        dropped_events_count=span.dropped_events,
        links=[_encode_link(link) for link in span.links],
        dropped_links_count=span.dropped_links,
        status=Status(code=enum(span.status_code), message=span.status_message),
    )


def enum(number: int) -> Any:
    """An enum's number, also one that this version does not know (proto3 enums are open)."""
    return number


def _encode_event(event: SpanEvent) -> SpanProto.Event:
    return SpanProto.Event(
        time_unix_nano=event.time_ns,
        name=event.name,
        attributes=write_attributes(event.attributes),
        dropped_attributes_count=event.dropped_attributes,
    )


def _encode_link(link: SpanLink) -> SpanProto.Link:
    return SpanProto.Link(
        trace_id=bytes.fromhex(link.trace_id),
        span_id=bytes.fromhex(link.span_id),
        trace_state=link.trace_state,
        attributes=write_attributes(link.attributes),
        dropped_attributes_count=link.dropped_attributes,
        flags=link.flags,
    )


def write_attributes(attributes: Attributes) -> list[KeyValue]:
    """Attributes as messages, in their order."""
    return [KeyValue(key=key, value=write_value(value)) for key, value in attributes.items()]


def write_value(value: Value) -> AnyValue:
    """A value of any form as a message."""
    result = AnyValue()
    match value:
        case bool():
            result.bool_value = value
        case int():
            result.int_value = value
        case float():
            result.double_value = value
        case str():
            result.string_value = value
        case bytes():
            result.bytes_value = value
        case list():
            result.array_value.SetInParent()
            result.array_value.values.extend(write_value(item) for item in value)
        case dict():
            result.kvlist_value.SetInParent()
            result.kvlist_value.values.extend(write_attributes(value))
    return result
