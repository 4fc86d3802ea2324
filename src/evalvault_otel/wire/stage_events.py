"""EvalVault's StageEvents as JSON in, spans out: what `POST /api/stage/events` and the seed's SDK send.

A StageEvent becomes a span with `evalvault.stage.*` attributes, so that it goes the way of every other span. Its ids
follow from what the event says, so that the same event sent twice is stored once. All or nothing: the first event that
is wrong is an error, with its place.
"""

import hashlib
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from ..conventions import names
from ..conventions.stage_fields import attributes_of
from ..errors import InvalidStageEvent, Undecodable
from ..model import STATUS_ERROR, STATUS_UNSET, Resource, Scope, Span
from . import Decoded, identity

_MAX_ID: Final = 128
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")
_FAILED: Final = frozenset({"error", "failed", "timeout", "aborted"})
# Names that EvalVault's own builder writes into metadata, as attributes of the registry.
_METADATA: Final = {
    "test_case_id": names.TEST_CASE_ID,
    "dataset_name": names.DATASET_NAME,
    "dataset_version": names.DATASET_VERSION,
    "run_kind": names.RUN_KIND,
    "run_name": names.RUN_NAME,
    "tenant_id": names.TENANT_ID,
}
_IN_METADATA: Final = ("relevant_doc_ids", "model_name")
_RESOURCE: Final[Resource] = identity.resource({"service.name": "stage-events"}, 0, "")
_SCOPE: Final[Scope] = identity.scope("evalvault_otel.stage_events", "", {}, 0, "")


