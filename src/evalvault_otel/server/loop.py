"""The one event loop that talks to clients, in a thread of its own: gRPC, OTLP/HTTP and the query API share it."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE_S = 1.0


class EventLoop:
    """An event loop that runs from the moment it is made. Use it from other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="evalvault-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run `work` in the loop and return what it returns.

        Raises:
            TimeoutError: it took longer than `timeout_s` seconds, and was cancelled.
        """
        done = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result(timeout_s)
        except TimeoutError:
            done.cancel()
            raise

    def close(self) -> None:
        """End the loop; work under way is left where it is. It returns within a second, even if the loop does not."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
