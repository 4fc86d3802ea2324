"""What a run holds as tables: columns with their types, and rows trace by trace. CSV and Parquet write the same."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import orjson

from ..model import Span
from ..store import Store
from ..store.selecting import Selection, batches

Row = tuple[Any, ...]
TEXT, INT, FLOAT, BOOL, JSON, TIME, NUMBERS = "text", "int", "float", "bool", "json", "time", "numbers"


@dataclass(frozen=True, slots=True)
class ExportTable:
    """A table: the type of each column by its name, and the records of one trace, of one run only if it is named.

    Types are `text`, `int`, `float`, `bool`, `json` for a document written as text, `time` for nanoseconds since 1970
    in UTC, and `numbers` for pairs of a name and a number, sorted by name.
    """

    columns: Mapping[str, str]
    records: Callable[[Store, str, str | None], Iterator[Any]]


def rows(store: Store, wanted: Selection, table: ExportTable) -> Iterator[tuple[int, list[Row]]]:
    """Rows of a table in groups that fit into memory, each with how many traces it holds.

    Raises:
        Unavailable: the database cannot be reached.
    """
    for batch in batches(store, wanted):
        found = chain.from_iterable(table.records(store, trace.trace_id, wanted.run_id) for trace in batch)
        yield len(batch), [_row(record, table.columns) for record in found]


def _row(record: Any, columns: Mapping[str, str]) -> Row:
    return tuple(_cell(_value(record, name), kind) for name, kind in columns.items())


def _value(record: Any, name: str) -> Any:
    return record[name] if isinstance(record, Mapping) else getattr(record, name)


def _cell(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == JSON:
        return orjson.dumps(value, default=_bytes, option=orjson.OPT_SORT_KEYS).decode()
    if kind == NUMBERS:
        return sorted(value.items())
    return str(value) if kind == TEXT else value


def _bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError


def _stages(store: Store, trace_id: str, run_id: str | None) -> Iterator[Mapping[str, Any]]:
    used: dict[str, list[dict[str, Any]]] = {}
    for use in store.asset_uses(trace_id, run_id):
        said = {"kind": use.kind, "name": use.name, "version": use.version, "digest": use.digest}
        used.setdefault(use.stage_id, []).append({key: value for key, value in said.items() if value is not None})
    for stage in store.trace_stages(trace_id, run_id):
        plain = {name: getattr(stage, name) for name in STAGES.columns if name != "assets"}
        yield {**plain, "assets": used.get(stage.stage_id, [])}


def _assets(store: Store, trace_id: str, run_id: str | None) -> Iterator[Any]:
    yield from store.asset_uses(trace_id, run_id)


def _findings(store: Store, trace_id: str, run_id: str | None) -> Iterator[Any]:
    yield from (item for item in store.findings(trace_id) if run_id in (None, item.run_id))


def _spans(store: Store, trace_id: str, _run_id: str | None) -> Iterator[Mapping[str, Any]]:
    for trace in store.archived([trace_id]):
        yield from map(_span, trace.spans)


def _span(span: Span) -> Mapping[str, Any]:
    plain = {name: getattr(span, name) for name in SPANS.columns if hasattr(span, name)}
    events = [{"time_ns": e.time_ns, "name": e.name, "attributes": e.attributes} for e in span.events]
    links = [{"trace_id": k.trace_id, "span_id": k.span_id, "attributes": k.attributes} for k in span.links]
    of_resource = {"service": span.resource.service, "resource": span.resource.attributes}
    return {**plain, **of_resource, "scope": span.scope.name, "events": events, "links": links}


_PLACE: Final = {"trace_id": TEXT, "run_id": TEXT}
STAGES: Final = ExportTable(
    {
        "run_id": TEXT, "trace_id": TEXT, "stage_id": TEXT, "parent_stage_id": TEXT, "span_id": TEXT,
        "stage_type": TEXT, "stage_name": TEXT, "status": TEXT, "attempt": INT, "derived": BOOL,
        "started_ns": TIME, "finished_ns": TIME, "duration_ms": FLOAT, "self_ms": FLOAT, "critical_ms": FLOAT,
        "tokens_in": INT, "tokens_out": INT, "cost_total": FLOAT,
        "error_type": TEXT, "error_message": TEXT, "error_fingerprint": TEXT,
        "input_ref": TEXT, "output_ref": TEXT, "type_source": TEXT,
        "attributes": JSON, "metadata": JSON, "metrics": NUMBERS, "assets": JSON,
    },
    _stages,
)  # fmt: skip
ASSETS: Final = ExportTable(
    {
        **_PLACE, "stage_id": TEXT, "ordinal": INT, "kind": TEXT, "name": TEXT, "asset_id": TEXT, "version": TEXT,
        "digest": TEXT, "origin": TEXT, "fallback": BOOL, "subtype": TEXT, "role": TEXT, "used_ns": TIME,
        "load_ms": FLOAT, "cache_hit": BOOL,
    },
    _assets,
)  # fmt: skip
FINDINGS: Final = ExportTable(
    {
        **_PLACE, "ordinal": INT, "code": TEXT, "severity": TEXT, "detail": TEXT, "stage_id": TEXT, "span_id": TEXT,
    },
    _findings,
)  # fmt: skip
SPANS: Final = ExportTable(
    {
        "trace_id": TEXT, "span_id": TEXT, "parent_span_id": TEXT, "name": TEXT, "kind": INT, "start_ns": TIME,
        "end_ns": TIME, "status_code": INT, "status_message": TEXT, "service": TEXT, "scope": TEXT,
        "attributes": JSON, "events": JSON, "links": JSON, "resource": JSON,
    },
    _spans,
)  # fmt: skip
TABLES: Final = {"stages": STAGES, "assets": ASSETS, "findings": FINDINGS, "spans": SPANS}
"""What can be written as a table, by name."""
