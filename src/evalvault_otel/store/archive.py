"""Spans and log events of traces, read back from the archive as they were received."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ..model import LogEvent, Resource, Scope, Span
from . import log_rows, rows
from .named_sql import statement
from .replacing import listed_ids


class Reading(Protocol):
    """What is needed of a transaction."""

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows of a query with `?` parameters."""


_SPANS: Final = """
SELECT trace_id, span_id, parent_span_id, name, kind, start_ns, end_ns, status_code, status_message,
    CAST(attributes AS TEXT), CAST(events AS TEXT), CAST(links AS TEXT),
    dropped_attributes, dropped_events, dropped_links, flags, trace_state, resource_id, scope_id
FROM span WHERE """
_LOGS: Final = """
SELECT trace_id, id, span_id, name, time_ns, observed_ns, severity, severity_text,
    CAST(body AS TEXT), CAST(attributes AS TEXT), dropped_attributes, flags, resource_id, scope_id
FROM log_event WHERE """
_RESOURCES: Final = "SELECT id, CAST(attributes AS TEXT), dropped_attributes, schema_url FROM resource WHERE "
_SCOPES: Final = "SELECT id, name, version, CAST(attributes AS TEXT), dropped_attributes, schema_url FROM scope WHERE "


@dataclass(frozen=True, slots=True)
class Archived:
    """All that was received of a trace: spans by start, then id; log events by time, then content."""

    trace_id: str
    spans: list[Span]
    logs: list[LogEvent]


def read_traces(tx: Reading, dialect: str, trace_ids: Sequence[str]) -> list[Archived]:
    """What was received of these traces, in their order; a trace that is not there has nothing."""
    condition = statement(dialect, "of_listed_traces", frozenset())
    return list(_read(tx, dialect, trace_ids, condition, listed_ids(trace_ids)))


def read_trace(tx: Reading, dialect: str, trace_id: str) -> Archived:
    """What was received of one trace."""
    (found,) = _read(tx, dialect, [trace_id], "trace_id = ?", trace_id)
    return found


def _read(tx: Reading, dialect: str, trace_ids: Sequence[str], condition: str, param: str) -> Iterator[Archived]:
    spans, logs = tx.fetch(_SPANS + condition, (param,)), tx.fetch(_LOGS + condition, (param,))
    # The dictionaries after the rows that use them: they are committed before, so none is missing without a snapshot.
    used = [row[-2:] for found in (spans, logs) for row in found]
    resources = {row[0]: rows.resource_of(row) for row in _listed(tx, dialect, _RESOURCES, {ids[0] for ids in used})}
    scopes = {row[0]: rows.scope_of(row) for row in _listed(tx, dialect, _SCOPES, {ids[1] for ids in used})}
    spans_of, logs_of = _by_trace(spans), _by_trace(logs)
    for trace_id in trace_ids:
        yield Archived(
            trace_id,
            _spans(spans_of.get(trace_id, ()), resources, scopes),
            _logs(logs_of.get(trace_id, ()), resources, scopes),
        )


def _listed(tx: Reading, dialect: str, sql: str, ids: set[str]) -> list[tuple[Any, ...]]:
    if not ids:
        return []
    return tx.fetch(sql + statement(dialect, "of_listed_ids", frozenset()), (listed_ids(sorted(ids)),))


def _by_trace(found: Iterable[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    by_trace: dict[str, list[tuple[Any, ...]]] = {}
    for row in found:
        by_trace.setdefault(row[0], []).append(row)
    return by_trace


def _spans(
    found: Iterable[tuple[Any, ...]], resources: Mapping[str, Resource], scopes: Mapping[str, Scope]
) -> list[Span]:
    spans = [rows.span_of(row, resources, scopes) for row in found]
    # Not in SQL: times beyond 2^63 are negative there.
    return sorted(spans, key=lambda span: (span.start_ns, span.span_id))


def _logs(
    found: Iterable[tuple[Any, ...]], resources: Mapping[str, Resource], scopes: Mapping[str, Scope]
) -> list[LogEvent]:
    events = [(row[1], log_rows.log_of(row, resources, scopes)) for row in found]
    return [event for _, event in sorted(events, key=lambda item: (item[1].time_ns or item[1].observed_ns, item[0]))]
