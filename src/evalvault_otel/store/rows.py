"""Records as table rows and back: the one place that knows the order of columns.

A row is a tuple in the order of its `Table.columns`; JSON columns hold JSON text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from ..model import (
    Assembly,
    AssetUse,
    Attributes,
    Finding,
    Resource,
    RunTrace,
    Scope,
    Span,
    SpanEvent,
    SpanLink,
    StageEvent,
    StageLink,
)
from ..text import clean_text
from ..values import content_id, dumps, loads, plain_json

_UNSIGNED = 1 << 64
_SIGN = 1 << 63


@dataclass(frozen=True, slots=True)
class Table:
    """A table's name, its columns in row order, its key, and which columns hold JSON."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    json: frozenset[str]


def _table(name: str, key: int, columns: str, json: str = "") -> Table:
    names = tuple(columns.split())
    return Table(name, names, names[:key], frozenset(json.split()))


RESOURCE = _table("resource", 1, "id attributes dropped_attributes schema_url", json="attributes")
SCOPE = _table("scope", 1, "id name version attributes dropped_attributes schema_url", json="attributes")
SPAN = _table(
    "span",
    2,
    "trace_id span_id parent_span_id name kind start_ns end_ns status_code status_message attributes events links "
    "dropped_attributes dropped_events dropped_links flags trace_state resource_id scope_id received_ns",
)
LOG_EVENT = _table(
    "log_event",
    2,
    "trace_id id span_id name time_ns observed_ns severity severity_text body attributes dropped_attributes flags "
    "resource_id scope_id received_ns",
    json="body attributes",
)
STAGE_EVENT = _table(
    "stage_event",
    2,
    "trace_id stage_id run_id stage_type stage_name parent_stage_id status attempt started_ns finished_ns duration_ms "
    "self_ms critical_ms input_ref output_ref attributes metadata span_id derived type_source wrapped_span_ids "
    "error_type error_message error_fingerprint tokens_in tokens_out cost_total metrics",
)
ASSET = _table("asset", 1, "id kind name asset_id version digest origin fallback subtype role")
ASSET_USE = _table("asset_use", 3, "trace_id stage_id ordinal run_id asset used_ns load_ms cache_hit")
STAGE_LINK = _table(
    "stage_link", 3, "trace_id stage_id ordinal run_id link_type linked_trace_id linked_span_id attributes"
)
FINDING = _table("finding", 2, "trace_id ordinal run_id code severity detail stage_id span_id")
RUN_TRACE = _table(
    "run_trace",
    2,
    "trace_id run_id service name started_ns finished_ns stages errors stage_types tokens_in tokens_out cost_total "
    "metadata run_name run_kind dataset dataset_version",
)
TRACE = _table(
    "trace",
    1,
    "trace_id run_id root_span_id first_ns last_ns span_count dirty dirty_since_ns due_ns assemblies mapping_version "
    "assembled_ns received_ns log_count",
)
REJECT = _table("reject", 0, "received_ns transport peer reason size payload signal encoding count upto_bytes")
RUN = _table(
    "run",
    1,
    "run_id name kind dataset dataset_version service first_ns last_ns name_by kind_by dataset_by dataset_version_by "
    "service_by change",
)

# Written as NULL, and put back by the view `v_stage`.
_USUAL_TYPE_SOURCE = "attribute:evalvault.stage.type"

# What `assemble` makes of a trace, table by table, in the order they are written.
DERIVED = (STAGE_EVENT, ASSET_USE, STAGE_LINK, FINDING, RUN_TRACE)


def signed(unsigned: int) -> int:
    """A 64-bit unsigned number in a signed column (two's complement), so that hostile times are kept exactly."""
    return unsigned - _UNSIGNED if unsigned >= _SIGN else unsigned


def unsigned(value: int) -> int:
    """What `signed` stored."""
    return value + _UNSIGNED if value < 0 else value


