"""Stages depend on the set of spans and log events and on nothing else: not on order, batches, repetition, receiver.

Traces are permuted, cut into requests, repeated and interleaved, and sent through two receivers on one database at
once; so are the log events that name their spans. When nothing is left to assemble, every derived row must be the one
that a single write of the whole gives.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from benchmarks.database import Database, of_url
from evalvault_otel.assembly import assemble
from evalvault_otel.errors import NotFound
from evalvault_otel.ingest import Assembler, Ingestor, IngestTelemetry
from evalvault_otel.model import LogEvent, Span
from evalvault_otel.settings import Settings
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.records import RunFilter
from evalvault_otel.wire import Decoded
from tests.support.derived import derived_rows, repeated_keys
from tests.support.strategies import bounded, soup_logs, soup_traces
from tests.support.traces import (
    RUN_ID,
    batches,
    golden_logs,
    golden_names,
    golden_spans,
    in_trace,
    log,
    new_trace_id,
    sid,
    stage,
)

Item = Span | LogEvent

FAR = 2**62


@dataclass(frozen=True, slots=True)
class Receiver:
    """One server's way into the database."""

    store: Store
    ingestor: Ingestor
    assembler: Assembler
    registry: CollectorRegistry

    def send(self, requests: Sequence[Sequence[Item]]) -> None:
        """Send some requests, all before the first is answered; spans and log events go in requests of their own."""
        decoded = [part for items in requests for part in _decoded(items)]
        answers = [self.ingestor.submit(part, 100) for part in decoded]
        for answer in answers:
            assert answer.result(30).rejected == 0

    def counted(self, outcome: str) -> float:
        """Spans and log events by what became of them."""
        names = ("evalvault_spans_total", "evalvault_log_events_total")
        return sum(self.registry.get_sample_value(name, {"outcome": outcome}) or 0.0 for name in names)


def _decoded(items: Sequence[Item]) -> list[Decoded]:
    spans = [item for item in items if isinstance(item, Span)]
    logs = [item for item in items if isinstance(item, LogEvent)]
    return [*([Decoded(spans, [])] if spans else []), *([Decoded([], [], logs)] if logs else [])]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two receivers on one database, and the database."""

    receivers: tuple[Receiver, Receiver]
    database: Database

    def at_once(self, *work: Any) -> None:
        """Run the functions in threads of their own; the first failure is raised."""
        failures: list[BaseException] = []
        threads = [threading.Thread(target=_guarded, args=(function, failures)) for function in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def settle(self) -> None:
        """Assemble, with both at once, until nothing is due."""
        one, other = self.receivers
        for _ in range(20):
            self.at_once(lambda: one.assembler.step(FAR), lambda: other.assembler.step(FAR))
            if not one.store.due_traces(FAR, 1):
                return
        raise AssertionError("some trace stays due")

    def rows(self, trace_id: str) -> dict[str, list[tuple[Any, ...]]]:
        """Everything derived from a trace."""
        return derived_rows(self.database, trace_id)

    def repeated_keys(self) -> list[tuple[Any, ...]]:
        """Keys that two rows share."""
        return repeated_keys(self.database)


def _guarded(function: Any, failures: list[BaseException]) -> None:
    try:
        function()
    except BaseException as exc:  # noqa: BLE001 - raised by the caller
        failures.append(exc)


@pytest.fixture
def pair(db_url: str) -> Iterator[Pair]:
    with ExitStack() as stack:
        receivers = tuple(_receiver(db_url, stack) for _ in range(2))
        yield Pair((receivers[0], receivers[1]), of_url(db_url))


def _receiver(db_url: str, stack: ExitStack) -> Receiver:
    store = open_store(db_url)
    stack.callback(store.close)
    store.migrate()
    registry = CollectorRegistry()
    telemetry = IngestTelemetry(registry)
    ingestor = Ingestor(store, Settings(commit_delay_ms=0.5), telemetry)
    ingestor.start()
    stack.callback(ingestor.stop)
    return Receiver(store, ingestor, Assembler(store, telemetry), registry)


def _as_a_whole(pair: Pair, spans: Sequence[Span], logs: Sequence[LogEvent] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the trace when it is written at once by one store alone."""
    trace_id = new_trace_id()
    store = pair.receivers[0].store
    store.write(batches(*in_trace(spans, trace_id), logs=in_trace(logs, trace_id)), [], 1)
    store.reassemble(trace_id, assemble, 1)
    return pair.rows(trace_id)


