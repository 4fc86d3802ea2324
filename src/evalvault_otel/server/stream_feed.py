"""The live stream between the store and its readers (ADR 0030).

Every reader is at a position of its own and takes the next page when it has sent the one before. So there is nothing
to buffer, and a slow reader is simply further behind. Readers at the same position share a page. One page is read at a
time, so that all readers together keep one connection to the database busy, and not more than half of the time.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

from anyio import to_thread

from ..errors import TooManyReaders, Unavailable
from ..store import Store
from ..store.changes import Position
from .stream_events import Event, EventPage, Wanted, heartbeat, page_after, reset

T = TypeVar("T")

_POLL_S: Final = 0.1
_AWAY_S: Final = 1.0
# Pages that readers near the end of the stream have in common.
_PAGES_KEPT: Final = 4


class Feed:
    """What changes in a store, for a bounded number of readers. It costs nothing while there is none.

    All methods but the constructor run in the event loop.
    """

    def __init__(self, store: Store, most_readers: int, heartbeat_s: float) -> None:
        self._store = store
        self._most = most_readers
        self.heartbeat_s = heartbeat_s
        self.stopping = asyncio.Event()
        self._readers = 0
        self._reading = asyncio.Lock()
        self._pages: OrderedDict[Position, tuple[EventPage, int]] = OrderedDict()
        self._latest = (-1.0, 0)
        self._rest_until = 0.0

    def stop(self) -> None:
        """End all streams, and take no more readers."""
        self.stopping.set()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the readers, until the end of the context.

        Raises:
            TooManyReaders: there is none left.
            Unavailable: the server is shutting down.
        """
        if self.stopping.is_set():
            raise Unavailable("the server is shutting down")
        if self._readers >= self._most:
            raise TooManyReaders(f"{self._most} readers have the stream already (--max-streams): try again later")
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    async def start(self, after: Position | None) -> tuple[Position, Event]:
        """Where a reader begins that has read up to `after`, or wants what comes from now on; and its first event.

        Raises:
            Unavailable: the database cannot be reached.
        """
        settled = await self._read(self._store.settled)
        if after is None:
            return settled, heartbeat(settled, time.time_ns())
        if not await self._read(partial(self._store.may_know, after)):
            return settled, reset(after, settled)
        return after, heartbeat(after, time.time_ns())

    async def follow(self, position: Position, wanted: Wanted, *, endless: bool = True) -> AsyncIterator[Event]:
        """What a reader wants, from a position on. It ends when nothing more is there, unless it is to be `endless`."""
        drained = -1
        spoke = time.monotonic()
        while True:
            page = None
            try:
                latest = await self._latest_change()
                page, seen = await self._page(position, latest) if latest != drained else (None, drained)
            except Unavailable:
                await asyncio.sleep(_AWAY_S)
            else:
                drained = drained if page and page.more else seen
                if page is None or not page.traces:
                    if not endless:
                        return
                    await asyncio.sleep(_POLL_S)
            for event in page.events(wanted) if page else ():
                yield event
                spoke = time.monotonic()
            position = page.upto if page else position
            if time.monotonic() - spoke >= self.heartbeat_s:
                yield heartbeat(position, time.time_ns())
                spoke = time.monotonic()

    async def _latest_change(self) -> int:
        """One look into the store for all readers, a few times a second."""
        async with self._reading:
            seen, latest = self._latest
            if time.monotonic() - seen >= _POLL_S:
                latest = await self._read(self._store.latest_change)
                self._latest = time.monotonic(), latest
            return latest

    async def _page(self, after: Position, latest: int) -> tuple[EventPage, int]:
        """The page after a position, and what was the latest change when it was read."""
        async with self._reading:
            page, seen = self._pages.get(after, (None, latest))
            if page is not None and (page.traces or seen == latest):
                return page, seen
            await asyncio.sleep(self._rest_until - time.monotonic())
            began = time.monotonic()
            page = await self._read(partial(page_after, self._store, after))
            self._rest_until = 2 * time.monotonic() - began
            self._pages[after] = page, latest
            while len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
            return page, latest

    @staticmethod
    async def _read(read: Callable[[], T]) -> T:
        """In a thread, which a reader that leaves does not wait for."""
        return await to_thread.run_sync(read, abandon_on_cancel=True)