def span_row(span: Span, received_ns: int) -> tuple[Any, ...]:
    """The archive row of a span."""
    return (
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        clean_text(span.name),
        span.kind,
        signed(span.start_ns),
        signed(span.end_ns),
        span.status_code,
        clean_text(span.status_message),
        dumps(span.attributes),
        dumps([_event_doc(event) for event in span.events]) if span.events else None,
        dumps([_link_doc(link) for link in span.links]) if span.links else None,
        span.dropped_attributes or None,
        span.dropped_events or None,
        span.dropped_links or None,
        span.flags,
        clean_text(span.trace_state),
        span.resource.id,
        span.scope.id,
        received_ns,
    )


def _event_doc(event: SpanEvent) -> list[Any]:
    """An event as an array: its time, name and attributes, and how many attributes were dropped, if any."""
    doc = [event.time_ns, event.name, event.attributes]
    return [*doc, event.dropped_attributes] if event.dropped_attributes else doc


def _link_doc(link: SpanLink) -> list[Any]:
    """A link as an array of its fields."""
    return [link.trace_id, link.span_id, link.trace_state, link.attributes, link.dropped_attributes, link.flags]


def span_of(row: Sequence[Any], resources: Mapping[str, Resource], scopes: Mapping[str, Scope]) -> Span:
    """The span of an archive row (columns of `SPAN`)."""
    events = [SpanEvent(*doc) for doc in loads(row[10])] if row[10] else ()
    links = [SpanLink(*doc) for doc in loads(row[11])] if row[11] else ()
    return Span(
        trace_id=row[0],
        span_id=row[1],
        parent_span_id=row[2],
        name=row[3],
        kind=row[4],
        start_ns=unsigned(row[5]),
        end_ns=unsigned(row[6]),
        status_code=row[7],
        status_message=row[8],
        attributes=loads(row[9]),
        events=tuple(events),
        links=tuple(links),
        dropped_attributes=row[12] or 0,
        dropped_events=row[13] or 0,
        dropped_links=row[14] or 0,
        flags=row[15],
        trace_state=row[16],
        resource=resources[row[17]],
        scope=scopes[row[18]],
    )


def resource_row(resource: Resource) -> tuple[Any, ...]:
    """The dictionary row of a resource."""
    return (resource.id, dumps(resource.attributes), resource.dropped_attributes, clean_text(resource.schema_url))


def resource_of(row: Sequence[Any]) -> Resource:
    """The resource of a dictionary row."""
    return Resource(row[0], loads(row[1]), row[2], row[3])


def scope_row(scope: Scope) -> tuple[Any, ...]:
    """The dictionary row of a scope."""
    return (
        scope.id,
        clean_text(scope.name),
        clean_text(scope.version),
        dumps(scope.attributes),
        scope.dropped_attributes,
        clean_text(scope.schema_url),
    )


def scope_of(row: Sequence[Any]) -> Scope:
    """The scope of a dictionary row."""
    return Scope(row[0], row[1], row[2], loads(row[3]), row[4], row[5])


def stage_row(stage: StageEvent, shared: Attributes) -> tuple[Any, ...]:
    """The row of a stage; of its metadata only what differs from `shared`."""
    metadata = stage.metadata
    own = {} if metadata is shared else {k: v for k, v in metadata.items() if k not in shared or shared[k] != v}
    return (
        stage.trace_id,
        stage.stage_id,
        stage.run_id,
        stage.stage_type,
        stage.stage_name,
        stage.parent_stage_id,
        stage.status,
        stage.attempt,
        stage.started_ns,
        stage.finished_ns,
        stage.duration_ms,
        stage.self_ms,
        stage.critical_ms,
        str(stage.input_ref) if stage.input_ref else None,
        str(stage.output_ref) if stage.output_ref else None,
        plain_json(stage.attributes),
        plain_json(own) if own else None,
        stage.span_id,
        stage.derived,
        None if stage.type_source == _USUAL_TYPE_SOURCE else stage.type_source,
        orjson.dumps(stage.wrapped_span_ids).decode() if stage.wrapped_span_ids else None,
        stage.error_type,
        stage.error_message,
        stage.error_fingerprint,
        stage.tokens_in,
        stage.tokens_out,
        stage.cost_total,
        _scores_json(stage) if stage.metrics else None,
    )


