"""Group commit: many requests, one transaction, each answered after the commit.

`submit` is called by the receivers' threads with decoded requests; one writer thread takes what is waiting, stores it
and answers (ADR 0001).
"""

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from ..assembly import assemble
from ..errors import Unavailable
from ..settings import Settings
from ..store import Store
from ..store.base import Assemble
from ..wire import Decoded
from ..wire.answer import Accepted
from .commit import Committer, accepted
from .grouping import Grouped
from .replay import open_backlog
from .telemetry import IngestTelemetry

_LOG = logging.getLogger(__name__)
# One transaction's worth is being written, as much again is ready to be.
_GROUPS_WAITING = 1


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    decoded: Decoded
    grouped: Grouped
    size: int
    answer: Future[Accepted] = field(default_factory=Future)


class Ingestor:
    """The one way into the store. Start it, submit from any thread, stop it: a stop stores what is waiting."""

    def __init__(
        self, store: Store, settings: Settings, telemetry: IngestTelemetry, assemble: Assemble = assemble
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._committer = Committer(store, telemetry, assemble)
        self._backlog = open_backlog(store, self._committer, settings, telemetry)
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._queued = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="evalvault-writer", daemon=True)

    def start(self) -> None:
        """Begin to store, and to replay what waits in the spool."""
        if self._backlog is not None:
            self._backlog.start()
        self._thread.start()

    def stop(self, patience_s: float | None = None) -> None:
        """Refuse new requests, store those that wait (in the spool, if storage is away), then return.

        It returns after `patience_s` seconds in any case.
        """
        started = time.monotonic()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(patience_s)
        if self._thread.is_alive():
            _LOG.warning("storage did not take what was waiting within %g s: clients will send it again", patience_s)
        elif self._backlog is not None:
            self._backlog.stop(None if patience_s is None else patience_s - (time.monotonic() - started))

    def wait_for_room(self, patience_s: float) -> None:
        """Return when little enough waits: decoded requests are several times as large as their bytes.

        Raises:
            Unavailable: that was not so within `patience_s` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(self._has_room, patience_s):
                raise Unavailable("storage is slower than what comes in; try again in a moment")

    def submit(self, decoded: Decoded, size: int) -> Future[Accepted]:
        """Assemble a decoded request, on the caller's thread, and queue it.

        The future gives the answer after the commit, or raises `Unavailable`.

        Raises:
            Unavailable: the server is shutting down.
        """
        waiting = _Waiting(decoded, self._committer.group(decoded), size)
        with self._changed:
            if self._stopping:
                raise Unavailable("the server is shutting down")
            self._queue.append(waiting)
            self._queued += size
            self._changed.notify_all()
        return waiting.answer

    def _has_room(self) -> bool:
        return self._stopping or not self._queue or self._queued < _GROUPS_WAITING * self._settings.commit_bytes

    def _run(self) -> None:
        while requests := self._next_group():
            started = time.perf_counter()
            try:
                self._answer(requests)
            except Exception as exc:  # noqa: BLE001 - every waiting request gets its answer
                _LOG.exception("%d requests could not be stored", len(requests))
                for request in requests:
                    if not request.answer.done():
                        self._give(request, exc)
            self._telemetry.commit_seconds.observe(time.perf_counter() - started)
            self._telemetry.commit_requests.observe(len(requests))

    def _answer(self, requests: list[_Waiting]) -> None:
        """Store requests, or keep them in the spool while storage is away, and answer each of them."""
        received_ns = time.time_ns()
        late = requests
        if self._backlog is None or not self._backlog.is_away():
            late = self._commit(requests, received_ns)
        if late and self._backlog is not None:
            outcomes = self._backlog.keep([request.decoded for request in late], received_ns)
            for request, problem in zip(late, outcomes, strict=True):
                self._give(request, accepted(request.decoded.rejects) if problem is None else problem)

    def _commit(self, requests: list[_Waiting], received_ns: int) -> list[_Waiting]:
        """Store requests and answer them; returns those that wait for the spool because storage is away."""
        late: list[_Waiting] = []
        for request, outcome in self._committer.commit(requests, received_ns):
            if self._backlog is not None and isinstance(outcome, Unavailable):
                self._backlog.fails(outcome)
                late.append(request)
            else:
                self._give(request, outcome)
        if self._backlog is not None and not late:
            self._backlog.works()
        return late

    def _give(self, request: _Waiting, outcome: Accepted | Exception) -> None:
        failed = isinstance(outcome, Exception)
        self._telemetry.traces.labels("failed" if failed else "stored").inc(len(request.grouped.traces))
        if isinstance(outcome, Exception):
            request.answer.set_exception(outcome)
        else:
            request.answer.set_result(outcome)

    def _next_group(self) -> list[_Waiting]:
        """Wait for requests, a little longer for more of them; empty when stopping and nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            deadline = time.monotonic() + self._settings.commit_delay_ms / 1000
            while self._queued < self._settings.commit_bytes and not self._stopping:
                if not self._changed.wait(deadline - time.monotonic()) or time.monotonic() >= deadline:
                    break
            taken: list[_Waiting] = []
            size = 0
            while self._queue and (not taken or size + self._queue[0].size <= self._settings.commit_bytes):
                taken.append(self._queue.popleft())
                size += taken[-1].size
            self._queued -= size
            self._changed.notify_all()
            return taken
