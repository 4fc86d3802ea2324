"""Spans that wait for their export: bounded by number and by memory, the newest dropped, every one of them counted.

`offer` is called in the program's threads, everything else in the worker's or in those of a flush.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of ended spans so far. `waiting` ones may still be delivered.

    `dropped` were not taken, because too many were waiting or the processor had been shut down; `failed` could not be
    exported.
    """

    delivered: int
    dropped: int
    failed: int
    waiting: int

    @property
    def lost(self) -> int:
        """Spans that will never arrive."""
        return self.dropped + self.failed


_BATCH_BYTES: Final = 4 * 1024 * 1024


class SpanBuffer(Generic[T]):
    """A bounded queue of spans, or of what else `size_of` can say the size of.

    A batch that is taken counts until it is `settled`, so that memory stays bounded meanwhile.
    """

    def __init__(self, max_spans: int, max_bytes: int, max_batch: int, size_of: Callable[[T], int]) -> None:
        self._size_of = size_of
        self.changed = threading.Condition(threading.Lock())
        self._spans: deque[tuple[T, int]] = deque()
        self._limits = max_spans, max_bytes
        self._max_batch = max_batch
        self._bytes = 0
        self._taken: list[tuple[T, int]] = []
        self._accepted = self._delivered = self._dropped = self._failed = 0
        self._closed = False

    def offer(self, span: T) -> bool:
        """Take a span, if there is room; wakes the worker when a batch is full."""
        size = self._size_of(span)
        max_spans, max_bytes = self._limits
        with self.changed:
            waiting = len(self._spans) + len(self._taken)
            if self._closed or waiting >= max_spans or self._bytes + size > max_bytes:
                self._dropped += 1
                return False
            self._spans.append((span, size))
            self._bytes += size
            self._accepted += 1
            # At this number only: each span that follows would wake somebody who is already on the way.
            if len(self._spans) == self._max_batch:
                self.changed.notify_all()
        return True

    def take(self) -> list[T]:
        """The next batch: the one that was put back, else the oldest spans, as many as a request should have."""
        with self.changed:
            size = sum(size for _, size in self._taken)
            while self._spans and len(self._taken) < self._max_batch and size < _BATCH_BYTES:
                self._taken.append(self._spans.popleft())
                size += self._taken[-1][1]
            return [span for span, _ in self._taken]

    def put_back(self) -> None:
        """The batch at hand is to be tried again later."""
        with self.changed:
            self._spans.extendleft(reversed(self._taken))
            self._taken.clear()

    def settle(self, *, delivered: bool) -> None:
        """The batch at hand was delivered, or will never be."""
        with self.changed:
            count = len(self._taken)
            self._bytes -= sum(size for _, size in self._taken)
            self._taken.clear()
            if delivered:
                self._delivered += count
            else:
                self._failed += count
            self.changed.notify_all()

    def close(self) -> None:
        """Take no more spans: what is offered from now on is dropped."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def abandon(self) -> None:
        """Give up what waits."""
        with self.changed:
            self._failed += len(self._spans) + len(self._taken)
            self._spans.clear()
            self._taken.clear()
            self._bytes = 0
            self.changed.notify_all()

    @property
    def accepted(self) -> int:
        """How many spans were ever taken."""
        return self._accepted

    @property
    def settled(self) -> int:
        """How many of these have been delivered or given up, the oldest first."""
        return self._delivered + self._failed

    @property
    def has_batch(self) -> bool:
        """Whether a full batch waits."""
        return len(self._spans) >= self._max_batch

    def __len__(self) -> int:
        return len(self._spans) + len(self._taken)

    def counts(self) -> Counts:
        """What became of all spans so far."""
        with self.changed:
            return Counts(self._delivered, self._dropped, self._failed, len(self))
