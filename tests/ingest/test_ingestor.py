"""Group commit: who shares a transaction, who is answered what and when, and what may wait."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from benchmarks.database import of_url
from evalvault_otel.errors import InvalidInput, Unavailable
from evalvault_otel.ingest import Ingestor, IngestTelemetry, Room
from evalvault_otel.model import Reject, Span
from evalvault_otel.server.keys import Keys
from evalvault_otel.server.receiver import Export, Receiver
from evalvault_otel.settings import Settings
from evalvault_otel.store import Store, TraceBatch, Written
from evalvault_otel.store.sqlite import SqliteStore
from evalvault_otel.wire import Decoded
from evalvault_otel.wire.answer import Accepted, Encoding
from tests.support.otlp import otlp_message
from tests.support.traces import new_trace_id, sid, span, stage


@dataclass(frozen=True, slots=True)
class Intake:
    """An ingestor that runs, its settings, and its figures."""

    ingestor: Ingestor
    settings: Settings
    telemetry: IngestTelemetry
    registry: CollectorRegistry

    def submit(self, *spans: Span, rejects: Sequence[Reject] = (), size: int = 100) -> "Future[Accepted]":
        return self.ingestor.submit(Decoded(list(spans), list(rejects)), size)

    def figure(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(f"evalvault_{name}", labels)
        assert value is not None
        return value

    def outcomes(self) -> dict[str, float]:
        return {name: self.figure("spans_total", outcome=name) for name in ("stored", "duplicate", "rejected")}

    def wait_commits(self, count: int) -> None:
        """Return when so many groups are done: an answer comes a moment before its group is counted."""
        deadline = time.monotonic() + 10
        while self.figure("commit_requests_count") < count and time.monotonic() < deadline:
            time.sleep(0.005)


@contextmanager
def running(store: Store, **settings: float) -> Iterator[Intake]:
    registry = CollectorRegistry()
    telemetry = IngestTelemetry(registry)
    chosen = Settings(**{"commit_delay_ms": 50.0, **settings})  # type: ignore[arg-type]  # numbers by name
    ingestor = Ingestor(store, chosen, telemetry)
    ingestor.start()
    try:
        yield Intake(ingestor, chosen, telemetry, registry)
    finally:
        ingestor.stop()


@dataclass(slots=True)
class Gate:
    """Where a store can be held up and made to fail."""

    open: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    failing: Callable[[Sequence[TraceBatch]], Exception | None] = lambda _: None


class GatedStore(SqliteStore):
    """A real store with a gate in front of `write`."""

    def __init__(self, path: Path, gate: Gate) -> None:
        super().__init__(path)
        self._gate = gate

    def write(self, traces: Sequence[TraceBatch], rejects: Sequence[Reject], received_ns: int) -> Written:
        self._gate.entered.set()
        self._gate.open.wait(20)
        problem = self._gate.failing(traces)
        if problem is not None:
            raise problem
        return super().write(traces, rejects, received_ns)


@pytest.fixture
def gate() -> Gate:
    """An open gate."""
    opened = Gate()
    opened.open.set()
    return opened


@pytest.fixture
def gated(tmp_path: Path, gate: Gate) -> Iterator[GatedStore]:
    store = GatedStore(tmp_path / "test.db", gate)
    store.migrate()
    yield store
    store.close()


def _root(name: str = "ask") -> Span:
    return stage(1, 0, "tool", name=name, trace_id=new_trace_id())


def _names(traces: Sequence[TraceBatch]) -> set[str]:
    return {item.name for batch in traces for item in batch.spans}


# Sharing.


def test_concurrent_requests_share_transactions_and_each_is_answered_after_its_commit(store: Store) -> None:
    with running(store) as intake, ThreadPoolExecutor(16) as pool:

        def send(_: int) -> list[str]:
            root = _root()
            assert intake.submit(root).result(30) == Accepted()
            return [item.span_id for item in store.spans(root.trace_id)]

        seen = list(pool.map(send, range(160)))
        commits = intake.figure("commit_requests_count")

    assert seen == [[sid(1)]] * 160
    assert intake.figure("commit_requests_sum") == 160
    assert commits < 60


def test_a_request_alone_does_not_wait_for_others_longer_than_the_delay(gated: GatedStore) -> None:
    with running(gated, commit_delay_ms=1) as intake:
        started = time.monotonic()
        for _ in range(20):
            intake.submit(_root()).result(10)

        assert time.monotonic() - started < 5
        intake.wait_commits(20)
        assert intake.figure("commit_requests_count") == 20


def test_a_group_holds_no_more_bytes_than_allowed_but_at_least_one_request(gated: GatedStore, gate: Gate) -> None:
    gate.open.clear()
    with running(gated, commit_bytes=250) as intake:
        waiting = [intake.submit(_root(), size=size) for size in (1000, 100, 100, 100, 400)]
        gate.open.set()
        for answer in waiting:
            answer.result(10)
        intake.wait_commits(4)

        # 1000, then 100 + 100, then 100, then 400
        assert intake.figure("commit_requests_count") == 4


# Counting.


def test_sent_is_stored_and_duplicate_and_rejected(store: Store) -> None:
    a, b = new_trace_id(), new_trace_id()
    requests: list[tuple[list[Span], list[Reject]]] = [
        ([span(1, trace_id=a), span(2, 1, trace_id=a)], []),
        ([span(2, 1, trace_id=a), span(2, 1, trace_id=a), span(3, 1, trace_id=b)], [Reject("why", b"x")]),
        ([span(1, trace_id=a, name="other")], []),
        ([], [Reject("why", b"y"), Reject("why not", b"z")]),
        ([span(3, 1, trace_id=b), span(4, 1, trace_id=b)], []),
    ]
    with running(store) as intake:
        # Given some requests at once, and all of them once more, one by one
        answers = [intake.submit(*spans, rejects=rejects) for spans, rejects in requests]
        accepted = [answer.result(10) for answer in answers]
        for spans, rejects in requests:
            intake.submit(*spans, rejects=rejects).result(10)

    sent = 2 * sum(len(spans) + len(rejects) for spans, rejects in requests)
    assert accepted == [Accepted(), Accepted(1, "why"), Accepted(), Accepted(2, "why; why not"), Accepted()]
    assert intake.outcomes() == {"stored": 4, "duplicate": sent - 4 - 6, "rejected": 6}
    assert intake.figure("span_conflicts_total") == 2


def test_whole_traces_are_counted_as_assembled_at_ingest(store: Store) -> None:
    with running(store) as intake:
        intake.submit(_root(), span(2, 1, trace_id=new_trace_id())).result(10)

    assert intake.figure("traces_assembled_total", path="ingest") == 1


def test_trace_parts_are_counted_by_whether_they_were_stored(gated: GatedStore, gate: Gate) -> None:
    with running(gated) as intake:
        gate.open.set()
        two = [stage(1, 0, "output"), stage(1, 0, "output", trace_id=new_trace_id())]
        intake.submit(*two).result(10)
        gate.failing = lambda _: Unavailable("away")
        with pytest.raises(Unavailable):
            intake.submit(stage(1, 0, "output", trace_id=new_trace_id())).result(10)
        counted = {name: intake.figure("trace_parts_total", outcome=name) for name in ("stored", "failed")}
        assert counted == {"stored": 2, "failed": 1}
        assert intake.figure("stage_seconds_count", stage_type="output") == 2
        assert intake.figure("stages_expecting_assets_total", stage_type="output") == 2


def test_many_reasons_are_summed_up(store: Store, db_url: str) -> None:
    rejects = [Reject(f"reason {number}", b"", "http", "peer") for number in (1, 2, 3, 1, 4, 5)]
    with running(store) as intake:
        accepted = intake.submit(rejects=rejects).result(10)

    assert accepted == Accepted(6, "reason 1; reason 2; reason 3 (and 2 more reasons)")
    assert of_url(db_url).query("SELECT count(*) FROM reject") == [(6,)]


# The bound.


def test_what_a_client_no_longer_waits_for_still_counts_while_it_waits_for_storage(
    gated: GatedStore, gate: Gate
) -> None:
    # Given a store that hangs, and clients that are told after a moment to try again
    gate.open.clear()
    bodies = [otlp_message([stage(1, 0, "tool", name="x" * 10_000, trace_id=new_trace_id())]) for _ in range(8)]
    with running(gated, ack_timeout_s=0.1, max_queue_bytes=25_000) as intake:
        receiver = Receiver(intake.ingestor, intake.settings, intake.telemetry, Keys())
        told = [_told(receiver, body.SerializeToString()) for body in bodies]
        gate.open.set()

    # Then no more is taken than the bound allows
    assert told[:2] == ["Unavailable", "Unavailable"]
    assert set(told[2:]) == {"Overloaded"}
    assert intake.outcomes()["stored"] == 2


def _told(receiver: Receiver, body: bytes) -> str:
    async def read(room: Room) -> bytes:
        room.fit(len(body))
        return body

    try:
        asyncio.run(receiver.export(Export("test", "peer", Encoding.PROTOBUF), read))
    except Unavailable as exc:
        return type(exc).__name__
    return "stored"


# Stopping.


def test_a_stop_stores_what_waits_and_refuses_what_comes(gated: GatedStore, gate: Gate) -> None:
    gate.open.clear()
    with running(gated, commit_bytes=100) as intake:
        roots = [_root() for _ in range(5)]
        waiting = [intake.submit(root) for root in roots]
        gate.entered.wait(10)
        stopping = threading.Thread(target=intake.ingestor.stop)
        stopping.start()
        _wait_until_refused(intake)
        gate.open.set()
        stopping.join(10)

    assert [answer.result(0) for answer in waiting] == [Accepted()] * 5
    assert [len(gated.spans(root.trace_id)) for root in roots] == [1] * 5


def _wait_until_refused(intake: Intake) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            intake.submit()
        except Unavailable:
            return
        time.sleep(0.01)
    raise AssertionError("requests are still taken")


# A store that fails.


def test_when_storage_is_away_every_request_of_the_group_is_told_so_and_the_next_ones_work(
    gated: GatedStore, gate: Gate
) -> None:
    gate.open.clear()
    gate.failing = lambda _: Unavailable("away")
    with running(gated) as intake:
        waiting = [intake.submit(_root()) for _ in range(5)]
        gate.open.set()
        errors = [answer.exception(10) for answer in waiting]
        gate.failing = lambda _: None
        after = intake.submit(_root()).result(10)

    assert [(type(error), str(error)) for error in errors] == [(Unavailable, "away")] * 5
    assert after == Accepted()
    assert intake.outcomes() == {"stored": 1, "duplicate": 0, "rejected": 0}


def test_a_span_that_the_database_refuses_costs_neither_its_request_nor_the_group(
    gated: GatedStore, gate: Gate, tmp_path: Path
) -> None:
    gate.failing = lambda traces: InvalidInput("no such value") if "bad" in _names(traces) else None
    gate.open.clear()
    trace_id = new_trace_id()
    with running(gated) as intake:
        # Given a group of requests, one of which holds a refused span among others
        before = intake.submit(_root())
        mixed = intake.submit(
            span(1, trace_id=trace_id),
            span(2, 1, trace_id=trace_id, name="bad"),
            span(3, 1, trace_id=trace_id),
            span(3, 1, trace_id=trace_id),
            rejects=[Reject("bad id", b"")],
        )
        after = intake.submit(_root())
        gate.open.set()

        # Then all but that span is stored, and that one is a reject with its bytes
        assert (before.result(10), after.result(10)) == (Accepted(), Accepted())
        assert mixed.result(10) == Accepted(2, "bad id; no such value")
    assert [item.span_id for item in gated.spans(trace_id)] == [sid(1), sid(3)]
    assert intake.outcomes() == {"stored": 4, "duplicate": 1, "rejected": 2}
    kept = of_url(f"sqlite:///{tmp_path / 'test.db'}").query("SELECT reason, size > 0 FROM reject ORDER BY id")
    assert kept == [("bad id", 0), ("no such value", 1)]
    assert gated.due_traces(2**62, 5) == [trace_id]


def test_a_defect_in_one_request_costs_no_other(gated: GatedStore, gate: Gate) -> None:
    gate.failing = lambda traces: KeyError("a defect") if "bad" in _names(traces) else None
    gate.open.clear()
    with running(gated) as intake:
        waiting = [intake.submit(_root(name)) for name in ("one", "bad", "three")]
        gate.open.set()
        results = [answer.exception(10) for answer in waiting]
        later = intake.submit(_root()).result(10)

    assert [type(result) for result in results] == [type(None), KeyError, type(None)]
    assert later == Accepted()


def test_an_attribute_of_absurd_depth_is_stored(store: Store) -> None:
    root = stage(1, 0, "output", {"evalvault.output.citations": "[" * 900 + "]" * 900}, trace_id=new_trace_id())
    with running(store) as intake:
        assert intake.submit(root).result(10) == Accepted()

    assert store.spans(root.trace_id) == [root]
    assert len(store.trace_stages(root.trace_id)) == 1


def test_storage_that_fails_half_way_through_a_group_answers_everybody(gated: GatedStore, gate: Gate) -> None:
    def refuse(traces: Sequence[TraceBatch]) -> Exception | None:
        names = _names(traces)
        if len(names) > 1:
            return InvalidInput("split, please")
        return Unavailable("away") if names == {"two"} else None

    gate.failing = refuse
    gate.open.clear()
    with running(gated) as intake:
        waiting = [intake.submit(_root(name)) for name in ("one", "two", "three")]
        gate.open.set()
        results = [answer.exception(10) for answer in waiting]

    # Whoever is told to try again may have been stored: the same spans are duplicates then
    assert [type(result) for result in results[:2]] == [type(None), Unavailable]
    assert isinstance(results[2], Unavailable | None)
