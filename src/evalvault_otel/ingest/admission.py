"""How much of what clients send may be in memory at once: a bound in bytes, kept from the first byte to the commit."""

import threading

from ..errors import Overloaded
from .telemetry import IngestTelemetry

# Also a request of a few bytes costs some objects and a place in the queue.
_LEAST = 4096


class Admission:
    """Lets requests in until they hold `limit` bytes together. Safe for many threads."""

    def __init__(self, limit: int, telemetry: IngestTelemetry) -> None:
        self._limit = limit
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._held = 0

    def enter(self, size: int = 0) -> "Room":
        """Room for a request of `size` bytes, as far as they are known.

        Raises:
            Overloaded: the bound is reached.
        """
        room = Room(self)
        room.grow(max(size, _LEAST))
        return room

    def move(self, held: int, by: int) -> None:
        """Change what is held; `held` is what the same request holds already.

        Raises:
            Overloaded: the bound is reached. A single request always fits when no other holds anything.
        """
        with self._lock:
            if by > 0 and self._held > held and self._held + by > self._limit:
                raise Overloaded(f"{self._held} bytes are waiting for storage; try again in a moment")
            self._held += by
            self._telemetry.waiting_bytes.set(self._held)


class Room:
    """What one request holds. To be left once, when its bytes are needed no more; leaving twice is harmless."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._size = 0

    def grow(self, by: int) -> None:
        """Hold `by` bytes more.

        Raises:
            Overloaded: the bound is reached; what was held before still is.
        """
        self._admission.move(self._size, by)
        self._size += by

    def fit(self, size: int) -> None:
        """Hold `size` bytes in all, if that is more than now.

        Raises:
            Overloaded: the bound is reached.
        """
        if size > self._size:
            self.grow(size - self._size)

    def leave(self) -> None:
        """Give everything back."""
        size, self._size = self._size, 0
        self._admission.move(size, -size)
