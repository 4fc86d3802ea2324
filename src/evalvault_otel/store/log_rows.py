"""Log events as rows of `log_event` and back, losing nothing that the archive promises to keep (ADR 0010)."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..model import LogEvent, Resource, Scope
from ..text import clean_text
from ..values import content_id, dumps, loads
from .rows import signed, unsigned


def log_id(event: LogEvent) -> str:
    """A hash of the event as it is stored: the key of a log event within its trace, so that a retry is a duplicate."""
    return content_id(
        [
            event.span_id,
            clean_text(event.name),
            event.time_ns,
            event.observed_ns,
            event.severity,
            clean_text(event.severity_text),
            event.body,
            event.attributes,
            event.dropped_attributes,
            event.flags,
            event.resource.id,
            event.scope.id,
        ]
    )


def log_row(event: LogEvent, received_ns: int) -> tuple[Any, ...]:
    """The archive row of a log event."""
    return (
        event.trace_id,
        log_id(event),
        event.span_id,
        clean_text(event.name),
        signed(event.time_ns),
        signed(event.observed_ns),
        event.severity,
        clean_text(event.severity_text),
        None if event.body is None else dumps(event.body),
        dumps(event.attributes),
        event.dropped_attributes or None,
        event.flags,
        event.resource.id,
        event.scope.id,
        received_ns,
    )


def log_of(row: Sequence[Any], resources: Mapping[str, Resource], scopes: Mapping[str, Scope]) -> LogEvent:
    """The log event of an archive row (columns of `LOG_EVENT`)."""
    return LogEvent(
        trace_id=row[0],
        span_id=row[2],
        name=row[3],
        time_ns=unsigned(row[4]),
        observed_ns=unsigned(row[5]),
        severity=row[6],
        severity_text=row[7],
        body=None if row[8] is None else loads(row[8]),
        attributes=loads(row[9]),
        dropped_attributes=row[10] or 0,
        flags=row[11],
        resource=resources[row[12]],
        scope=scopes[row[13]],
    )
