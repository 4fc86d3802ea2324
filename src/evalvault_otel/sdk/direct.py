"""Spans straight into a database, by the way that a server's requests take: decoded, grouped, committed, assembled.

This is the one module of the application side that imports the server side; it is imported when `db=` asks for it. All
of the database's work is done in one thread, which is started early: at the end of a program none can be started.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry

from ..errors import EvalVaultError, Unavailable
from ..ingest.assembler import Assembler
from ..ingest.commit import Committer
from ..ingest.grouping import Grouped
from ..ingest.mapping import Mapping
from ..ingest.telemetry import IngestTelemetry
from ..settings import Settings, load
from ..store import Pauses, RejectBounds, Store, open_store
from ..wire import Decoded, protobuf, stage_events
from ..wire.answer import Accepted
from .forks import at_fork
from .suppression import untraced
from .telling import Seldom

_LOG: Final = logging.getLogger(__name__)
Decode = Callable[[bytes], Decoded]

_MOST_WAITING: Final = 64
_LOOK_S: Final = 0.2
_PAUSE_S: Final = 2.0
_STOP_S: Final = 5.0
# Later than any pause that a trace in pieces has.
_ALL_DUE_NS: Final = 3_600_000_000_000
_NEVER: Final = float("inf")
# Handles that came along in a fork belong to the parent: closing them here would end its transactions.
_INHERITED: Final[list[object]] = []


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    decoded: Decoded
    grouped: Grouped
    answer: "Future[bool]" = field(default_factory=Future)


class _Pause:
    """The wish to have the database closed while this process forks."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.over = threading.Event()


class Direct:
    """Stores requests in a database. Its handles belong to one process: a child of a fork opens its own.

    SQLite keeps the locks of a file per process, in memory. A child that forked beside an open file would believe to
    hold locks that it does not, so nothing is open while a process forks.
    """

    def __init__(self, settings: Settings, mapping: Mapping, decode: Decode) -> None:
        self.retryable = True
        self._decode = decode
        self._settings = settings
        self._mapping = mapping
        self._latest = _NEVER
        self._stopped = False
        self._forking = threading.local()
        self._here = _Here(settings, mapping)
        at_fork(self._before_fork, self._after_fork)

    def __str__(self) -> str:
        return self._settings.db

    def send(self, body: bytes, timeout_s: float) -> bool:
        """Store a request; False when that took too long, or storage is away: it can be sent again.

        Raises:
            InvalidInput: it is none.
            Exception: what keeps it from being stored.
        """
        deadline = min(time.monotonic() + timeout_s, self._latest)
        try:
            answer = self._of_this_process().submit(self._decode(body))
            return answer.result(max(0.0, deadline - time.monotonic()))
        except (Unavailable, TimeoutError, queue.Full):
            return False

    def hurry(self, deadline: float) -> None:
        """Everything is to be over at `deadline` (of the monotonic clock)."""
        self._latest = min(deadline, self._latest)

    def stop(self) -> None:
        """Assemble what was stored, close the database: until the deadline of `hurry` at the latest."""
        self._stopped = True
        if self._here.pid == os.getpid():
            self._here.stop(max(0.0, min(self._latest, time.monotonic() + _STOP_S) - time.monotonic()))

    def _of_this_process(self) -> "_Here":
        if self._here.pid != os.getpid():
            _INHERITED.append(self._here)
            self._here = _Here(self._settings, self._mapping)
        return self._here

    def _before_fork(self) -> None:
        if not self._stopped and self._here.pid == os.getpid():
            self._forking.pause = self._here.pause()

    def _after_fork(self) -> None:
        pause: _Pause | None = self._forking.__dict__.pop("pause", None)
        if pause is not None:
            pause.over.set()


