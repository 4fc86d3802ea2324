"""What `store/base.py` promises of the writing half, sentence by sentence, on every database."""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.database import of_url
from evalvault_otel.assembly import assemble
from evalvault_otel.errors import InvalidInput, NotFound
from evalvault_otel.model import Assembly, LogEvent, Reject, Span
from evalvault_otel.store import Pauses, RejectBounds, Store, Written, open_store
from evalvault_otel.store.postgres import PostgresStore
from evalvault_otel.store.records import RunFilter
from evalvault_otel.store.sqlite import SqliteStore
from tests.support.traces import (
    MS,
    RUN_ID,
    TRACE_ID,
    asset,
    batches,
    exact,
    golden_spans,
    in_trace,
    new_trace_id,
    raised,
    sid,
    span,
    stage,
)

NOW = 1_700_000_000_000_000_000
FAR = 2**62
PAUSES = Pauses()
SETTLE, QUIET = PAUSES.settle_ns, PAUSES.quiet_ns


def _whole(trace_id: str = TRACE_ID, **said: Any) -> list[Span]:
    """A trace of three spans, root first."""
    return [
        stage(1, 0, "workflow", trace_id=trace_id, **said),
        stage(2, 1, "retrieval", trace_id=trace_id, events=(asset(kind="query", name="find", version=1),)),
        stage(3, 1, "output", trace_id=trace_id),
    ]


def _write(store: Store, *spans: Span, at: int = NOW) -> Written:
    return store.write(batches(*spans), [], at)


def _ids(store: Store, trace_id: str = TRACE_ID) -> list[str]:
    return [item.span_id for item in store.spans(trace_id)]


def _types(store: Store, trace_id: str = TRACE_ID) -> list[str]:
    return sorted(item.stage_type for item in store.trace_stages(trace_id))


# write: counting.


def test_every_span_is_stored_or_a_duplicate(store: Store) -> None:
    root, left, right = _whole()

    assert _write(store, root, left) == Written(stored=2, duplicates=0, conflicts=0)
    assert _write(store, left, right) == Written(stored=1, duplicates=1, conflicts=0)
    assert _write(store, root, left, right) == Written(stored=0, duplicates=3, conflicts=0)
    assert _ids(store) == [sid(1), sid(2), sid(3)]


def test_nothing_to_write_is_fine(store: Store) -> None:
    assert store.write([], [], NOW) == Written(0, 0, 0)


def test_of_two_different_spans_the_first_stays_and_the_second_is_a_conflict(store: Store) -> None:
    _write(store, *_whole())
    changed = replace(_whole()[1], name="changed")

    assert _write(store, changed, _whole()[2]) == Written(stored=0, duplicates=2, conflicts=1)
    assert store.spans(TRACE_ID) == _whole()


@pytest.mark.parametrize(
    "one, other, conflicts",
    [
        (1, 1.0, 1),
        (1, True, 1),
        (0.0, -0.0, 1),
        ("a", b"a", 1),
        (float("nan"), float("nan"), 0),
        ([1, None], [1, None], 0),
    ],
)
def test_values_of_another_type_are_a_conflict(store: Store, one: object, other: object, conflicts: int) -> None:
    _write(store, span(1, attributes={"k": one}))

    assert _write(store, span(1, attributes={"k": other})).conflicts == conflicts


@pytest.mark.parametrize(
    "changed",
    [
        {"status_code": 2},
        {"end": 200},
        {"dropped_attributes": 1},
        {"events": (raised("E", "m"),)},
        {"trace_state": "a=b"},
        {"parent_span_id": sid(9)},
    ],
)
def test_any_field_can_be_in_conflict(store: Store, changed: dict[str, Any]) -> None:
    _write(store, span(1))

    assert _write(store, span(1, **changed)).conflicts == 1


# write: durable, queryable, whole.


def test_what_write_returned_is_seen_by_others_at_once(store: Store, db_url: str) -> None:
    _write(store, *_whole())

    other = open_store(db_url)
    try:
        assert other.spans(TRACE_ID) == _whole()
        assert _types(other) == ["output", "retrieval", "workflow"]
    finally:
        other.close()


def test_what_was_written_is_there_after_a_restart(store: Store, db_url: str) -> None:
    _write(store, *_whole())
    store.close()

    again = open_store(db_url)
    try:
        assert again.migrate() == 0
        assert again.spans(TRACE_ID) == _whole()
        assert again.due_traces(FAR, 10) == []
    finally:
        again.close()


