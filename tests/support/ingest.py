"""What tests of ingest, the receivers and the server share: requests, a store with faults, rows of `reject`."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import psycopg
from prometheus_client import CollectorRegistry

from evalvault_otel.assembly import assemble
from evalvault_otel.ingest import Ingestor, IngestTelemetry
from evalvault_otel.model import Assembly, Reject, Span
from evalvault_otel.settings import Settings
from evalvault_otel.store import Store, TraceBatch, Written, open_store
from evalvault_otel.store.base import Assemble
from evalvault_otel.store.sqlite import SqliteStore
from evalvault_otel.wire import Decoded
from tests.support.traces import TRACE_ID, in_trace, new_trace_id, span, stage


def trace_of(trace_id: str | None = None) -> list[Span]:
    """A whole small trace: a root with a retrieval and an output below it; by default with an id of its own."""
    spans = [span(1), stage(2, 1, "retrieval", start=10, end=40), stage(3, 1, "output", start=50, end=90)]
    return in_trace(spans, trace_id or new_trace_id())


def decoded(spans: Iterable[Span], *rejects: Reject) -> Decoded:
    """A request as the border hands it on."""
    return Decoded(list(spans), list(rejects))


class FaultyStore(SqliteStore):
    """A real SQLite store whose writes can be held back and made to fail.

    Writes wait until `gate` is set (it is at first). `fault` and `assembly_fault` are called before the real work with
    the spans or the trace id, and may raise.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.fault: Callable[[list[Span]], None] | None = None
        self.assembly_fault: Callable[[str], None] | None = None

    def write(self, traces: Sequence[TraceBatch], rejects: Sequence[Reject], received_ns: int) -> Written:
        self.entered.set()
        assert self.gate.wait(30), "nobody opened the gate"
        if self.fault is not None:
            self.fault([item for batch in traces for item in batch.spans])
        return super().write(traces, rejects, received_ns)

    def reassemble(self, trace_id: str, assemble: Assemble, now_ns: int) -> bool:
        if self.assembly_fault is not None:
            self.assembly_fault(trace_id)
        return super().reassemble(trace_id, assemble, now_ns)


@dataclass(frozen=True, slots=True)
class Running:
    """An ingestor at work, and its figures."""

    ingestor: Ingestor
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def figure(self, name: str, **labels: str) -> float:
        """A figure as Prometheus would read it."""
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, f"no figure {name} {labels}"
        return value

    def outcomes(self) -> dict[str, float]:
        """Spans by what became of them."""
        names = ("stored", "duplicate", "rejected")
        return {name: self.figure("evalvault_spans_total", outcome=name) for name in names}


@contextmanager
def ingesting(store: Store, **said: Any) -> Iterator[Running]:
    """A running ingestor, stopped at the end."""
    registry = CollectorRegistry()
    ingestor = Ingestor(store, Settings(**said), IngestTelemetry(registry))
    ingestor.start()
    try:
        yield Running(ingestor, registry)
    finally:
        ingestor.stop()


@contextmanager
def reading(db: str) -> Iterator[Store]:
    """The store of a running server, opened beside it."""
    with closing(open_store(db)) as store:
        yield store


def whole(spans: Sequence[Span]) -> Assembly:
    """What must come out of these spans, however they arrived."""
    return assemble(sorted(spans, key=lambda item: (item.start_ns, item.span_id)))


def stages_in(store: Store, trace_id: str) -> list[tuple[str, str | None, str, str]]:
    """Stages of a stored trace, as far as they show its shape."""
    return [_shape(item) for item in store.trace_stages(trace_id)]


def stages_of(spans: Sequence[Span]) -> list[tuple[str, str | None, str, str]]:
    """The same of spans, assembled here."""
    ordered = sorted(whole(spans).stages, key=lambda item: (item.started_ns is None, item.started_ns, item.stage_id))
    return [_shape(item) for item in ordered]


def _shape(item: Any) -> tuple[str, str | None, str, str]:
    return (item.stage_id, item.parent_stage_id, item.stage_type, item.run_id)


def reject_rows(db: str) -> list[dict[str, Any]]:
    """The rows of table `reject`, oldest first."""
    names = ("transport", "peer", "reason", "size", "payload")
    sql = f"SELECT {', '.join(names)} FROM reject ORDER BY id"  # noqa: S608 - our own names
    if db.startswith("postgresql"):
        with psycopg.connect(db) as connection:
            found: list[Any] = connection.execute(sql).fetchall()
    else:
        with closing(sqlite3.connect(db.removeprefix("sqlite:///"))) as file:
            found = file.execute(sql).fetchall()
    return [dict(zip(names, row, strict=True)) for row in found]


def eventually(true: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until something is true.

    Raises:
        AssertionError: it did not become true in time.
    """
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        time.sleep(0.02)


def with_bad_ids(item: Span) -> Span:
    """The span with a trace id that no span may have."""
    return replaced(item, trace_id="0" * len(TRACE_ID))
