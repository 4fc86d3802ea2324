"""Log events on their way into the store: grouped by trace, stored with the spans, each counted once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from benchmarks.database import of_url
from evalvault_otel.ingest import Ingestor, IngestTelemetry
from evalvault_otel.ingest.grouping import group, merge, singles
from evalvault_otel.model import LogEvent, Reject
from evalvault_otel.settings import Settings
from evalvault_otel.store import Store
from evalvault_otel.wire import Decoded
from evalvault_otel.wire.answer import Accepted
from tests.support.traces import TRACE_ID, log, new_trace_id, sid, span, stage

USED = "evalvault.asset.used"
PROMPT = {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"}
_LARGE_FLAGS = 2**70  # no column holds it


def test_log_events_join_the_batch_of_their_trace() -> None:
    elsewhere = replace(log(1, USED), trace_id="f" * 32)

    grouped = group([span(1)], [log(1, USED), elsewhere, log(2, USED), log(1, USED)])

    first, second = grouped.traces
    assert (first.trace_id, second.trace_id) == (TRACE_ID, "f" * 32)
    assert sorted(event.span_id for event in first.logs) == [sid(1), sid(2)]
    assert (second.spans, second.logs, second.assembly, second.missing_root) == ((), (elsewhere,), None, True)
    assert (grouped.duplicates, grouped.log_duplicates) == (0, 1)


def test_what_looks_whole_is_assembled_with_its_log_events() -> None:
    (batch,) = group([stage(1, 0, "tool")], [log(1, USED, PROMPT)]).traces

    assert batch.assembly is not None
    assert [use.name for use in batch.assembly.asset_uses] == ["p"]


def test_order_of_log_events_does_not_change_their_batch() -> None:
    logs = [log(number, USED, ms=number) for number in range(1, 6)]

    assert group([], logs).traces == group([], logs[::-1]).traces


def test_requests_that_share_a_transaction_share_batches() -> None:
    parts = [group([stage(1, 0, "tool")]), group([], [log(1, USED, PROMPT)]), group([], [log(1, USED, PROMPT)])]

    merged = merge(parts)

    (batch,) = merged.traces
    assert (len(batch.spans), len(batch.logs), merged.log_duplicates) == (1, 1, 1)
    assert batch.assembly is not None
    assert len(batch.assembly.asset_uses) == 1
    assert merge([]).traces == []


def test_a_batch_can_be_taken_apart() -> None:
    (batch,) = group([span(1), span(2, 1)], [log(1, USED)]).traces

    assert [(len(one.spans), len(one.logs), one.assembly, one.missing_parent) for one in singles(batch)] == [
        (1, 0, None, True),
        (1, 0, None, True),
        (0, 1, None, True),
    ]


class _Intake:
    """An ingestor and its figures."""

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry()
        self.ingestor = Ingestor(store, Settings(commit_delay_ms=0.5), IngestTelemetry(self._registry))

    def send(self, decoded: Decoded) -> Accepted:
        return self.ingestor.submit(decoded, 100).result(30)

    def counted(self, name: str = "evalvault_log_events_total") -> dict[str, float]:
        outcomes = ("stored", "duplicate", "rejected", "other")
        found = {outcome: self._registry.get_sample_value(name, {"outcome": outcome}) for outcome in outcomes}
        return {outcome: count for outcome, count in found.items() if count}


@pytest.fixture
def intake(store: Store) -> Iterator[_Intake]:
    running = _Intake(store)
    running.ingestor.start()
    yield running
    running.ingestor.stop()


def _logs(*logs: LogEvent, others: int = 0) -> Decoded:
    return Decoded([], [], list(logs), others)


def test_every_log_record_is_counted_once(intake: _Intake, store: Store) -> None:
    event = log(1, USED, PROMPT)

    assert intake.send(_logs(event, event, others=3)) == Accepted()
    intake.send(_logs(event, log(2, USED)))
    intake.send(Decoded([], [Reject("no trace", b"", signal="logs", count=4)]))
    intake.send(Decoded([span(1)], [Reject("no trace", b"", count=2)]))

    assert intake.counted() == {"stored": 2, "duplicate": 2, "rejected": 4, "other": 3}
    assert intake.counted("evalvault_spans_total") == {"stored": 1, "rejected": 2}
    assert len(store.logs(TRACE_ID)) == 2


def test_one_log_event_that_cannot_be_stored_costs_no_neighbour(intake: _Intake, store: Store, db_url: str) -> None:
    bad, good = replace(log(1, USED), flags=_LARGE_FLAGS), log(1, USED, PROMPT)
    other = replace(span(1), trace_id=new_trace_id())

    answer = intake.send(Decoded([stage(1, 0, "tool"), other], [], [bad, good], others=1))

    assert answer.rejected == 1
    assert store.logs(TRACE_ID) == [good]
    assert len(store.spans(TRACE_ID)) == len(store.spans(other.trace_id)) == 1
    assert intake.counted() == {"stored": 1, "rejected": 1, "other": 1}
    assert intake.counted("evalvault_spans_total") == {"stored": 2}
    assert b'"evalvault.asset.used"' in of_url(db_url).query("SELECT payload FROM reject")[0][0]