_Dealt = list[list[list[list[int]]]]


def _deal(count: int, data: st.DataObject) -> _Dealt:
    """Indexes of spans, some twice, in any order, cut into requests, dealt to two receivers in one to three rounds."""
    again = data.draw(st.lists(st.integers(0, count - 1), max_size=count))
    order = data.draw(st.permutations([*range(count), *again]))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(order) - 1)), max_size=8)))
    requests = [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    rounds = data.draw(st.integers(1, 3))
    dealt: _Dealt = [[[], []] for _ in range(rounds)]
    for request in requests:
        dealt[data.draw(st.integers(0, rounds - 1))][data.draw(st.integers(0, 1))].append(list(request))
    return dealt


def _send(pair: Pair, items: Sequence[Item], dealt: _Dealt) -> None:
    one, other = pair.receivers
    for first, second in dealt:
        mine, theirs = ([[replace(items[index]) for index in request] for request in part] for part in (first, second))
        pair.at_once(lambda mine=mine: one.send(mine), lambda theirs=theirs: other.send(theirs))
        pair.at_once(lambda: one.assembler.step(FAR), lambda: other.assembler.step(FAR))


def test_golden_traces_in_pieces_become_what_they_are_as_a_whole(pair: Pair) -> None:
    expected = {name: _as_a_whole(pair, golden_spans(name), golden_logs(name)) for name in golden_names()}
    counted = [0.0, 0.0]

    @settings(bounded, max_examples=25)
    @given(names=st.lists(st.sampled_from(golden_names()), min_size=1, max_size=3), data=st.data())
    def check(names: list[str], data: st.DataObject) -> None:
        # Given some traces, interleaved, repeated and cut into requests
        ids = [new_trace_id() for _ in names]
        items: list[Item] = []
        for name, trace_id in zip(names, ids, strict=True):
            items += [*in_trace(golden_spans(name), trace_id), *in_trace(golden_logs(name), trace_id)]
        dealt = _deal(len(items), data)

        # When two receivers get them at once
        _send(pair, items, dealt)
        pair.settle()

        # Then every row is that of the whole
        for name, trace_id in zip(names, ids, strict=True):
            assert pair.rows(trace_id) == expected[name], name
        counted[0] += len(items)
        counted[1] += sum(len(request) for turn in dealt for part in turn for request in part)

    check()

    # And each span was counted once as stored, every repetition as a duplicate
    stored, duplicate = (sum(each.counted(name) for each in pair.receivers) for name in ("stored", "duplicate"))
    assert (stored, stored + duplicate) == (counted[0], counted[1])
    assert sum(each.registry.get_sample_value("evalvault_span_conflicts_total") or 0 for each in pair.receivers) == 0
    assert pair.repeated_keys() == []


def test_any_trace_in_pieces_becomes_what_it_is_as_a_whole(pair: Pair) -> None:
    @settings(bounded, max_examples=60)
    @given(soup=soup_traces, logs=st.lists(soup_logs, max_size=4), data=st.data())
    def check(soup: list[Span], logs: list[LogEvent], data: st.DataObject) -> None:
        expected = _as_a_whole(pair, soup, logs)
        trace_id = new_trace_id()
        items: list[Item] = [*in_trace(soup, trace_id), *in_trace(logs, trace_id)]

        _send(pair, items, _deal(len(items), data))
        pair.settle()

        assert pair.rows(trace_id) == expected

    check()
    assert pair.repeated_keys() == []


def test_the_root_may_come_last(pair: Pair) -> None:
    one, other = pair.receivers
    root, *rest = in_trace(golden_spans("native"), new_trace_id())

    for number, item in enumerate(rest):
        pair.receivers[number % 2].send([[item]])
        pair.settle()
    assert one.store.findings(root.trace_id)[0].code == "no_root"
    other.send([[root]])
    pair.settle()

    assert pair.rows(root.trace_id) == _as_a_whole(pair, golden_spans("native"))


@pytest.mark.parametrize("order", ["before", "among", "after"])
def test_log_events_may_come_at_any_time(pair: Pair, order: str) -> None:
    one, other = pair.receivers
    trace_id = new_trace_id()
    spans = in_trace([stage(1, 0, "workflow"), stage(2, 1, "output")], trace_id)
    used = log(2, "evalvault.asset.used", {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"})
    judged = log(2, "gen_ai.evaluation.result", {"gen_ai.evaluation.name": "r", "gen_ai.evaluation.score.value": 0.5})
    logs = in_trace([used, judged], trace_id)
    orders: dict[str, list[list[Item]]] = {
        "before": [[logs[0]], [logs[1]], [*spans]],
        "among": [[spans[1]], [*logs], [spans[0]], [logs[0]]],
        "after": [[*spans], [logs[0]], [logs[1]], [*logs]],
    }

    for number, items in enumerate(orders[order]):
        (one, other)[number % 2].send([items])
        pair.settle()

    assert pair.rows(trace_id) == _as_a_whole(pair, spans, logs)
    assert [use.name for use in one.store.asset_uses(trace_id)] == ["p"]
    assert [item.metrics.get("output.r") for item in one.store.trace_stages(trace_id)] == [None, 0.5]


def test_a_late_run_id_moves_the_trace_and_the_old_run_no_longer_lists_it(pair: Pair) -> None:
    one, other = pair.receivers
    trace_id, neighbour = new_trace_id(), new_trace_id()
    early = [stage(1, 0, "workflow", trace_id=trace_id), stage(2, 1, "retrieval", trace_id=trace_id)]
    late = stage(3, 1, "output", {RUN_ID: "nightly", "evalvault.run.name": "n"}, trace_id=trace_id)
    fallback = "rag-api@2026-01-01"

    # Given a trace that belongs to the day's traffic, beside another one
    one.send([early, in_trace([early[0]], neighbour)])
    assert one.store.run(fallback).traces == 2

    # When a later span names the run
    other.send([[late]])
    pair.settle()

    # Then all of it moves, for both receivers
    for receiver in pair.receivers:
        assert receiver.store.run("nightly").traces == 1
        assert receiver.store.run("nightly").stages == 3
        assert receiver.store.run(fallback).traces == 1
        assert {item.run_id for item in receiver.store.trace_stages(trace_id)} == {"nightly"}
    assert pair.rows(trace_id) == _as_a_whole(pair, [*early, late])

    # And when the last trace leaves it, the old run is gone
    other.send([in_trace([late], neighbour)])
    pair.settle()
    with pytest.raises(NotFound):
        one.store.run(fallback)
    assert "nightly" in {item.run_id for item in one.store.runs(RunFilter(), 10).items}


def test_a_parent_that_comes_late_takes_its_children(pair: Pair) -> None:
    one, other = pair.receivers
    trace_id = new_trace_id()
    spans = [
        stage(1, 0, "workflow", trace_id=trace_id),
        stage(2, 1, "agent", trace_id=trace_id),
        stage(3, 2, "tool", trace_id=trace_id),
    ]

    one.send([[spans[0], spans[2]]])
    pair.settle()
    assert {item.stage_id: item.parent_stage_id for item in one.store.trace_stages(trace_id)} == {
        sid(1): None,
        sid(3): None,
    }
    other.send([[spans[1]]])
    pair.settle()

    assert {item.stage_id: item.parent_stage_id for item in one.store.trace_stages(trace_id)} == {
        sid(1): None,
        sid(2): sid(1),
        sid(3): sid(2),
    }
    assert one.store.findings(trace_id) == []


def test_the_same_whole_trace_through_both_receivers_at_once_is_there_once(pair: Pair) -> None:
    one, other = pair.receivers
    expected = _as_a_whole(pair, golden_spans("fusion"))
    ids = [new_trace_id() for _ in range(20)]
    requests = [in_trace(golden_spans("fusion"), trace_id) for trace_id in ids]

    pair.at_once(lambda: one.send(requests), lambda: other.send(requests[::-1]))
    pair.settle()

    assert [pair.rows(trace_id) == expected for trace_id in ids] == [True] * 20
    assert pair.repeated_keys() == []
    sent = 2 * sum(map(len, requests))
    counted = {name: one.counted(name) + other.counted(name) for name in ("stored", "duplicate")}
    assert counted == {"stored": sent / 2, "duplicate": sent / 2}