def test_a_commit_of_spans_reaches_the_disk_before_it_returns(tmp_path: Path, postgres_url: str) -> None:
    # A power failure cannot be had here, so the databases are asked what they promise.
    sqlite, server = SqliteStore(tmp_path / "test.db"), PostgresStore(postgres_url)
    try:
        with sqlite._begin(durable=True) as tx:
            assert tx.fetch("PRAGMA synchronous", ()) == [(2,)]
            assert tx.fetch("PRAGMA journal_mode", ()) == [("wal",)]
        with server._begin(durable=True) as pg:
            assert pg.fetch("SHOW synchronous_commit", ()) == [("on",)]
        with server._begin(durable=False) as pg:
            assert pg.fetch("SHOW synchronous_commit", ()) == [("off",)]
    finally:
        sqlite.close()
        server.close()


def test_a_whole_new_trace_is_assembled_in_the_same_transaction(store: Store) -> None:
    _write(store, *_whole())

    expected = assemble(_whole())
    assert sorted(store.trace_stages(TRACE_ID), key=_key) == sorted(expected.stages, key=_key)
    assert store.asset_uses(TRACE_ID) == list(expected.asset_uses)
    assert store.run(expected.run_id).stages == 3
    found = store.trace(TRACE_ID)
    assert (found.assembled, found.span_count, found.root_span_id) == (True, 3, sid(1))
    assert (found.first_ns, found.last_ns, found.run_id) == (expected.first_ns, expected.last_ns, expected.run_id)
    assert store.due_traces(FAR, 10) == []


def _key(item: Any) -> str:
    return str(item.stage_id)


@pytest.mark.parametrize("name", ["native", "pieces", "statuses", "fusion"])
def test_derived_rows_are_those_of_the_assembly(store: Store, name: str) -> None:
    spans = golden_spans(name)
    expected = assemble(spans)

    # Given a trace that is written as a whole, or assembled later
    _write(store, *spans)
    store.reassemble(spans[0].trace_id, assemble, NOW)

    trace_id = expected.trace_id
    assert sorted(store.trace_stages(trace_id), key=_key) == sorted(expected.stages, key=_key)
    assert store.asset_uses(trace_id) == list(expected.asset_uses)
    assert store.findings(trace_id) == list(expected.findings)
    assert store.trace(trace_id).parts == expected.runs


def test_a_refused_value_undoes_all_of_the_write_and_harms_no_later_one(store: Store) -> None:
    # Given a stored trace, and a write with a value that no column can hold
    _write(store, *_whole())
    other = new_trace_id()
    refused = [*_whole(other), span(4, 1, flags=2**70)]

    with pytest.raises(InvalidInput):
        store.write(batches(*refused), [Reject("why", b"x")], NOW)

    # Then nothing of it is there, and the store goes on, also with traces that it knows
    assert _ids(store, other) == []
    assert _ids(store) == [sid(1), sid(2), sid(3)]
    for number in range(5, 15):
        assert _write(store, span(number, 1)) == Written(1, 0, 0)


def test_resources_and_scopes_are_kept_once(store: Store, db_url: str) -> None:
    for _ in range(3):
        _write(store, *_whole(new_trace_id()))

    counts = "SELECT (SELECT count(*) FROM resource), (SELECT count(*) FROM scope), (SELECT count(*) FROM asset)"
    assert of_url(db_url).query(counts) == [(1, 1, 1)]


def test_rejects_are_kept_for_a_person_to_read(store: Store, db_url: str) -> None:
    store.write([], [Reject("trace_id is all zeros", b"\x00\xff", "grpc", "ipv4:10.0.0.1:5")], NOW)

    kept = of_url(db_url).query("SELECT received_ns, transport, peer, reason, size, payload FROM reject")
    assert kept == [(NOW, "grpc", "ipv4:10.0.0.1:5", "trace_id is all zeros", 2, b"\x00\xff")]


def test_rejects_are_bounded_and_the_oldest_go_first(store: Store, db_url: str) -> None:
    bounded = open_store(db_url, rejects=RejectBounds(rows=3))
    try:
        for number in range(5):
            bounded.write([], [Reject(f"{number}a", b""), Reject(f"{number}b", b"")], NOW)
    finally:
        bounded.close()

    assert of_url(db_url).query("SELECT reason FROM reject ORDER BY id") == [("3b",), ("4a",), ("4b",)]


