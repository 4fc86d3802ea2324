"""Traces out of the archive as lines of JSON, one trace or slice of a trace at a time."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

import orjson

from ..model import LogEvent, Span
from ..store import Store
from ..store.selecting import Selection, TraceSize, batches
from ..wire.logs_json_encode import encode_logs
from ..wire.otlp_json_encode import encode
from .stage_json import stage_json

# Spans in a line. A line should be no larger than the requests that receivers take.
_SLICE: Final = 1_000

Item = TypeVar("Item", Span, LogEvent)
Lines = Callable[[Store, Selection], Iterator[tuple[int, list[bytes]]]]


def otlp(store: Store, wanted: Selection) -> Iterator[tuple[int, list[bytes]]]:
    """Traces as requests of OTLP/JSON; gives how many traces and their lines.

    Spans first, then log events: one file holds both. Each trace is as of one moment.

    Raises:
        Unavailable: the database cannot be reached.
    """
    for batch in batches(store, wanted):
        yield len(batch), list(_otlp(store, batch))


def _otlp(store: Store, batch: Sequence[TraceSize]) -> Iterator[bytes]:
    for trace in store.archived([item.trace_id for item in batch]):
        for spans in _slices(trace.spans):
            yield encode(spans)
        for events in _slices(trace.logs):
            yield encode_logs(events)


def _slices(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items in pieces, those of a resource and scope together, so that these are written once in a piece."""
    ordered = iter(sorted(items, key=lambda item: (item.resource.id, item.scope.id)))
    while piece := list(islice(ordered, _SLICE)):
        yield piece


def jsonl(store: Store, wanted: Selection) -> Iterator[tuple[int, list[bytes]]]:
    """Stages of traces as StageEvent JSON, each in a line; of one run only, if `wanted` names it.

    Raises:
        Unavailable: the database cannot be reached.
    """
    for batch in batches(store, wanted):
        stages = (stage for trace in batch for stage in store.trace_stages(trace.trace_id, wanted.run_id))
        yield len(batch), [orjson.dumps(stage_json(stage)) for stage in stages]


FORMATS: Final[dict[str, Lines]] = {"otlp": otlp, "jsonl": jsonl}
"""What can be written, by name."""
