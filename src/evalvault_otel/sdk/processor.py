"""`EvalVaultSpanProcessor`: spans of an application in, batches to an exporter out, nothing of it felt by the host.

A span that starts is stamped with its run; one that has ended waits in a `SpanBuffer` for the `Worker`, a thread of its
own. What the OpenTelemetry specification demands of span processors ("Tracing SDK", Span processor) is kept: hooks
neither block nor raise, a flush keeps its deadline before anything else, a second shutdown does nothing.
"""

import logging
import os
import time
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from . import guard
from .buffer import Counts
from .config import read_settings
from .context import stamp
from .exit_hooks import before_exit_of_child
from .exporter import EvalVaultSpanExporter
from .forks import at_fork
from .sizes import size_of
from .worker import Worker

_LOG: Final = logging.getLogger(__name__)


class EvalVaultSpanProcessor(SpanProcessor):
    """Stamps spans with their run and exports them in batches, by default to an EvalVault receiver.

    Usable beside any other span processor. What is not given comes from the environment (see `SdkSettings`); times are
    in milliseconds. Spans that are not sampled are not exported.
    """

    def __init__(  # noqa: PLR0913 - one parameter per setting, all of them by name
        self,
        exporter: SpanExporter | None = None,
        *,
        endpoint: str | None = None,
        db: str | None = None,
        api_key: str | None = None,
        max_queue_size: int | None = None,
        max_queue_bytes: int | None = None,
        max_batch_size: int | None = None,
        schedule_delay_ms: int | None = None,
        shutdown_timeout_ms: int | None = None,
        trust_baggage: bool | None = None,
    ) -> None:
        self._settings = read_settings(
            max_queue_size=max_queue_size,
            max_queue_bytes=max_queue_bytes,
            max_batch_size=max_batch_size,
            schedule_delay_ms=schedule_delay_ms,
            shutdown_timeout_ms=shutdown_timeout_ms,
            trust_baggage=trust_baggage,
        )
        if self._settings.strict:
            guard.strict()
        self.exporter = exporter or EvalVaultSpanExporter(endpoint, db=db, api_key=api_key)
        self._trust_baggage = self._settings.trust_baggage
        self._pid = os.getpid()
        self._worker = Worker(self.exporter, self._settings, size_of)
        self._worker.start()
        self._first = True
        at_fork(in_child=self._after_fork)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp a span that starts."""
        stamp(span, parent_context, trust_baggage=self._trust_baggage)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that has ended; without room it is dropped and counted."""
        try:
            if span.context is not None and span.context.trace_flags.sampled:
                if self._pid != os.getpid():
                    self._after_fork()  # uWSGI forks without Python's hooks
                if self._first:
                    self._first = False
                    before_exit_of_child(self._flush_at_exit)
                self._worker.offer(span)
        except Exception as error:  # noqa: BLE001 - called in the program's thread
            guard.failed("on_end", error)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended so far; True if all of it, and all since the flush before, was delivered in time."""
        try:
            return self._here().flush(time.monotonic() + timeout_millis / 1000)
        except Exception as error:  # noqa: BLE001 - called in the program's thread
            guard.failed("force_flush", error)
            return False

    def shutdown(self, timeout_millis: int | None = None) -> None:
        """Export what waits and stop, within the time (by default `shutdown_timeout_ms`); the second call is idle."""
        timeout_ms = self._settings.shutdown_timeout_ms if timeout_millis is None else timeout_millis
        try:
            self._here().stop(time.monotonic() + timeout_ms / 1000)
        except Exception as error:  # noqa: BLE001 - called in the program's thread
            guard.failed("shutdown", error)

    def counts(self) -> Counts:
        """What became of the spans of this process so far."""
        return self._worker.buffer.counts()

    @property
    def stopped(self) -> bool:
        """Whether it has been shut down."""
        return self._worker.stopping

    def _here(self) -> Worker[ReadableSpan]:
        """The worker of this process."""
        if self._pid != os.getpid():
            self._after_fork()
        return self._worker

    def _after_fork(self) -> None:
        """In a child: the parent exports what waited there; locks and the thread did not come along."""
        stopped = self._worker.stopping
        self._worker = Worker(self.exporter, self._settings, size_of)
        self._pid = os.getpid()
        if stopped:
            self._worker.buffer.close()
            self._worker.stopping = True
        self._first = True

    def _flush_at_exit(self) -> None:
        self.force_flush(self._settings.shutdown_timeout_ms)