def _scores_json(stage: StageEvent) -> str:
    """Scores by name; the stage type, with which every name begins, is in the row already."""
    start = len(stage.stage_type) + 1
    return orjson.dumps({name[start:]: score for name, score in stage.metrics.items()}).decode()


@lru_cache(maxsize=10_000)
def _asset_row(*content: Any) -> tuple[Any, ...]:
    return (content_id(list(content)), *content)


def asset_row(use: AssetUse) -> tuple[Any, ...]:
    """The dictionary row of the asset that was used."""
    return _asset_row(
        use.kind,
        use.name,
        use.asset_id,
        use.version,
        use.digest,
        use.origin,
        use.fallback,
        use.subtype,
        use.role,
    )


def asset_use_row(use: AssetUse) -> tuple[Any, ...]:
    """The row of an asset use."""
    identity = (use.trace_id, use.stage_id, use.ordinal, use.run_id, asset_row(use)[0])
    return (*identity, use.used_ns, use.load_ms, use.cache_hit)


def stage_link_row(link: StageLink) -> tuple[Any, ...]:
    """The row of a link."""
    return (
        link.trace_id,
        link.stage_id,
        link.ordinal,
        link.run_id,
        link.link_type,
        link.linked_trace_id,
        link.linked_span_id,
        plain_json(link.attributes) if link.attributes else None,
    )


def finding_row(finding: Finding) -> tuple[Any, ...]:
    """The row of a finding."""
    return (
        finding.trace_id,
        finding.ordinal,
        finding.run_id,
        finding.code,
        finding.severity,
        finding.detail,
        finding.stage_id,
        finding.span_id,
    )


def run_trace_row(part: RunTrace, shared: Attributes) -> tuple[Any, ...]:
    """The row that says what a trace adds to a run."""
    return (
        part.trace_id,
        part.run_id,
        part.service,
        part.name,
        part.started_ns,
        part.finished_ns,
        part.stages,
        part.errors,
        "," + ",".join(part.stage_types) + ",",
        part.tokens_in,
        part.tokens_out,
        part.cost_total,
        plain_json(shared) if shared else None,
        part.run_name,
        part.run_kind,
        part.dataset,
        part.dataset_version,
    )


def _shared_metadata(stages: Iterable[StageEvent]) -> Attributes:
    """The metadata that all these stages have; usually they hold the very same object."""
    distinct = list({id(stage.metadata): stage.metadata for stage in stages}.values())
    if len(distinct) <= 1:
        return distinct[0] if distinct else {}
    first, *others = distinct
    return {k: v for k, v in first.items() if all(k in other and other[k] == v for other in others)}


def derived_rows(assemblies: Iterable[Assembly]) -> dict[Table, list[tuple[Any, ...]]]:
    """All derived rows of some traces, per table, in key order within a trace."""
    rows: dict[Table, list[tuple[Any, ...]]] = {table: [] for table in DERIVED}
    for assembly in assemblies:
        for part in assembly.runs:
            stages = [stage for stage in assembly.stages if stage.run_id == part.run_id]
            shared = _shared_metadata(stages)
            rows[RUN_TRACE].append(run_trace_row(part, shared))
            rows[STAGE_EVENT] += [stage_row(stage, shared) for stage in stages]
        rows[ASSET_USE] += map(asset_use_row, assembly.asset_uses)
        rows[STAGE_LINK] += map(stage_link_row, assembly.links)
        rows[FINDING] += map(finding_row, assembly.findings)
    return rows