class _Here:
    """The store of one process and its thread."""

    def __init__(self, settings: Settings, mapping: Mapping) -> None:
        self.pid = os.getpid()
        self._settings = settings
        self._mapping = mapping
        self._telemetry = IngestTelemetry(CollectorRegistry())
        self._open()
        self._waiting: queue.Queue[_Request | _Pause | None] = queue.Queue(_MOST_WAITING)
        self._migrated = False
        self._in_pieces = False
        self._seldom = Seldom()
        self._thread = threading.Thread(target=self._run, name="evalvault-direct", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        """A store that has contacted nothing yet, and what works on it."""
        settings = self._settings
        bounds = RejectBounds(settings.max_rejects, settings.max_reject_bytes)
        self._store: Store = open_store(settings.db, Pauses(quiet_ns=int(settings.quiet_ms * 1e6)), bounds)
        self._committer = Committer(self._store, self._telemetry, self._mapping)
        self._assembler = Assembler(self._store, self._telemetry, self._mapping)

    def submit(self, decoded: Decoded) -> "Future[bool]":
        """Assemble a request on the caller's thread, as a server does, and queue it for ours.

        Raises:
            Full: storage is slower than what comes in.
        """
        request = _Request(decoded, self._committer.group(decoded))
        self._waiting.put_nowait(request)
        return request.answer

    def pause(self) -> _Pause:
        """Close the database until the pause is over; back when it is closed, or after some seconds in any case."""
        pause = _Pause()
        with suppress(queue.Full):
            self._waiting.put_nowait(pause)
            pause.closed.wait(_PAUSE_S)
        return pause

    def stop(self, patience_s: float) -> None:
        """Store what waits, assemble what is in pieces, close the database; back after `patience_s` in any case."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(patience_s)

    def _run(self) -> None:
        with untraced():
            self._prepare()
            while (request := self._next()) is not None:
                if isinstance(request, _Pause):
                    self._paused(request)
                else:
                    self._store_one(request)
            self._assemble(time.time_ns() + _ALL_DUE_NS)
            self._store.close()

    def _paused(self, pause: _Pause) -> None:
        self._store.close()
        pause.closed.set()
        pause.over.wait()
        self._open()

    def _next(self) -> "_Request | _Pause | None":
        """The next request; None at the end. In the pauses, traces in pieces are assembled when they are due."""
        while True:
            try:
                return self._waiting.get(timeout=_LOOK_S if self._in_pieces else None)
            except queue.Empty:
                self._assemble(time.time_ns())

    def _prepare(self) -> bool:
        """Open the database. While it is away, the next request tries again."""
        try:
            self._store.migrate()
        except EvalVaultError as error:
            self._seldom.warn(_LOG, "open", "spans cannot be stored: %s", error)
        else:
            self._migrated = True
        return self._migrated

    def _store_one(self, request: _Request) -> None:
        outcome: object = Unavailable("the database cannot be opened")
        if self._migrated or self._prepare():
            ((_, outcome),) = self._committer.commit([request], time.time_ns())
            self._in_pieces = True
        if isinstance(outcome, Exception):
            request.answer.set_exception(outcome)
            return
        if isinstance(outcome, Accepted) and outcome.rejected:
            self._seldom.warn(_LOG, "rejected", "%d spans can never be stored: %s", outcome.rejected, outcome.message)
        request.answer.set_result(True)

    def _assemble(self, now_ns: int) -> None:
        try:
            while self._assembler.step(now_ns):
                pass
            self._in_pieces = bool(self._store.due_traces(now_ns + _ALL_DUE_NS, 1))
        except EvalVaultError as error:
            self._seldom.warn(_LOG, "assemble", "traces in pieces wait for the database: %s", error)


def open_direct(db: str) -> Direct:
    """A way into a database. Nothing is contacted yet by the caller's thread.

    Raises:
        SettingsError: the database, or a setting of the server that also holds here, cannot work.
        MissingExtra: PostgreSQL is asked for and its driver is not installed.
    """
    return _opened(db, protobuf.decode)


def open_events(db: str) -> Direct:
    """The same for requests that are StageEvents as JSON."""
    return _opened(db, stage_events.decode)


def _opened(db: str, decode: Decode) -> Direct:
    # Nothing listens here, so who may send is no question.
    settings = load({"db": db, "insecure": True})
    return Direct(settings, Mapping.of(settings), decode)
