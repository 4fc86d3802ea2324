"""Another mapping over traces that are there, page by page in the order of their ids, while others write (ADR 0020)."""

import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Event

from ..store import Store
from ..store.remap_records import Remapped
from ..store.selecting import Selection, batches
from .mapping import Mapping


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
