"""`LogEvent` records to OTLP/JSON: the writing half of `logs_json`."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import orjson

from ..model import LogEvent
from .otlp_json_encode import any_value, pairs, resource_header, scope_header


def encode_logs(events: Sequence[LogEvent]) -> bytes:
    """A JSON `ExportLogsServiceRequest` with these events, in their order, grouped by resource and scope."""
    groups = [_encode_resource(list(group)) for _, group in groupby(events, key=lambda event: event.resource.id)]
    return orjson.dumps({"resourceLogs": groups})


def _encode_resource(events: Sequence[LogEvent]) -> dict[str, Any]:
    scopes = [list(group) for _, group in groupby(events, key=lambda event: event.scope.id)]
    encoded = [{**scope_header(group[0].scope), "logRecords": list(map(_encode_event, group))} for group in scopes]
    return {**resource_header(events[0].resource), "scopeLogs": encoded}


def _encode_event(event: LogEvent) -> dict[str, Any]:
    return {
        "traceId": event.trace_id,
        "spanId": event.span_id,
        "eventName": event.name,
        "timeUnixNano": str(event.time_ns),
        "observedTimeUnixNano": str(event.observed_ns),
        "severityNumber": event.severity,
        "severityText": event.severity_text,
        "body": any_value(event.body),
        "attributes": pairs(event.attributes),
        "droppedAttributesCount": event.dropped_attributes,
        "flags": event.flags,
    }
