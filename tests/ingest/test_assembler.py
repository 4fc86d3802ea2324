"""The background assembler: what is due gets assembled, whatever one trace or the database does."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from evalvault_otel.assembly import assemble
from evalvault_otel.errors import Unavailable
from evalvault_otel.ingest import Assembler, IngestTelemetry
from evalvault_otel.store import Pauses, Store, open_store
from evalvault_otel.store.base import Assemble
from evalvault_otel.store.sqlite import SqliteStore
from tests.support.traces import batches, new_trace_id, span, stage

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


class FaultyStore(SqliteStore):
    """A real store in which some traces cannot be assembled, and which may be away."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.poisoned: set[str] = set()
        self.tried: list[str] = []
        self.away = False

    def due_traces(self, now_ns: int, limit: int) -> list[str]:
        if self.away:
            raise Unavailable("away")
        return super().due_traces(now_ns, limit)

    def reassemble(self, trace_id: str, assemble: Assemble, now_ns: int) -> bool:
        self.tried.append(trace_id)
        if trace_id in self.poisoned:
            raise RuntimeError("a defect")
        return super().reassemble(trace_id, assemble, now_ns)


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[FaultyStore]:
    store = FaultyStore(tmp_path / "test.db")
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def _in_pieces(store: Store, at: int = NOW) -> str:
    """A trace that waits for the assembler."""
    trace_id = new_trace_id()
    store.write(batches(stage(2, 1, "tool", trace_id=trace_id)), [], at)
    return trace_id


def _assembled(store: Store, trace_id: str) -> bool:
    return store.trace(trace_id).assembled


def test_a_step_assembles_what_is_due_and_nothing_else(store: Store, registry: CollectorRegistry) -> None:
    assembler = Assembler(store, IngestTelemetry(registry))
    early, late = _in_pieces(store, NOW), _in_pieces(store, NOW + 60 * SECOND)

    assert assembler.step(NOW) == 0
    assert assembler.step(NOW + 30 * SECOND) == 1
    assert (_assembled(store, early), _assembled(store, late)) == (True, False)
    assert assembler.step(NOW + 90 * SECOND) == 1
    assert assembler.step(NOW + 90 * SECOND) == 0
    assert registry.get_sample_value("evalvault_traces_assembled_total", {"path": "background"}) == 2


def test_it_runs_by_itself_until_stopped(db_url: str, registry: CollectorRegistry) -> None:
    store = open_store(db_url, Pauses(settle_ns=1_000_000, quiet_ns=1_000_000))
    store.migrate()
    assembler = Assembler(store, IngestTelemetry(registry))
    assembler.start()
    try:
        traces = [_in_pieces(store, time.time_ns()) for _ in range(3)]
        _wait_for(lambda: all(_assembled(store, trace_id) for trace_id in traces))
    finally:
        assembler.stop()
    after = _in_pieces(store, time.time_ns() - SECOND)
    time.sleep(0.3)
    assert not _assembled(store, after)
    store.close()


def _wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_trace_that_cannot_be_assembled_costs_no_other_and_is_tried_again_ever_more_rarely(
    faulty: FaultyStore, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    assembler = Assembler(faulty, IngestTelemetry(registry))
    bad, good = _in_pieces(faulty), _in_pieces(faulty, NOW + 1)
    faulty.poisoned = {bad}

    # When it is due again and again
    tries = []
    for seconds in range(10, 200):
        faulty.tried.clear()
        assembler.step(NOW + seconds * SECOND)
        if bad in faulty.tried:
            tries.append(seconds)

    # Then the other is assembled, and the pauses between the tries double
    assert _assembled(faulty, good)
    assert tries == [10, 20, 40, 80, 160]
    assert registry.get_sample_value("evalvault_assembly_errors_total") == 5
    assert bad in caplog.text
    # And when the defect is gone, so is the mark
    faulty.poisoned.clear()
    assembler.step(NOW + 1000 * SECOND)
    assert _assembled(faulty, bad)


def test_however_many_traces_cannot_be_assembled_the_others_are(
    faulty: FaultyStore, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    assembler = Assembler(faulty, IngestTelemetry(registry))
    ids = [new_trace_id() for _ in range(300)]
    faulty.write([batch for trace_id in sorted(ids) for batch in batches(span(2, 1, trace_id=trace_id))], [], NOW)
    faulty.poisoned = set(ids)
    good = _in_pieces(faulty, NOW + 1)

    for _ in range(5):
        assembler.step(NOW + 30 * SECOND)

    assert _assembled(faulty, good)


def test_it_waits_while_storage_is_away_and_goes_on_afterwards(
    faulty: FaultyStore, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    trace_id = _in_pieces(faulty)
    faulty.away = True
    assembler = Assembler(faulty, IngestTelemetry(registry))
    assembler.start()
    try:
        _wait_for(lambda: "assembly waits for storage: away" in caplog.text)
        time.sleep(1.5)
        assert caplog.text.count("assembly waits for storage") == 1
        assert not _assembled(faulty, trace_id)
        faulty.away = False
        _wait_for(lambda: _assembled(faulty, trace_id))
    finally:
        assembler.stop()


def test_a_trace_that_failed_here_and_was_assembled_elsewhere_is_forgotten(
    faulty: FaultyStore, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    assembler = Assembler(faulty, IngestTelemetry(registry))
    bad, other = _in_pieces(faulty), _in_pieces(faulty, NOW + 1)
    faulty.poisoned = {bad, other}
    assembler.step(NOW + 30 * SECOND)
    assert set(assembler._failed) == {bad, other}

    faulty.poisoned = {other}
    assert faulty.reassemble(bad, assemble, NOW)
    assembler.step(NOW + 31 * SECOND)

    assert set(assembler._failed) == {other}
