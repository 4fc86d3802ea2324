"""OTLP log records in protobuf <-> `LogEvent`: only events of spans are kept, others are counted.

Source: opentelemetry-proto, logs.proto (OTLP 1.11).
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from ..model import LogEvent
from . import Decoded
from .events import EVENT_NAME, NO_LOG_RECORD, invalid_event, is_ours
from .fields import with_length
from .gathering import Gathering
from .protobuf import (
    enum,
    in_envelope,
    read_attributes,
    read_resource,
    read_scope,
    read_value,
    write_attributes,
    write_resource,
    write_scope,
    write_value,
)
from .salvage import GROUPS, salvage


def decode_logs(data: bytes) -> Decoded:
    """The events of an `ExportLogsServiceRequest` that belong to spans.

    Raises:
        Undecodable: the bytes are not that message, and no log record in them can be read.
    """
    gathering = Gathering("logs")
    try:
        request = ExportLogsServiceRequest.FromString(data)
    except DecodeError:
        request = salvage(data, ExportLogsServiceRequest, gathering)
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            _decode_scope(resource_logs, scope_logs, gathering)
    return gathering.decoded()


def _decode_scope(resource_logs: ResourceLogs, scope_logs: ScopeLogs, gathering: Gathering) -> None:
    events: list[tuple[str, LogRecord]] = []
    for record in scope_logs.log_records:
        name = record.event_name or _named(record.attributes)
        reason = _problem(name, record)
        if reason is not None:
            gathering.reject(reason, partial(_alone, resource_logs, scope_logs, record), "protobuf")
        elif is_ours(name):
            events.append((name, record))
        else:
            gathering.others += 1
    if events:  # most logs have none: then nobody asks what they come from
        resource, scope = read_resource(resource_logs), read_scope(scope_logs)
        gathering.logs.extend(
            LogEvent(
                record.trace_id.hex(),
                record.span_id.hex(),
                name,
                record.time_unix_nano,
                record.observed_time_unix_nano,
                record.severity_number,
                record.severity_text,
                read_value(record.body),
                read_attributes(record.attributes),
                record.dropped_attributes_count,
                record.flags,
                resource,
                scope,
            )
            for name, record in events
        )


def _problem(name: str, record: LogRecord) -> str | None:
    if is_ours(name):
        return invalid_event(name, record.trace_id.hex(), record.span_id.hex())
    if not name and not record.time_unix_nano and not record.observed_time_unix_nano:
        return NO_LOG_RECORD
    return None


def _named(attributes: Iterable[KeyValue]) -> str:
    return next((pair.value.string_value for pair in attributes if pair.key == EVENT_NAME), "")


def _alone(resource_logs: ResourceLogs, scope_logs: ScopeLogs, record: LogRecord) -> bytes:
    """A request with this one log record."""
    of_scope = ScopeLogs(scope=scope_logs.scope, schema_url=scope_logs.schema_url)
    of_resource = ResourceLogs(resource=resource_logs.resource, schema_url=resource_logs.schema_url)
    return with_length(GROUPS, in_envelope(of_resource, [in_envelope(of_scope, [record.SerializeToString()])]))


def encode_logs(events: Sequence[LogEvent]) -> bytes:
    """An `ExportLogsServiceRequest` with these events, in their order, grouped by resource and scope."""
    groups = (list(group) for _, group in groupby(events, key=lambda event: event.resource.id))
    return b"".join(with_length(GROUPS, _encode_resource(group)) for group in groups)


def _encode_resource(events: Sequence[LogEvent]) -> bytes:
    resource = events[0].resource
    groups = (list(group) for _, group in groupby(events, key=lambda event: event.scope.id))
    envelope = ResourceLogs(resource=write_resource(resource), schema_url=resource.schema_url)
    return in_envelope(envelope, map(_encode_scope, groups))


def _encode_scope(events: Sequence[LogEvent]) -> bytes:
    scope = events[0].scope
    envelope = ScopeLogs(scope=write_scope(scope), schema_url=scope.schema_url)
    return in_envelope(envelope, (_encode_record(event).SerializeToString() for event in events))


def _encode_record(event: LogEvent) -> LogRecord:
    return LogRecord(
        time_unix_nano=event.time_ns,
        observed_time_unix_nano=event.observed_ns,
        severity_number=enum(event.severity),
        severity_text=event.severity_text,
        body=write_value(event.body),
        attributes=write_attributes(event.attributes),
        dropped_attributes_count=event.dropped_attributes,
        flags=event.flags,
        trace_id=bytes.fromhex(event.trace_id),
        span_id=bytes.fromhex(event.span_id),
        event_name=event.name,
    )
