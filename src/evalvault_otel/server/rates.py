"""Rate limits per API key: names and sizes in, nothing or RateLimited out. Off unless a rate is set.

Two token buckets per key, one for requests and one for bytes, each of one second's worth. A request is let in while
both have credit, before its body is read; its bytes are taken afterwards and may leave a debt. So a request larger than
the bucket is possible, the mean rate holds all the same, and nothing is read only to be refused.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from ..errors import RateLimited
from ..settings import Settings

_ONE: Final = 1.0


class RateLimits:
    """The limits of one process. Safe for many threads."""

    def __init__(
        self, requests_per_s: float = 0.0, bytes_per_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = tuple(
            (rate, unit) for rate, unit in ((requests_per_s, "requests"), (bytes_per_s, "bytes")) if rate
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    @classmethod
    def of(cls, settings: Settings) -> "RateLimits":
        """The limits that the settings name."""
        return cls(settings.rate_requests, settings.rate_bytes)

    def admit(self, name: str) -> None:
        """Let one request of the key `name` in.

        Raises:
            RateLimited: it has no credit left; nothing was taken.
        """
        if not self._limits:
            return
        with self._lock:
            for rate, unit in self._limits:
                if self._bucket(name, rate, unit).level < _ONE:
                    raise RateLimited(f"more than {rate:g} {unit} per second with this API key")
            self._take(name, "requests", _ONE)

    def charge(self, name: str, size: int) -> None:
        """Take the bytes of a request that was let in."""
        if self._limits:
            with self._lock:
                self._take(name, "bytes", size)

    def _take(self, name: str, unit: str, cost: float) -> None:
        bucket = self._buckets.get((name, unit))
        if bucket:
            bucket.level -= cost

    def _bucket(self, name: str, rate: float, unit: str) -> "_Bucket":
        now = self._clock()
        bucket = self._buckets.setdefault((name, unit), _Bucket(max(rate, _ONE), now))
        bucket.fill(rate, now)
        return bucket


class _Bucket:
    """Credit of one key in one unit. It is full at first and holds one second's worth, one request or byte at least."""

    __slots__ = ("_size", "_time", "level")

    def __init__(self, size: float, now: float) -> None:
        self._size = self.level = size
        self._time = now

    def fill(self, rate: float, now: float) -> None:
        """Add what came together since the last time."""
        self.level = min(self._size, self.level + rate * max(0.0, now - self._time))
        self._time = now
