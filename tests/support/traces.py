"""Traces for tests: builders with plain defaults, and the golden traces.

What comes out are the product's `Span` records. Numbers name spans: span 1 has the id `0000000000000001`. Times are
given in milliseconds after `T0_NS`.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from evalvault_otel.ingest.grouping import group
from evalvault_otel.model import Attributes, LogEvent, Resource, Scope, Span, SpanEvent, Value
from evalvault_otel.store import TraceBatch
from evalvault_otel.wire import identity, otlp_json

T0_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
MS = 1_000_000
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
GOLDEN = Path(__file__).parents[1] / "golden"
REPLACEMENT = "\ufffd"

STAGE_TYPE = "evalvault.stage.type"
RUN_ID = "evalvault.run.id"
KIND = "openinference.span.kind"


def sid(number: int) -> str:
    """The span id of span `number`; no id for 0."""
    return f"{number:016x}" if number else ""


def at(ms: float) -> int:
    """Nanoseconds of `ms` milliseconds after `T0_NS`."""
    return T0_NS + round(ms * MS)


def resource(**attributes: Value) -> Resource:
    """A resource with these attributes besides `service.name`; `__` in names stands for a dot."""
    return identity.resource(
        {"service.name": "rag-api", **{key.replace("__", "."): value for key, value in attributes.items()}}, 0, ""
    )


RESOURCE = resource()
SCOPE = identity.scope("my.library", "1.0", {}, 0, "")


def span(number: int, parent: int = 0, attributes: Attributes | None = None, **fields_said: Any) -> Span:
    """Span `number` under span `parent`, from 0 to 100 ms unless `start` and `end` (in ms) or other fields say else."""
    start, end = fields_said.pop("start", 0), fields_said.pop("end", 100)
    said: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "span_id": sid(number),
        "parent_span_id": sid(parent),
        "name": f"step {number}",
        "kind": 1,
        "start_ns": at(start),
        "end_ns": at(end),
        "status_code": 0,
        "status_message": "",
        "attributes": attributes or {},
        "events": (),
        "links": (),
        "dropped_attributes": 0,
        "dropped_events": 0,
        "dropped_links": 0,
        "flags": 0,
        "trace_state": "",
        "resource": RESOURCE,
        "scope": SCOPE,
    }
    return Span(**(said | fields_said))


def stage(number: int, parent: int, stage_type: str, attributes: Attributes | None = None, **fields_said: Any) -> Span:
    """A span that its own `evalvault.stage.type` makes a stage."""
    return span(number, parent, {STAGE_TYPE: stage_type, **(attributes or {})}, **fields_said)


def kind(number: int, parent: int, span_kind: str, attributes: Attributes | None = None, **fields_said: Any) -> Span:
    """A span as OpenInference makes it."""
    return span(number, parent, {KIND: span_kind, **(attributes or {})}, **fields_said)


def asset(ms: float = 1, **said: Value) -> SpanEvent:
    """An `evalvault.asset.used` event at `ms`."""
    return SpanEvent(at(ms), "evalvault.asset.used", {f"evalvault.asset.{key}": value for key, value in said.items()})


def raised(error_type: str, message: str, *, escaped: bool = True, ms: float = 50) -> SpanEvent:
    """An `exception` event as the SDK records it."""
    said = {"exception.type": error_type, "exception.message": message, "exception.escaped": str(escaped)}
    return SpanEvent(at(ms), "exception", said)


def log(number: int, name: str, attributes: Attributes | None = None, **fields_said: Any) -> LogEvent:
    """A log event of span `number`, at 1 ms unless `ms` or other fields say else."""
    ms = fields_said.pop("ms", 1)
    said: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "span_id": sid(number),
        "name": name,
        "time_ns": at(ms),
        "observed_ns": at(ms) + 1,
        "severity": 9,
        "severity_text": "INFO",
        "body": None,
        "attributes": attributes or {},
        "dropped_attributes": 0,
        "flags": 1,
        "resource": RESOURCE,
        "scope": SCOPE,
    }
    return LogEvent(**(said | fields_said))


def new_trace_id() -> str:
    """An id that no other test uses."""
    return secrets.token_hex(16)


_OfTrace = TypeVar("_OfTrace", Span, LogEvent)


def in_trace(items: Iterable[_OfTrace], trace_id: str) -> list[_OfTrace]:
    """The same spans or log events as another trace."""
    return [replace(item, trace_id=trace_id) for item in items]


def batches(*spans: Span, logs: Iterable[LogEvent] = ()) -> list[TraceBatch]:
    """The spans and log events as ingest hands them to a store."""
    return group(spans, logs).traces


def golden_names() -> list[str]:
    """Names of the golden traces."""
    return sorted(path.stem for path in (GOLDEN / "traces").glob("*.json"))


def golden(name: str) -> dict[str, Any]:
    """A golden trace: `otlp` as OTLP/JSON, and what is expected of it."""
    document: dict[str, Any] = orjson.loads((GOLDEN / "traces" / f"{name}.json").read_bytes())
    return document


def golden_spans(name: str) -> list[Span]:
    """The spans of a golden trace."""
    return otlp_json.decode(orjson.dumps(golden(name)["otlp"])).spans


def golden_logs(name: str) -> list[LogEvent]:
    """The log events of a golden trace, as `log` takes them."""
    return [log(**said) for said in golden(name).get("logs", ())]


def exact(item: object) -> str:
    """Text that differs where `==` does not look: 1, 1.0 and True, 0.0 and -0.0; and is equal for NaN."""
    return repr(item)


# What the archive documents to change: NUL in names and keys becomes U+FFFD, all else stays.


def archived(item: Span) -> Span:
    """The span as the archive gives it back."""
    events = tuple(replace(event, attributes=_clean_keys(event.attributes)) for event in item.events)
    links = tuple(replace(link, attributes=_clean_keys(link.attributes)) for link in item.links)
    return replace(
        _clean(item, "name", "status_message", "trace_state"),
        attributes=_clean_keys(item.attributes),
        events=events,
        links=links,
        resource=replace(_clean(item.resource, "schema_url"), attributes=_clean_keys(item.resource.attributes)),
        scope=replace(
            _clean(item.scope, "name", "version", "schema_url"), attributes=_clean_keys(item.scope.attributes)
        ),
    )


def archived_log(item: LogEvent) -> LogEvent:
    """The log event as the archive gives it back."""
    return replace(
        _clean(item, "name", "severity_text"),
        body=_clean_keys(item.body),
        attributes=_clean_keys(item.attributes),
        resource=replace(_clean(item.resource, "schema_url"), attributes=_clean_keys(item.resource.attributes)),
        scope=replace(
            _clean(item.scope, "name", "version", "schema_url"), attributes=_clean_keys(item.scope.attributes)
        ),
    )


_Record = TypeVar("_Record", Span, LogEvent, Resource, Scope)


def _clean(record: _Record, *names: str) -> _Record:
    return replace(record, **{name: getattr(record, name).replace("\0", REPLACEMENT) for name in names})


def _clean_keys(value: Value) -> Value:
    if isinstance(value, Mapping):
        return {key.replace("\0", REPLACEMENT): _clean_keys(item) for key, item in value.items()}
    return [_clean_keys(item) for item in value] if isinstance(value, list) else value


def distinct(found: Sequence[Span]) -> list[Span]:
    """Each span id once."""
    return list({item.span_id: item for item in found}.values())