def test_hostile_text_is_stored_everywhere(store: Store) -> None:
    odd = "a\0'; DROP TABLE span; -- %s {x} \\ \u2028 보험 \U0001f600"
    said = {RUN_ID: odd, "evalvault.stage.name": odd, "evalvault.stage.id": odd, "evalvault.output.answer": odd, odd: 1}
    root = stage(
        1,
        0,
        "output",
        said,
        name=odd,
        status_code=2,
        status_message=odd,
        trace_state=odd,
        events=(asset(kind=odd, name=odd, version=odd, role=odd), raised(odd, odd)),
    )

    assert store.write(batches(root), [Reject(odd, odd.encode(), "http", odd)], NOW).stored == 1

    (found,) = store.trace_stages(TRACE_ID)
    clean = odd.replace("\0", "\ufffd")
    assert (found.stage_id, found.stage_name, found.error_type) == (clean, clean, clean)
    assert found.attributes["answer"] == clean
    assert found.metrics[f"output.{clean}"] == 1
    assert store.asset_uses(TRACE_ID)[0].name == clean
    # A run id holds no control characters; NUL is one.
    assert store.run(found.run_id).traces == 1
    assert [item.run_id for item in store.runs(RunFilter(q="'; DROP"), 5).items] == [found.run_id]


@pytest.mark.parametrize("field", ["kind", "name", "version", "id"])
def test_an_asset_may_have_a_name_of_any_length(store: Store, field: str) -> None:
    said: dict[str, Any] = {"kind": "prompt", "name": "p", field: secrets.token_hex(20_000)}

    assert _write(store, stage(1, 0, "tool", events=(asset(**said),))) == Written(1, 0, 0)
    assert len(store.asset_uses(TRACE_ID)) == 1


# The background: marks, pauses, order.


def test_a_trace_in_pieces_is_marked_and_due_after_the_pause(store: Store) -> None:
    root, left, _ = _whole()
    for spans, pause in (([left], QUIET), ([root, span(7, 6)], QUIET), ([left, replace(root, span_id=sid(9))], QUIET)):
        trace_id = new_trace_id()
        _write(store, *in_trace(spans, trace_id))

        assert not store.trace(trace_id).assembled
        assert trace_id not in store.due_traces(NOW + pause - 1, 10)
        assert trace_id in store.due_traces(NOW + pause, 10)


def test_spans_that_complete_a_trace_make_it_due_soon(store: Store) -> None:
    root, left, right = _whole()
    _write(store, left, right)
    _write(store, root, at=NOW + SETTLE)

    assert store.due_traces(NOW + 2 * SETTLE - 1, 10) == []
    assert store.due_traces(NOW + 2 * SETTLE, 10) == [TRACE_ID]


def test_new_spans_mark_an_assembled_trace_and_duplicates_do_not(store: Store) -> None:
    _write(store, *_whole())

    _write(store, *_whole())
    assert store.due_traces(FAR, 10) == []
    _write(store, stage(4, 2, "rerank"))
    assert store.due_traces(FAR, 10) == [TRACE_ID]


def test_due_traces_come_longest_waiting_first_and_not_more_than_asked_for(store: Store) -> None:
    ids = [new_trace_id() for _ in range(5)]
    for wait, trace_id in zip((3, 1, 4, 0, 2), ids, strict=True):
        _write(store, span(2, 1, trace_id=trace_id), at=NOW + wait * MS)

    expected = [ids[3], ids[1], ids[4], ids[0], ids[2]]
    assert store.due_traces(FAR, 10) == expected
    assert store.due_traces(FAR, 2) == expected[:2]
    assert store.due_traces(NOW + QUIET + MS, 10) == expected[:2]


def _due_ns(db_url: str) -> int:
    ((due,),) = of_url(db_url).query("SELECT due_ns FROM trace")
    return int(due)


def test_the_pause_grows_with_each_assembly_and_is_bounded(store: Store, db_url: str) -> None:
    pauses = []
    for number in range(2, 14):
        _write(store, span(number, 1), at=NOW)
        pauses.append((_due_ns(db_url) - NOW) / QUIET)
        assert store.reassemble(TRACE_ID, assemble, NOW)

    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pauses[-2] <= 64


