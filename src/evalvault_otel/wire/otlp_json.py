"""OTLP/JSON <-> `Span`, as the specification has it rather than protobuf's own JSON mapping.

Ids are hex, 64-bit integers decimal strings (or numbers), enums integers, unknown fields ignored at every level.
Source: opentelemetry-proto, docs/specification.md, "JSON Protobuf Encoding".
"""

from typing import Final

from ..errors import Undecodable
from ..model import Resource, Scope, Span, SpanEvent, SpanLink
from . import Decoded, identity
from .gathering import Gathering
from .json_fields import Proto, attributes, enum, hex_id, nested, objects, text, uint32, uint64
from .json_groups import Shape, walk
from .otlp_json_encode import encode

__all__ = ["decode", "encode"]

_SHAPE: Final = Shape("resourceSpans", "scopeSpans", "spans")


def decode(data: bytes) -> Decoded:
    """The spans of a JSON `ExportTraceServiceRequest` or `TracesData`.

    Raises:
        Undecodable: not JSON, of another signal, or not of that shape with no span in it.
    """
    gathering = Gathering("traces")

    def read(proto: Proto, resource: Resource, scope: Scope) -> None:
        gathering.spans.append(_span(proto, resource, scope))

    walk(data, _SHAPE, gathering, read)
    return gathering.decoded()


def _span(proto: Proto, resource: Resource, scope: Scope) -> Span:
    trace_id, span_id = hex_id(proto, "traceId"), hex_id(proto, "spanId")
    reason = identity.invalid_ids(trace_id, span_id)
    if reason is not None:
        raise Undecodable(reason)
    status = nested(proto, "status")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=hex_id(proto, "parentSpanId"),
        name=text(proto, "name"),
        kind=enum(proto, "kind"),
        start_ns=uint64(proto, "startTimeUnixNano"),
        end_ns=uint64(proto, "endTimeUnixNano"),
        status_code=enum(status, "code"),
        status_message=text(status, "message"),
        attributes=attributes(proto),
        events=tuple([_event(event) for event in objects(proto, "events")]),
        links=tuple([_link(link) for link in objects(proto, "links")]),
        dropped_attributes=uint32(proto, "droppedAttributesCount"),
        dropped_events=uint32(proto, "droppedEventsCount"),
        dropped_links=uint32(proto, "droppedLinksCount"),
        flags=uint32(proto, "flags"),
        trace_state=text(proto, "traceState"),
        resource=resource,
        scope=scope,
    )


def _event(proto: Proto) -> SpanEvent:
    time_ns, dropped = uint64(proto, "timeUnixNano"), uint32(proto, "droppedAttributesCount")
    return SpanEvent(time_ns, text(proto, "name"), attributes(proto), dropped)


def _link(proto: Proto) -> SpanLink:
    return SpanLink(
        hex_id(proto, "traceId"),
        hex_id(proto, "spanId"),
        text(proto, "traceState"),
        attributes(proto),
        uint32(proto, "droppedAttributesCount"),
        uint32(proto, "flags"),
    )
