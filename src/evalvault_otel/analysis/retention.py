"""Removing what is old while others write: slice after slice, with a rest after each."""

import time
from collections.abc import Iterator
from threading import Event
from typing import Final

from ..store import Store
from ..store.upkeep_records import Pruned

# A slice that takes longer is made smaller: writers of the same traces, and on SQLite all writers, wait for it.
_LONG_S: Final = 0.25
# After a slice we rest five times as long as it took: five sixths of the database are for others.
_REST: Final = 5.0
_SHORTEST_REST_S: Final = 0.01
_FIRST: Final = 10


def prune(store: Store, before_ns: int, most: int, stop: Event) -> Iterator[Pruned]:
    """Remove all traces of which nothing arrived since `before_ns`, at most `most` in a transaction, then old rejects.

    Gives what each slice removed. Ends early, between two slices, when `stop` is set; what is left goes the next time.

    Raises:
        Unavailable: the database cannot be reached; the slices before this one are done.
    """
    size = min(most, _FIRST)
    while not stop.is_set():
        begun = time.monotonic()
        gone = store.prune(before_ns, size)
        took = time.monotonic() - begun
        if not gone.traces:
            yield Pruned({"reject": store.prune_rejects(before_ns)})
            return
        yield gone
        size = max(1, size // 2) if took > _LONG_S else min(most, size * 2)
        stop.wait(max(_SHORTEST_REST_S, _REST * took))
