"""Spans and log events of one trace, read back from the archive as they were received."""

from collections.abc import Sequence
from typing import Any, Protocol

from ..model import LogEvent, Resource, Scope, Span
from . import log_rows, rows


class Reading(Protocol):
    """What is needed of a transaction."""

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows of a query with `?` parameters."""


_SPANS = """
SELECT trace_id, span_id, parent_span_id, name, kind, start_ns, end_ns, status_code, status_message,
    CAST(attributes AS TEXT), CAST(events AS TEXT), CAST(links AS TEXT),
    dropped_attributes, dropped_events, dropped_links, flags, trace_state, resource_id, scope_id
FROM span WHERE trace_id = ?
"""
_LOGS = """
SELECT trace_id, id, span_id, name, time_ns, observed_ns, severity, severity_text,
    CAST(body AS TEXT), CAST(attributes AS TEXT), dropped_attributes, flags, resource_id, scope_id
FROM log_event WHERE trace_id = ?
"""
_RESOURCES = """
SELECT id, CAST(attributes AS TEXT), dropped_attributes, schema_url FROM resource
WHERE id IN (SELECT resource_id FROM {table} WHERE trace_id = ?)
"""
_SCOPES = """
SELECT id, name, version, CAST(attributes AS TEXT), dropped_attributes, schema_url FROM scope
WHERE id IN (SELECT scope_id FROM {table} WHERE trace_id = ?)
"""


def read_spans(tx: Reading, trace_id: str) -> list[Span]:
    """All spans of a trace, by start time, then id."""
    found = tx.fetch(_SPANS, (trace_id,))
    resources, scopes = _dictionaries(tx, trace_id, "span")
    spans = [rows.span_of(row, resources, scopes) for row in found]
    # Not in SQL: times beyond 2^63 are negative there.
    return sorted(spans, key=lambda span: (span.start_ns, span.span_id))


def read_logs(tx: Reading, trace_id: str) -> list[LogEvent]:
    """All log events of a trace, by time, then id."""
    found = tx.fetch(_LOGS, (trace_id,))
    if not found:
        return []
    resources, scopes = _dictionaries(tx, trace_id, "log_event")
    events = [(row[1], log_rows.log_of(row, resources, scopes)) for row in found]
    return [event for _, event in sorted(events, key=lambda item: (item[1].time_ns or item[1].observed_ns, item[0]))]


def _dictionaries(tx: Reading, trace_id: str, table: str) -> tuple[dict[str, Resource], dict[str, Scope]]:
    """To be read after the rows that use them: they are committed before, so none is missing without a snapshot."""
    resources = tx.fetch(_RESOURCES.format(table=table), (trace_id,))
    scopes = tx.fetch(_SCOPES.format(table=table), (trace_id,))
    return {row[0]: rows.resource_of(row) for row in resources}, {row[0]: rows.scope_of(row) for row in scopes}