@pytest.mark.parametrize("assemblies", [0, 1, 3, 8])
def test_a_constant_stream_postpones_assembly_only_so_far(store: Store, db_url: str, assemblies: int) -> None:
    # Given a trace that was assembled some times
    for number in range(assemblies):
        _write(store, span(100 + number, 1))
        assert store.reassemble(TRACE_ID, assemble, NOW)
    _write(store, span(200, 1))
    pause = _due_ns(db_url) - NOW

    # When spans keep coming, four in each first pause
    dues = []
    for step in range(1, 200):
        _write(store, span(200 + step, 1), at=NOW + step * QUIET // 4)
        dues.append(_due_ns(db_url) - NOW)

    # Then it is due after the pause of a single span at the earliest, and after four first pauses, or that of its own
    assert min(dues) >= pause
    assert max(dues) <= max(4 * QUIET, pause)


# reassemble.


def test_reassemble_replaces_all_that_was_derived(store: Store) -> None:
    root, left, right = _whole()
    _write(store, left)
    assert store.reassemble(TRACE_ID, assemble, NOW)
    assert _types(store) == ["retrieval"]
    assert [item.code for item in store.findings(TRACE_ID)] == ["no_root", "missing_parent"]

    _write(store, root, right)
    assert store.reassemble(TRACE_ID, assemble, NOW)

    assert _types(store) == ["output", "retrieval", "workflow"]
    assert store.findings(TRACE_ID) == []
    assert len(store.asset_uses(TRACE_ID)) == 1
    assert len(store.trace(TRACE_ID).parts) == 1


def test_reassemble_gives_the_function_the_spans_as_they_came(store: Store) -> None:
    spans = golden_spans("pieces")
    _write(store, *spans)
    given: list[Sequence[Span]] = []

    def remember(found: Sequence[Span], logs: Sequence[LogEvent]) -> Assembly:
        given.append(found)
        return assemble(found, logs)

    assert store.reassemble(spans[0].trace_id, remember, NOW)
    assert sorted(map(exact, given[0])) == sorted(map(exact, spans))


def test_reassemble_does_nothing_where_nothing_is_to_be_done(store: Store) -> None:
    assert not store.reassemble(TRACE_ID, assemble, NOW)
    _write(store, *_whole())
    assert not store.reassemble(TRACE_ID, assemble, NOW)
    _write(store, span(4, 1))
    assert store.reassemble(TRACE_ID, assemble, NOW)
    assert not store.reassemble(TRACE_ID, assemble, NOW)


def test_an_assembly_that_fails_leaves_everything_as_it_was(store: Store) -> None:
    _write(store, *_whole())
    _write(store, stage(4, 1, "tool"))

    def fail(_: Sequence[Span], __: Sequence[LogEvent]) -> Assembly:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        store.reassemble(TRACE_ID, fail, NOW)

    assert _types(store) == ["output", "retrieval", "workflow"]
    assert store.due_traces(FAR, 10) == [TRACE_ID]
    assert store.reassemble(TRACE_ID, assemble, NOW)
    assert _types(store) == ["output", "retrieval", "tool", "workflow"]


def test_a_late_run_id_moves_the_trace_and_the_old_run_is_gone(store: Store) -> None:
    root, left, right = _whole()
    _write(store, root, left)
    fallback = store.trace(TRACE_ID).run_id
    assert fallback == "rag-api@2026-01-01"

    _write(store, replace(right, attributes={**right.attributes, RUN_ID: "nightly"}))
    assert store.reassemble(TRACE_ID, assemble, NOW)

    assert {item.run_id for item in store.trace_stages(TRACE_ID)} == {"nightly"}
    assert {item.run_id for item in store.asset_uses(TRACE_ID)} == {"nightly"}
    assert [part.run_id for part in store.trace(TRACE_ID).parts] == ["nightly"]
    assert [item.run_id for item in store.runs(RunFilter(), 10).items] == ["nightly"]
    with pytest.raises(NotFound):
        store.run(fallback)


# spans.


def test_spans_come_by_start_and_then_by_id(store: Store) -> None:
    spans = [
        span(5, 1, start=3),
        span(4, 1, start=9),
        span(3, 1, start=9),
        span(2, 1, start_ns=0),
        span(1, 0, start_ns=2**63),
        span(6, 1, start_ns=2**64 - 1),
    ]
    _write(store, *spans)

    assert _ids(store) == [sid(2), sid(5), sid(3), sid(4), sid(1), sid(6)]


def test_an_unknown_trace_has_no_spans(store: Store) -> None:
    assert store.spans(TRACE_ID) == []


# Many at once.


def test_readers_and_writers_do_not_wait_for_each_other_forever(store: Store) -> None:
    traces = [_whole(new_trace_id()) for _ in range(40)]
    failures: list[Exception] = []

    def write(some: list[list[Span]]) -> None:
        try:
            for spans in some:
                _write(store, *spans)
        except Exception as exc:  # noqa: BLE001 - shown by the assertion below
            failures.append(exc)

    def read() -> None:
        try:
            for spans in traces:
                assert len(store.spans(spans[0].trace_id)) in {0, 3}
                store.runs(RunFilter(), 5)
        except Exception as exc:  # noqa: BLE001 - as above
            failures.append(exc)

    threads = [threading.Thread(target=write, args=(traces[start::4],)) for start in range(4)]
    threads += [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    assert store.run("rag-api@2026-01-01").traces == 40
