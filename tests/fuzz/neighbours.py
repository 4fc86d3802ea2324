"""A good span or log event beside hostile bytes: what is wrong with the bytes must not cost the neighbour."""

import secrets
from typing import Any, Final

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_START: Final = 1_767_225_600_000_000_000
_SPAN_ID: Final = "00f067aa0ba902b7"
# Names of the parts of a request, from the outside to the inside.
SHAPES: Final = {
    "json": ("resourceSpans", "scopeSpans", "spans"),
    "logs_json": ("resourceLogs", "scopeLogs", "logRecords"),
}


def new_id() -> str:
    """A trace id that nobody else uses."""
    return secrets.token_hex(16)


def beside(target: str, data: bytes, trace_id: str) -> bytes | None:
    """A request with a good record of this trace id before what `data` holds; None where that cannot be.

    Protobuf: messages may be joined, and what comes first is whole whatever follows. JSON: the records are joined; data
    that is no group of records becomes a record itself; data that is no JSON has no inside to be in.
    """
    if target in SHAPES:
        return _beside_json(target, data, trace_id)
    good: Any = _log_request(trace_id) if target == "logs_protobuf" else _span_request(trace_id)
    return bytes(good.SerializeToString()) + data


def _beside_json(target: str, data: bytes, trace_id: str) -> bytes | None:
    groups, scopes, records = SHAPES[target]
    good = _log_document(trace_id) if target == "logs_json" else _span_document(trace_id)
    try:
        hostile = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if isinstance(hostile, dict) and isinstance(hostile.get(groups), list):
        joined = {**hostile, groups: [{scopes: [{records: [good]}]}, *hostile[groups]]}
    else:
        joined = {groups: [{scopes: [{records: [good, hostile]}]}]}
    try:
        return orjson.dumps(joined)
    except orjson.JSONEncodeError:  # nested deeper than this writer takes
        return None


def _span_request(trace_id: str) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes.fromhex(trace_id), bytes.fromhex(_SPAN_ID), "good"
    span.start_time_unix_nano, span.end_time_unix_nano = _START, _START + 1_000_000
    return request


def _log_request(trace_id: str) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.trace_id, record.span_id = bytes.fromhex(trace_id), bytes.fromhex(_SPAN_ID)
    record.event_name, record.time_unix_nano = "gen_ai.user.message", _START
    return request


def _span_document(trace_id: str) -> dict[str, Any]:
    times = {"startTimeUnixNano": str(_START), "endTimeUnixNano": str(_START + 1_000_000)}
    return {"traceId": trace_id, "spanId": _SPAN_ID, "name": "good", **times}


def _log_document(trace_id: str) -> dict[str, Any]:
    ids = {"traceId": trace_id, "spanId": _SPAN_ID}
    return {**ids, "eventName": "gen_ai.user.message", "timeUnixNano": str(_START)}
