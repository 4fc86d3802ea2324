"""Another mapping over traces that are there, page by page in the order of their ids, while others write (ADR 0020)."""

import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Final

from ..store import Store
from ..store.remap_records import Remapped
from ..store.selecting import Selection, TraceSize
from .mapping import Mapping

# What is assembled and replaced together: it is in memory, and on SQLite all writers wait while it is replaced.
_BATCH_SPANS: Final = 512
_BATCH_TRACES: Final = 128
_PAGE: Final = 1_000


def outdated(wanted: Selection, mapping: Mapping, *, force: bool = False) -> Selection:
    """Of these traces those that another mapping assembled; with `force` all that are assembled."""
    return replace(wanted, assembled=True, not_mapping=None if force else mapping.version)


def remap(
    store: Store, wanted: Selection, mapping: Mapping, stop: Event, *, write: bool = True
) -> Iterator[tuple[int, Remapped]]:
    """Assemble these traces again; gives, after each batch, how many traces it held and what became of them.

    Ends early, between two batches, when `stop` is set. Where `wanted` leaves out what this mapping made, the next call
    goes on where this one stopped, or was killed.

    Raises:
        Unavailable: the database cannot be reached; the batches before this one are done.
    """
    for batch in batches(store, wanted):
        if stop.is_set():
            return
        yield len(batch), store.remap([trace.trace_id for trace in batch], mapping, time.time_ns(), write=write)


def batches(store: Store, wanted: Selection) -> Iterator[list[TraceSize]]:
    """These traces in groups that fit into memory; a larger trace is a group of its own."""
    batch: list[TraceSize] = []
    size = 0
    for trace in _walk(store, wanted):
        if batch and (size + trace.span_count > _BATCH_SPANS or len(batch) == _BATCH_TRACES):
            yield batch
            batch, size = [], 0
        batch.append(trace)
        size += trace.span_count + trace.log_count
    if batch:
        yield batch


def _walk(store: Store, wanted: Selection) -> Iterator[TraceSize]:
    after = ""
    while page := store.selected_traces(wanted, _PAGE, after):
        yield from page
        after = page[-1].trace_id
