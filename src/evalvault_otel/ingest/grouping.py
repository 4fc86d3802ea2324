"""Spans of some requests as one batch per trace, each span once, assembled where the trace looks whole. Pure."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..assembly import assemble
from ..model import Assembly, Span
from ..store import TraceBatch
from ..store.rows import span_row

_LOG = logging.getLogger(__name__)
_NO_SPAN = "0" * 16


@dataclass(frozen=True, slots=True)
class Grouped:
    """Batches in trace id order, and the spans that came more than once within the group."""

    traces: list[TraceBatch]
    duplicates: int
    conflicts: int


def group(spans: Iterable[Span]) -> Grouped:
    """One `TraceBatch` per trace; of spans with the same id the first one counts."""
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
    return Grouped([_batch(trace_id, by_trace[trace_id]) for trace_id in sorted(by_trace)], duplicates, conflicts)


def merge(parts: Sequence[Grouped]) -> Grouped:
    """Groups that share a transaction as one. Only where a trace is in several of them must it be grouped again."""
    batches = sorted((batch for part in parts for batch in part.traces), key=lambda batch: batch.trace_id)
    duplicates, conflicts = sum(part.duplicates for part in parts), sum(part.conflicts for part in parts)
    if len({batch.trace_id for batch in batches}) == len(batches):
        return Grouped(batches, duplicates, conflicts)
    again = group(span for part in parts for batch in part.traces for span in batch.spans)
    return Grouped(again.traces, again.duplicates + duplicates, again.conflicts + conflicts)


def _batch(trace_id: str, by_id: Mapping[str, Span]) -> TraceBatch:
    spans = tuple(by_id[span_id] for span_id in sorted(by_id))
    parents = [span.parent_span_id for span in spans]
    missing_root = not any(parent in _ROOT for parent in parents)
    missing_parent = any(parent not in by_id and parent not in _ROOT for parent in parents)
    whole = not (missing_root or missing_parent)
    return TraceBatch(trace_id, spans, _assembled(spans) if whole else None, missing_root, missing_parent)


_ROOT = frozenset({"", _NO_SPAN})


def _assembled(spans: tuple[Span, ...]) -> Assembly | None:
    """The assembly, or None if a defect of ours prevents it: the spans are stored all the same, and tried again."""
    try:
        return assemble(spans)
    except Exception:  # noqa: BLE001 - a defect in assembly must not cost the spans
        _LOG.exception("trace %s could not be assembled", spans[0].trace_id)
        return None
