"""OTLP/JSON log records -> `LogEvent`: only events of spans are kept, others are counted.

Source: opentelemetry-proto, logs.proto, and docs/specification.md, "JSON Protobuf Encoding".
"""

from typing import Final

from ..errors import Undecodable
from ..model import LogEvent, Resource, Scope
from . import Decoded
from .events import EVENT_NAME, NO_LOG_RECORD, invalid_event, is_ours
from .gathering import Gathering
from .json_fields import Proto, any_value, attributes, enum, hex_id, objects, text, uint32, uint64
from .json_groups import Shape, walk

_SHAPE: Final = Shape("resourceLogs", "scopeLogs", "logRecords")


def decode_logs(data: bytes) -> Decoded:
    """The events of a JSON `ExportLogsServiceRequest` that belong to spans.

    Raises:
        Undecodable: not JSON, of another signal, or not of that shape with no log record in it.
    """
    gathering = Gathering("logs")

    def read(proto: Proto, resource: Resource, scope: Scope) -> None:
        name = text(proto, "eventName") or _named(proto)
        if is_ours(name):
            gathering.logs.append(_event(proto, name, resource, scope))
            return
        if not name and not uint64(proto, "timeUnixNano") and not uint64(proto, "observedTimeUnixNano"):
            raise Undecodable(NO_LOG_RECORD)
        gathering.others += 1

    walk(data, _SHAPE, gathering, read)
    return gathering.decoded()


def _named(proto: Proto) -> str:
    """The name as SDKs wrote it before there was a field for it."""
    for pair in objects(proto, "attributes"):
        value = pair.get("value")
        if pair.get("key") == EVENT_NAME and isinstance(value, dict):
            return text(value, "stringValue")
    return ""


def _event(proto: Proto, name: str, resource: Resource, scope: Scope) -> LogEvent:
    trace_id, span_id = hex_id(proto, "traceId"), hex_id(proto, "spanId")
    reason = invalid_event(name, trace_id, span_id)
    if reason is not None:
        raise Undecodable(reason)
    return LogEvent(
        trace_id=trace_id,
        span_id=span_id,
        name=name,
        time_ns=uint64(proto, "timeUnixNano"),
        observed_ns=uint64(proto, "observedTimeUnixNano"),
        severity=enum(proto, "severityNumber"),
        severity_text=text(proto, "severityText"),
        body=any_value(proto.get("body")),
        attributes=attributes(proto),
        dropped_attributes=uint32(proto, "droppedAttributesCount"),
        flags=uint32(proto, "flags"),
        resource=resource,
        scope=scope,
    )
