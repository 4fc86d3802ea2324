"""The thread behind a span processor: spans from a buffer to an exporter, in batches, one export at a time.

It is started with the processor, because at the end of a program no thread can be started any more (CPython 3.12); in
the child of a fork it is started with the first span. Where none can be started, who flushes or stops does the work.
"""

import inspect
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from opentelemetry.sdk.trace.export import SpanExportResult

from .buffer import SpanBuffer
from .config import SdkSettings
from .suppression import untraced
from .telling import Seldom

T = TypeVar("T")
S_contra = TypeVar("S_contra", contravariant=True)

_LOG: Final = logging.getLogger(__name__)
# A batch that could not be sent is tried again after these pauses, and given up when it is that old.
_FIRST_PAUSE_S: Final = 1.0
_LAST_PAUSE_S: Final = 30.0
_GIVE_UP_S: Final = 300.0
_ALL: Final = float("inf")


class Exporter(Protocol[S_contra]):
    """What a worker needs of a `SpanExporter`, or of one of something else."""

    def export(self, batch: Sequence[S_contra], /) -> SpanExportResult:
        """Deliver a batch."""

    def force_flush(self, timeout_millis: int = ..., /) -> bool:
        """Deliver what it still holds."""

    def shutdown(self) -> None:
        """Let go of everything."""


