"""Spooling and replaying: who goes where, and what a bad request or a store that refuses can and cannot hold up."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from benchmarks.database import of_url
from evalvault_otel.errors import InvalidInput, Unavailable
from evalvault_otel.ingest import Ingestor, IngestTelemetry
from evalvault_otel.model import LogEvent, Reject, Span
from evalvault_otel.settings import Settings
from evalvault_otel.store import TraceBatch, Written
from evalvault_otel.store.sqlite import SqliteStore
from evalvault_otel.wire import Decoded
from evalvault_otel.wire.answer import Accepted
from tests.support.traces import RESOURCE, SCOPE, new_trace_id, sid, span, stage

AWAY = Unavailable("away")


class FaultyStore(SqliteStore):
    """A real store that can be away, for questions, for writes, or for some writes only."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.answers = True
        self.problem_of: Callable[[set[str]], Exception | None] = lambda _: None
        self.written: list[str] = []
        self.tried_by: list[str] = []

    def ping(self) -> None:
        if not self.answers:
            raise AWAY
        super().ping()

    def write(self, traces: Sequence[TraceBatch], rejects: Sequence[Reject], received_ns: int) -> Written:
        self.tried_by.append(threading.current_thread().name)
        names = {item.name for batch in traces for item in batch.spans}
        problem = self.problem_of(names) if self.answers else AWAY
        if problem is not None:
            raise problem
        written = super().write(traces, rejects, received_ns)
        self.written += sorted(names)
        return written


