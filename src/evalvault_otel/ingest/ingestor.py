"""Group commit: many requests, one transaction, each answered after the commit.

`submit` is called by the receivers' threads with decoded requests; one writer thread takes what is waiting, stores it
and answers (ADR 0001).
"""

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace

from ..errors import InvalidInput, Unavailable
from ..model import Reject
from ..settings import Settings
from ..store import Store, TraceBatch, Written
from ..values import dumps
from ..wire import Decoded, protobuf
from ..wire.answer import Accepted
from .grouping import Grouped, group, merge, singles
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

    def __init__(self, store: Store, settings: Settings, telemetry: IngestTelemetry) -> None:
        self._store = store
        self._settings = settings
        self._telemetry = telemetry
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._queued = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="evalvault-writer", daemon=True)

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    def stop(self, patience_s: float | None = None) -> None:
        """Refuse new requests, store those that wait, then return: after `patience_s` seconds in any case."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(patience_s)
        if self._thread.is_alive():
            _LOG.warning("storage did not take what was waiting within %g s: clients will send it again", patience_s)

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
        waiting = _Waiting(decoded, group(decoded.spans, decoded.logs), size)
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
            self._answer(requests)
            self._telemetry.commit_seconds.observe(time.perf_counter() - started)
            self._telemetry.commit_requests.observe(len(requests))

    def _answer(self, requests: list[_Waiting]) -> None:
        """Store requests and answer each of them, whatever happens."""
        try:
            self._commit(requests)
        except Exception as exc:  # noqa: BLE001 - every waiting request gets its answer
            for request in requests:
                if not request.answer.done():
                    request.answer.set_exception(exc)
            if not isinstance(exc, Unavailable):
                _LOG.exception("%d requests could not be stored", len(requests))

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

    def _commit(self, requests: list[_Waiting]) -> None:
        """Store requests together; if that fails for something in one of them, each on its own."""
        try:
            rejects = [reject for request in requests for reject in request.decoded.rejects]
            self._store_spans(requests, rejects)
        except Unavailable:
            raise
        except Exception as exc:
            if len(requests) > 1:
                for request in requests:
                    self._answer([request])
                return
            if not isinstance(exc, InvalidInput):
                raise
            refused = self._salvage(requests[0])
        else:
            refused = []
        for request in requests:
            request.answer.set_result(_accepted([*request.decoded.rejects, *refused]))

    def _store_spans(self, requests: list[_Waiting], rejects: list[Reject]) -> None:
        grouped = merge([request.grouped for request in requests])
        written = self._store.write(grouped.traces, rejects, time.time_ns())
        self._count(written, rejects, grouped)
        self._telemetry.log_events.labels("other").inc(sum(request.decoded.others for request in requests))

    def _salvage(self, request: _Waiting) -> list[Reject]:
        """Store a request piece by piece where the database refuses some of them; what it refuses is rejected."""
        self._count(Written(0, 0, 0), [], replace(request.grouped, traces=[]))
        self._telemetry.log_events.labels("other").inc(request.decoded.others)
        refused: list[Reject] = []
        for batch in request.grouped.traces:
            for alone in singles(batch):
                try:
                    self._count(self._store.write([alone], [], time.time_ns()), [])
                except InvalidInput as exc:
                    refused.append(_refused(alone, str(exc)))
        rejects = [*request.decoded.rejects, *refused]
        self._store.write([], rejects, time.time_ns())
        self._count(Written(0, 0, 0), rejects)
        return refused

    def _count(self, written: Written, rejects: list[Reject], grouped: Grouped | None = None) -> None:
        """Count what was written, what was refused, and what `grouped` says besides: repetitions and whole traces."""
        grouped = grouped or Grouped([], 0, 0)
        spans, logs = self._telemetry.spans, self._telemetry.log_events
        spans.labels("stored").inc(written.stored)
        spans.labels("duplicate").inc(written.duplicates + grouped.duplicates)
        logs.labels("stored").inc(written.logs_stored)
        logs.labels("duplicate").inc(written.logs_duplicates + grouped.log_duplicates)
        for reject in rejects:
            (logs if reject.signal == "logs" else spans).labels("rejected").inc(reject.count)
        self._telemetry.conflicts.inc(written.conflicts + grouped.conflicts)
        whole = sum(batch.assembly is not None for batch in grouped.traces)
        self._telemetry.assembled.labels("ingest").inc(whole)


def _refused(batch: TraceBatch, reason: str) -> Reject:
    """A single span or log event that the database does not take."""
    if batch.spans:
        return Reject(reason, protobuf.encode(batch.spans), encoding="protobuf")
    return Reject(reason, dumps([asdict(event) for event in batch.logs]).encode(), signal="logs", encoding="json")


def _accepted(rejects: list[Reject]) -> Accepted:
    if not rejects:
        return Accepted()
    reasons = list(dict.fromkeys(reject.reason for reject in rejects))
    more = f" (and {len(reasons) - 3} more reasons)" if len(reasons) > 3 else ""  # noqa: PLR2004 - enough to see why
    return Accepted(len(rejects), "; ".join(reasons[:3]) + more)