class Worker(Generic[T]):
    """Exports what is offered. All its methods may be called by any thread."""

    def __init__(self, exporter: Exporter[T], settings: SdkSettings, size_of: Callable[[T], int]) -> None:
        limits = settings.max_queue_size, settings.max_queue_bytes, settings.max_batch_size
        self.buffer: SpanBuffer[T] = SpanBuffer(*limits, size_of)
        self.stopping = False
        self._exporter = exporter
        self._delay_s = settings.schedule_delay_ms / 1000
        self._shutdown_s = settings.shutdown_timeout_ms / 1000
        self._deadline = 0.0
        self._asked = 0
        self._answered: float = 0
        self._lost_before = 0
        self._pause_s = 0.0
        self._since = 0.0
        self._done = threading.Event()
        self._exporting = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._seldom = Seldom()

    def start(self) -> None:
        """Start the thread, once."""
        with self._starting:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="evalvault-export", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # the interpreter is on its way out: who flushes or stops does the work
            self._thread = thread

    def offer(self, span: T) -> None:
        """Take a span, or drop it."""
        if self._thread is None:
            self.start()
        self.buffer.offer(span)

    def flush(self, deadline: float) -> bool:
        """Export all that was offered before; True if nothing was lost since the flush before. Back at `deadline`."""
        upto = self.buffer.accepted
        if self._thread is None:
            self._export_all(upto, deadline)
        else:
            ticket = self._ask(deadline)
            with self.buffer.changed:
                self.buffer.changed.wait_for(lambda: self._answered >= ticket, max(0.0, deadline - time.monotonic()))
        lost = self.buffer.counts().lost
        complete = self.buffer.settled >= upto and lost == self._lost_before
        self._lost_before = lost
        return complete

    def stop(self, deadline: float) -> None:
        """Export what waits, then let go of the exporter: back at `deadline` in any case."""
        if self.stopping:
            return
        self._deadline = deadline
        self.stopping = True
        self.buffer.close()
        self._hurry(deadline)
        if self._thread is None:
            self._run_down()
        self._done.wait(max(0.0, deadline - time.monotonic()))
        if not self._done.is_set():
            self._release(deadline)
        self.buffer.abandon()
        self._answer(_ALL)
        self._tell()

    # What runs in the thread.

    def _run(self) -> None:
        with untraced():
            while not self.stopping:
                self._idle()
                if not self.stopping:
                    self._step()
            self._run_down()

    def _idle(self) -> None:
        """Wait for a full batch, a flush, the end, or the usual pause."""
        pause_s = self._pause_s or self._delay_s
        with self.buffer.changed:
            self.buffer.changed.wait_for(self._is_wanted, pause_s)

    def _is_wanted(self) -> bool:
        return self.stopping or self._asked > self._answered or (not self._pause_s and self.buffer.has_batch)

    def _step(self) -> None:
        asked = self._asked
        if asked > self._answered:
            self._export_all(self.buffer.accepted, self._deadline)
            self._flush_exporter()
            self._answer(asked)
        else:
            self._export_all(self.buffer.accepted, time.monotonic() + self._delay_s)
        self._tell()

    def _run_down(self) -> None:
        with untraced():
            self._export_all(self.buffer.accepted, self._deadline)
        self._release(self._deadline)
        self._done.set()
        self._answer(_ALL)

    def _export_all(self, upto: int, deadline: float) -> None:
        """Export until `upto` spans are settled, one could not be sent, or time is over."""
        while self.buffer.settled < upto and time.monotonic() < deadline and self._export_batch():
            pass

    def _export_batch(self) -> bool:
        """Export the next batch; False if it is to be tried again later."""
        with self._exporting:
            batch = self.buffer.take()
            if not batch:
                return False
            delivered = self._export(batch)
            if not delivered and self._worth_another_try():
                self.buffer.put_back()
                self._pause_s = min(2 * self._pause_s or _FIRST_PAUSE_S, _LAST_PAUSE_S)
                return False
            self._pause_s = self._since = 0.0
            self.buffer.settle(delivered=delivered)
            return True

    def _export(self, batch: list[T]) -> bool:
        try:
            return self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 - whatever an exporter does, the next batch is tried
            self._seldom.warn(_LOG, "export", "the exporter raised %s: %s", type(error).__name__, error)
            return False

    def _worth_another_try(self) -> bool:
        """Whether the exporter says that a later attempt may work, and the batch is not too old for it."""
        now = time.monotonic()
        self._since = self._since or now
        if self.stopping or now - self._since > _GIVE_UP_S:
            return False
        return bool(getattr(self._exporter, "retryable", False))

    # Beside the thread.

    def _ask(self, deadline: float) -> int:
        """Ask the thread for a flush; the number under which it answers."""
        with self.buffer.changed:
            self._deadline = max(deadline, self._deadline)
            self._asked += 1
            self.buffer.changed.notify_all()
            return self._asked

    def _answer(self, asked: float) -> None:
        """Wake those whose flush is over."""
        with self.buffer.changed:
            self._answered = asked
            self.buffer.changed.notify_all()

    def _hurry(self, deadline: float) -> None:
        """Tell our own exporter when everything must be over."""
        hurry: Any = getattr(self._exporter, "hurry", None)
        if hurry is not None:
            hurry(deadline)

    def _flush_exporter(self) -> None:
        left_ms = int(1000 * max(0.0, self._deadline - time.monotonic()))
        try:
            self._exporter.force_flush(left_ms)
        except Exception as error:  # noqa: BLE001 - whatever an exporter does, the thread goes on
            self._seldom.warn(_LOG, "flush", "the exporter's flush raised %s: %s", type(error).__name__, error)

    def _release(self, deadline: float) -> None:
        """Shut the exporter down. One that knows no timeout might block, so it is asked by the thread only."""
        timed = "timeout_millis" in inspect.signature(self._exporter.shutdown).parameters
        if not timed and threading.current_thread() is not self._thread and self._thread is not None:
            return
        left_ms = int(1000 * max(0.0, deadline - time.monotonic()))
        shutdown: Any = self._exporter.shutdown
        try:
            shutdown(**({"timeout_millis": left_ms} if timed else {}))
        except Exception as error:  # noqa: BLE001 - whatever an exporter does, the program ends
            self._seldom.warn(_LOG, "shutdown", "the exporter's shutdown raised %s: %s", type(error).__name__, error)

    def _tell(self) -> None:
        """Say what was lost, at most once a minute."""
        counts = self.buffer.counts()
        if counts.lost > self._seldom.told.get("lost", 0):
            said = "%d spans lost so far: %d dropped because too many were waiting, %d could not be exported"
            if self._seldom.warn(_LOG, "lost", said, counts.lost, counts.dropped, counts.failed):
                self._seldom.told["lost"] = counts.lost