@dataclass(slots=True)
class Intake:
    """An ingestor with a spool in front of a faulty store."""

    store: FaultyStore
    folder: Path
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    ingestor: Ingestor = field(init=False)

    def start(self, **said: float) -> None:
        self.registry = CollectorRegistry()
        settings = Settings(db="postgresql://me@host/traces", spool=str(self.folder), **said)  # type: ignore[arg-type]  # numbers by name
        self.ingestor = Ingestor(self.store, settings, IngestTelemetry(self.registry))
        self.ingestor.start()

    def send(self, *spans: Span, rejects: Sequence[Reject] = ()) -> Accepted:
        return self.ingestor.submit(Decoded(list(spans), list(rejects)), 100).result(10)

    def figure(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(f"evalvault_{name}", labels)
        assert value is not None
        return value

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def wait_replayed(self) -> None:
        self.wait_for(lambda: self.figure("spool_bytes") == 0)


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    store = FaultyStore(tmp_path / "test.db")
    store.migrate()
    started = Intake(store, tmp_path / "spool")
    started.start()
    yield started
    started.ingestor.stop()
    store.close()


def root(name: str) -> Span:
    return stage(1, 0, "tool", name=name, trace_id=new_trace_id())


def aside(intake: Intake) -> list[Path]:
    return list(intake.folder.glob("*/aside/*"))


def test_while_storage_is_away_nobody_waits_for_it_and_all_is_stored_in_order_afterwards(
    intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    intake.store.answers = False
    sent = [root(f"{number:02d}") for number in range(30)]
    rejects = [Reject("why", b"x")]

    answers = [intake.send(item, rejects=rejects) for item in sent]

    # The first one found out, and the others did not ask
    assert answers == [Accepted(1, "why")] * 30
    assert len(intake.store.tried_by) == 1
    assert (intake.figure("spool_requests"), intake.figure("spooled_requests_total")) == (30, 30)
    assert intake.figure("spans_total", outcome="rejected") == 0
    intake.store.answers = True
    intake.wait_replayed()
    assert intake.store.written == [item.name for item in sent]
    assert intake.figure("replayed_requests_total") == 30
    assert intake.figure("spans_total", outcome="stored") == 30
    assert intake.figure("spans_total", outcome="rejected") == 30
    intake.wait_for(lambda: "30 requests replayed from the spool" in caplog.text)
    assert caplog.text.count("storage is away") == 1
    assert caplog.text.count("storage is back after") == 1
    # And from now on it is written to again
    intake.send(root("live"))
    assert intake.store.tried_by[-1] == "evalvault-writer"


def test_a_stop_leaves_the_spool_to_the_next_start(intake: Intake, caplog: pytest.LogCaptureFixture) -> None:
    intake.store.answers = False
    sent = root("early")
    intake.send(sent)
    intake.ingestor.stop()
    intake.start()
    # It knows from the start that storage is away
    intake.send(root("late"))
    assert intake.figure("spool_requests") == 2
    assert len(intake.store.tried_by) == 1

    intake.store.answers = True
    intake.wait_replayed()
    assert intake.store.written == ["early", "late"]


def test_a_span_that_the_database_refuses_is_rejected_and_holds_up_nothing(intake: Intake, tmp_path: Path) -> None:
    intake.store.problem_of = lambda names: InvalidInput("no such value") if "bad" in names else None
    intake.store.answers = False
    trace_id = new_trace_id()
    intake.send(root("before"))
    intake.send(span(1, trace_id=trace_id, name="good"), span(2, 1, trace_id=trace_id, name="bad"))
    intake.send(root("after"))
    intake.store.answers = True
    intake.wait_replayed()

    assert sorted(intake.store.written) == ["after", "before", "good"]
    assert [item.span_id for item in intake.store.spans(trace_id)] == [sid(1)]
    assert of_url(f"sqlite:///{tmp_path / 'test.db'}").query("SELECT reason FROM reject") == [("no such value",)]
    assert aside(intake) == []


def test_a_request_that_cannot_be_stored_is_kept_aside_and_holds_up_nothing(
    intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    intake.store.problem_of = lambda names: KeyError("a defect") if "bad" in names else None
    intake.store.answers = False
    for name in ("before", "bad", "after"):
        intake.send(root(name))
    intake.store.answers = True
    intake.wait_replayed()

    assert intake.store.written == ["before", "after"]
    (kept,) = aside(intake)
    assert f"could not be stored and is kept in {kept}" in caplog.text
    # When the defect is gone, it can be put back
    intake.store.problem_of = lambda _: None
    (kept.parents[1] / "again").mkdir()
    kept.rename(kept.parents[1] / "again" / kept.name)
    intake.ingestor.stop()
    intake.start()
    intake.wait_for(lambda: intake.store.written == ["before", "after", "bad"])


def test_damaged_bytes_are_told_and_hold_up_nothing(intake: Intake, caplog: pytest.LogCaptureFixture) -> None:
    intake.store.answers = False
    for name in ("before", "damaged", "after"):
        intake.send(root(name))
    intake.ingestor.stop()
    (segment,) = intake.folder.rglob("*.log")
    segment.write_bytes(segment.read_bytes().replace(b"damaged", b"dimaged"))
    intake.store.answers = True
    intake.start()
    intake.wait_replayed()

    assert sorted(intake.store.written) == ["after", "before"]
    (kept,) = aside(intake)
    assert b"dimaged" in kept.read_bytes()
    assert f"are damaged and kept in {kept}" in caplog.text


def test_a_database_that_answers_and_takes_no_writes_is_tried_now_and_then(
    intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    intake.store.problem_of = lambda _: Unavailable("read only")
    for number in range(200):
        assert intake.send(root(f"{number:03d}")) == Accepted()
    assert len(intake.store.tried_by) < 40
    assert caplog.text.count("storage is away") == 1

    intake.store.problem_of = lambda _: None
    intake.wait_replayed()
    assert sorted(intake.store.written) == [f"{number:03d}" for number in range(200)]


def test_what_cannot_be_replayed_for_now_does_not_keep_others_from_the_database(intake: Intake) -> None:
    # Given a request in the spool that is in the way of somebody else, again and again
    intake.store.problem_of = lambda names: Unavailable("locked") if "held" in names else None
    intake.send(root("held"))
    # When others come
    intake.wait_for(lambda: intake.send(root("live")) == Accepted() and "live" in intake.store.written)
    spooled = intake.figure("spooled_requests_total")
    intake.send(root("next"))
    # Then they are stored, and the one waits
    assert intake.store.written[-1] == "next"
    assert intake.figure("spooled_requests_total") == spooled
    assert intake.figure("spool_requests") >= 1
    intake.store.problem_of = lambda _: None
    intake.wait_replayed()
    assert "held" in intake.store.written


def test_log_events_and_what_is_of_no_use_go_through_the_spool_too(intake: Intake, tmp_path: Path) -> None:
    intake.store.answers = False
    item = root("ask")
    event = LogEvent(
        item.trace_id, item.span_id, "gen_ai.choice", 1, 2, 9, "INFO", {"text": "yes"}, {}, 0, 0, RESOURCE, SCOPE
    )
    decoded = Decoded([item], [], [event], others=2)
    assert intake.ingestor.submit(decoded, 100).result(10) == Accepted()
    intake.store.answers = True
    intake.wait_replayed()

    found = of_url(f"sqlite:///{tmp_path / 'test.db'}").query("SELECT trace_id, span_id, name FROM log_event")
    assert found == [(item.trace_id, item.span_id, "gen_ai.choice")]
    assert intake.figure("log_events_total", outcome="stored") == 1
    assert intake.figure("log_events_total", outcome="other") == 2
