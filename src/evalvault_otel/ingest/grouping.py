"""Spans and log events of requests as one batch per trace, each once, assembled where the trace looks whole. Pure."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..assembly import assemble
from ..model import Assembly, LogEvent, Span
from ..store import TraceBatch
from ..store.base import Assemble
from ..store.log_rows import log_id
from ..store.rows import span_row

_LOG = logging.getLogger(__name__)
_NO_SPAN = "0" * 16


@dataclass(frozen=True, slots=True)
class Grouped:
    """Batches in trace id order, and the spans and log events that came more than once within the group."""

    traces: list[TraceBatch]
    duplicates: int
    conflicts: int
    log_duplicates: int = 0


def group(spans: Iterable[Span], logs: Iterable[LogEvent] = (), assemble: Assemble = assemble) -> Grouped:
    """One `TraceBatch` per trace; of spans with the same id the first one counts, equal log events are one."""
    by_trace: dict[str, dict[str, Span]] = {}
    duplicates = conflicts = 0
    for span in spans:
        known = by_trace.setdefault(span.trace_id, {})
        if span.span_id not in known:
            known[span.span_id] = span
        else:
            duplicates += 1
            # Compared as they would be stored: there 1 and 1.0 differ, and NaN equals itself.
            conflicts += span_row(known[span.span_id], 0) != span_row(span, 0)
    logged, repeated = _distinct(logs)
    batches = [
        _batch(trace_id, by_trace.get(trace_id, {}), logged.get(trace_id, ()), assemble)
        for trace_id in sorted(by_trace.keys() | logged.keys())
    ]
    return Grouped(batches, duplicates, conflicts, repeated)


def _distinct(logs: Iterable[LogEvent]) -> tuple[dict[str, tuple[LogEvent, ...]], int]:
    """Log events by trace, each once and in the order of their ids, and how many came again."""
    by_trace: dict[str, dict[str, LogEvent]] = {}
    count = 0
    for event in logs:
        by_trace.setdefault(event.trace_id, {}).setdefault(log_id(event), event)
        count += 1
    found = {trace_id: tuple(events[key] for key in sorted(events)) for trace_id, events in by_trace.items()}
    return found, count - sum(map(len, found.values()))


def merge(parts: Sequence[Grouped], assemble: Assemble = assemble) -> Grouped:
    """Groups that share a transaction as one. Only where a trace is in several of them must it be grouped again."""
    batches = sorted((batch for part in parts for batch in part.traces), key=lambda batch: batch.trace_id)
    before = [sum(counts) for counts in zip(*map(_repetitions, parts), strict=True)] or [0, 0, 0]
    if len({batch.trace_id for batch in batches}) == len(batches):
        return Grouped(batches, *before)
    spans = (span for batch in batches for span in batch.spans)
    again = group(spans, (log for batch in batches for log in batch.logs), assemble)
    return Grouped(again.traces, *map(sum, zip(before, _repetitions(again), strict=True)))


def singles(batch: TraceBatch) -> Iterator[TraceBatch]:
    """Each span and each log event of a batch as a batch of its own, to be put together by the background assembler."""
    empty = replace(batch, spans=(), logs=(), assembly=None, missing_parent=True)
    yield from (replace(empty, spans=(span,)) for span in batch.spans)
    yield from (replace(empty, logs=(event,)) for event in batch.logs)


def _repetitions(grouped: Grouped) -> tuple[int, int, int]:
    return grouped.duplicates, grouped.conflicts, grouped.log_duplicates


def _batch(trace_id: str, by_id: Mapping[str, Span], logs: tuple[LogEvent, ...], assemble: Assemble) -> TraceBatch:
    spans = tuple(by_id[span_id] for span_id in sorted(by_id))
    parents = [span.parent_span_id for span in spans]
    missing_root = not any(parent in _ROOT for parent in parents)
    missing_parent = any(parent not in by_id and parent not in _ROOT for parent in parents)
    whole = not (missing_root or missing_parent)
    return TraceBatch(
        trace_id, spans, _assembled(spans, logs, assemble) if whole else None, missing_root, missing_parent, logs
    )


_ROOT = frozenset({"", _NO_SPAN})


def _assembled(spans: tuple[Span, ...], logs: tuple[LogEvent, ...], assemble: Assemble) -> Assembly | None:
    """The assembly, or None if a defect of ours prevents it: the spans are stored all the same, and tried again."""
    try:
        return assemble(spans, logs)
    except Exception:  # noqa: BLE001 - a defect in assembly must not cost the spans
        _LOG.exception("trace %s could not be assembled", spans[0].trace_id)
        return None