class _Wrong(Exception):
    """What is wrong with one event, and with which field of it."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


# Classes of errors by the field that is wrong.
_KINDS: Final = {
    "run_id": "missing_run_id",
    "stage_type": "invalid_stage_type",
    "attributes": "invalid_attributes",
    "metadata": "invalid_metadata",
    "attempt": "invalid_attempt",
    "duration_ms": "invalid_duration",
    "started_at": "invalid_datetime",
    "finished_at": "invalid_datetime",
    "input_ref": "invalid_payload_ref",
    "output_ref": "invalid_payload_ref",
}


def decode(data: bytes) -> Decoded:
    """The spans of one StageEvent, of `{"events": […]}`, of a list, or of one event per line.

    Raises:
        Undecodable: it is no JSON.
        InvalidStageEvent: an event is wrong; the error says which and why.
    """
    now_ns = time.time_ns()
    return Decoded([span_of(event, index, now_ns) for index, event in enumerate(events_of(data))], [])


def events_of(data: bytes) -> list[Any]:
    """The events of a body, as they came.

    Raises:
        Undecodable: it is no JSON.
    """
    try:
        found: Any = orjson.loads(data)
    except orjson.JSONDecodeError as whole:
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2:  # noqa: PLR2004 - one line is no list of lines
            raise Undecodable(f"not JSON: {whole}") from whole
        return [_line(line, number) for number, line in enumerate(lines, 1)]
    if isinstance(found, dict) and isinstance(found.get("events"), list):
        return list(found["events"])
    return found if isinstance(found, list) else [found]


def _line(line: bytes, number: int) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise Undecodable(f"line {number} is not JSON: {exc}") from exc


def stage_id_of(event: Mapping[str, Any]) -> str:
    """The id that the stage of an event has: its own, else one that follows from its content."""
    said = event.get("stage_id")
    return (
        said if isinstance(said, str) and said else _digest("stage", orjson.dumps(event, option=_SORTED).decode())[:16]
    )


_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def span_of(event: Any, index: int, now_ns: int) -> Span:
    """The span of one event; `now_ns` is when it ended, where it does not say.

    Raises:
        InvalidStageEvent: it is wrong.
    """
    try:
        return _made(event, now_ns)
    except _Wrong as exc:
        raise InvalidStageEvent(str(exc), index, _KINDS.get(exc.field, "other")) from exc


def _made(event: Any, now_ns: int) -> Span:
    if not isinstance(event, dict):
        raise _Wrong("an event is an object")
    run_id = _required(event, "run_id")
    stage_type = _required(event, "stage_type").lower()
    stage_id = stage_id_of(event)
    parent_id = _optional(event, "parent_stage_id")
    attributes, metadata = _object(event, "attributes"), _object(event, "metadata")
    start_ns, end_ns = _times(event, now_ns)
    status = (_optional(event, "status") or "success").lower()
    name = _optional(event, "stage_name")
    trace_id = _trace_id(event, run_id, metadata)
    return Span(
        trace_id=trace_id,
        span_id=_span_id(event, trace_id, stage_id),
        parent_span_id=_span_id({}, trace_id, parent_id) if parent_id else "",
        name=f"{stage_type} {name}" if name else stage_type,
        kind=1,
        start_ns=start_ns,
        end_ns=end_ns,
        status_code=STATUS_ERROR if status in _FAILED else STATUS_UNSET,
        status_message=str(attributes.get("error") or "") if status in _FAILED else "",
        attributes={
            **_of_fields(stage_type, attributes, metadata),
            **_identity(event, run_id, stage_type, stage_id, parent_id, status, name),
        },
        events=(),
        links=(),
        dropped_attributes=0,
        dropped_events=0,
        dropped_links=0,
        flags=0,
        trace_state="",
        resource=_RESOURCE,
        scope=_SCOPE,
    )


def _of_fields(stage_type: str, attributes: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    about = {key: str(metadata[name]) for name, key in _METADATA.items() if metadata.get(name) is not None}
    more = {name: metadata[name] for name in _IN_METADATA if metadata.get(name) is not None}
    return {**attributes_of(stage_type, {**more, **attributes}), **about}


def _identity(event: Mapping[str, Any], *said: str | None) -> dict[str, Any]:
    run_id, stage_type, stage_id, parent_id, status, name = said
    found = {
        names.RUN_ID: run_id,
        names.STAGE_TYPE: stage_type,
        names.STAGE_ID: stage_id,
        names.STAGE_PARENT_ID: parent_id,
        names.STAGE_NAME: name,
        names.STAGE_STATUS: status,
        names.STAGE_ATTEMPT: _attempt(event.get("attempt")),
        names.STAGE_INPUT_URI: _ref(event, "input_ref"),
        names.STAGE_OUTPUT_URI: _ref(event, "output_ref"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _required(event: Mapping[str, Any], name: str) -> str:
    said = _optional(event, name)
    if not said:
        raise _Wrong(f"{name} is required", name)
    return said


def _optional(event: Mapping[str, Any], name: str) -> str | None:
    said = event.get(name)
    if said is None:
        return None
    if not isinstance(said, str) or len(said) > _MAX_ID:
        raise _Wrong(f"{name} must be text of at most {_MAX_ID} characters", name)
    return said.strip() or None


def _object(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    said = event.get(name)
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise _Wrong(f"{name} must be an object", name)
    return said


def _attempt(said: Any) -> int:
    if said is None:
        return 1
    if isinstance(said, bool) or not isinstance(said, int) or said < 1:
        raise _Wrong("attempt must be an integer of at least 1", "attempt")
    return said


def _ref(event: Mapping[str, Any], name: str) -> str | None:
    said = _object(event, name)
    if not said:
        return None
    if not (isinstance(said.get("store"), str) and isinstance(said.get("id"), str)):
        raise _Wrong(f"{name} needs store and id", name)
    return f"{said['store']}://{said['id']}"


def _times(event: Mapping[str, Any], now_ns: int) -> tuple[int, int]:
    """Start and end: of the two and the duration, what is missing follows from the others, and from the clock."""
    start, end, length = _time(event, "started_at"), _time(event, "finished_at"), _duration(event.get("duration_ms"))
    if start is not None and end is not None:
        if end < start:
            raise _Wrong("finished_at is before started_at", "finished_at")
        return start, start + length if end == start else end
    if start is not None:
        return start, start + length
    end = now_ns if end is None else end
    return end - length, end


def _duration(said: Any) -> int:
    if said is None:
        return 0
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said < math.inf:
        raise _Wrong("duration_ms must be a number of milliseconds, not below 0", "duration_ms")
    return round(said * 1_000_000)


def _time(event: Mapping[str, Any], name: str) -> int | None:
    said = event.get(name)
    if said is None:
        return None
    try:
        moment = datetime.fromisoformat(said)
    except (TypeError, ValueError) as exc:
        raise _Wrong(f"{name} must be a time such as 2026-01-31T12:00:00Z", name) from exc
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    nanoseconds = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
    if nanoseconds < 0:
        raise _Wrong(f"{name} is before 1970", name)
    return nanoseconds


def _trace_id(event: Mapping[str, Any], run_id: str, metadata: Mapping[str, Any]) -> str:
    """What the event says, where that is a trace id; else one for each case of a run."""
    said = _context(event, "trace_id")
    if _TRACE_ID.fullmatch(said) and identity.invalid_ids(said, "1" * 16) is None:
        return said
    return _digest("trace", said or run_id, said or str(metadata.get("test_case_id") or ""))[:32]


def _span_id(event: Mapping[str, Any], trace_id: str, stage_id: str) -> str:
    said = _context(event, "span_id")
    for candidate in (said, stage_id):
        if _SPAN_ID.fullmatch(candidate) and identity.invalid_ids("1" * 32, candidate) is None:
            return candidate
    return _digest("span", trace_id, stage_id)[:16]


def _context(event: Mapping[str, Any], name: str) -> str:
    trace = event.get("trace")
    said = event.get(name) or (trace.get(name) if isinstance(trace, dict) else None)
    return said if isinstance(said, str) else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
