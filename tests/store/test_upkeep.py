"""Looking after a database, on every store: its version, its condition, and removing what is old."""

import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.database import of_url
from evalvault_otel.assembly import assemble
from evalvault_otel.errors import NotFound, SettingsError, Unavailable
from evalvault_otel.model import Reject, Span, SpanLink
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.migrations import scripts
from evalvault_otel.store.records import RejectFilter, RunFilter
from evalvault_otel.store.upkeep import PER_TRACE
from evalvault_otel.store.upkeep_records import Prunable, Schema, TableRows
from tests.support.traces import RUN_ID, asset, batches, log, new_trace_id, span, stage

NOW = 1_700_000_000_000_000_000
DAY = 86_400 * 10**9
NEWEST = scripts("sqlite")[-1][0]


def whole(run_id: str = "run-1", trace_id: str | None = None) -> list[Span]:
    """A trace of three spans; that its root ends before it starts is a finding."""
    trace_id = trace_id or new_trace_id()
    said: dict[str, Any] = {RUN_ID: run_id}
    return [
        stage(1, 0, "workflow", said, trace_id=trace_id, start=90, end=10),
        stage(2, 1, "retrieval", trace_id=trace_id, events=(asset(kind="query", name="find", version=1),)),
        stage(3, 1, "output", trace_id=trace_id, links=(SpanLink(trace_id, "0" * 16, "", {}),)),
    ]


def write(store: Store, at_ns: int, *spans: Span) -> str:
    store.write(batches(*spans), [], at_ns)
    return spans[0].trace_id


def write_all(store: Store, at_ns: int, run_id: str = "run-1") -> str:
    """A trace with rows in every table; its id."""
    spans = whole(run_id)
    said = [log(1, "gen_ai.evaluation.result", trace_id=spans[0].trace_id)]
    store.write(batches(*spans, logs=said), [], at_ns)
    store.reassemble(spans[0].trace_id, assemble, at_ns)
    return spans[0].trace_id


def traces_of(db_url: str, table: str = "trace") -> set[str]:
    return {row[0] for row in of_url(db_url).query(f"SELECT trace_id FROM {table}")}  # noqa: S608 - our own names


def change(db_url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements from outside, for good; the rows of the last one."""
    if db_url.startswith("sqlite"):
        with closing(sqlite3.connect(db_url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            return [file.execute(statement).fetchall() for statement in statements][-1]
    with psycopg.connect(db_url, autocommit=True) as server:
        cursors = [server.execute(statement.encode()) for statement in statements]
        return cursors[-1].fetchall() if cursors[-1].description else []


def everything(db_url: str) -> dict[str, set[str]]:
    return {table.name: traces_of(db_url, table.name) for table in PER_TRACE} | {"trace": traces_of(db_url)}


# Versions.


def test_an_empty_database_has_no_version(db_url: str) -> None:
    store = open_store(db_url)
    try:
        if db_url.startswith("sqlite"):
            with pytest.raises(Unavailable, match="there is no database"):
                store.schema()
            of_url(db_url).query("CREATE TABLE theirs (n INTEGER)")
        assert (store.schema().version, store.schema().known) == (0, NEWEST)
        assert "run `evalvault-otel db migrate`" in (store.schema().problem or "")
        store.migrate()
        assert store.schema() == Schema(NEWEST, NEWEST, 0)
        assert store.schema().problem is None
    finally:
        store.close()


def test_tables_of_an_older_version_are_named_with_the_remedy(store: Store, db_url: str) -> None:
    change(db_url, f"DELETE FROM migration WHERE version = {NEWEST}")  # noqa: S608 - a number of ours

    said = store.schema().problem or ""

    assert f"this program needs {NEWEST}: run `evalvault-otel db migrate`" in said
    with pytest.raises(Unavailable, match="run `evalvault-otel db migrate`"):
        store.ping()


def test_tables_of_a_newer_version_are_refused_and_still_read(store: Store, db_url: str) -> None:
    change(db_url, "INSERT INTO migration (version, name) VALUES (9999, '9999_later.sql')")

    assert "tables have version 9999" in (store.schema().problem or "")
    with pytest.raises(SettingsError, match=r"newer version .* 9999.*: upgrade evalvault-otel"):
        store.migrate()
    store.ping()


# Condition.


def test_the_condition_of_a_database_in_order(store: Store, db_url: str) -> None:
    write(store, NOW, *whole())
    write(store, NOW + 5, span(7, 6, trace_id=new_trace_id()))
    store.write([], [Reject("why", b"x")], NOW)

    found = store.condition()

    rows = {table.table: (table.rows, table.exact) for table in found.tables}
    assert (rows["span"], rows["trace"], rows["run"], rows["reject"]) == ((4, True), (2, True), (1, True), (1, True))
    assert {table.name for table in PER_TRACE} < set(rows)
    assert (found.waiting, found.oldest_waiting_ns) == (1, NOW + 5)
    assert (found.orphans, found.integrity) == ((), () if db_url.startswith("sqlite") else None)
    assert found.size_bytes > 4096


def test_large_tables_are_estimated(postgres_url: str) -> None:
    store = open_store(postgres_url)
    store.migrate()
    change(
        postgres_url,
        "INSERT INTO scope SELECT CAST(n AS text), '', '', '{}', 0, '' FROM generate_series(1, 110000) AS n",
        "ANALYZE scope",
    )

    rows = {table.table: table for table in store.condition(thorough=False).tables}

    assert (rows["scope"].exact, rows["resource"].exact) == (False, True)
    assert rows["scope"].rows == pytest.approx(110_000, rel=0.1)
    store.close()


def test_rows_of_no_trace_are_found_unless_it_has_to_be_quick(store: Store, db_url: str) -> None:
    trace_id = write_all(store, NOW)
    write_all(store, NOW)
    change(db_url, f"DELETE FROM trace WHERE trace_id = '{trace_id}'")  # noqa: S608 - a hex id

    assert TableRows("span", 3, exact=True) in store.condition().orphans
    assert {found.table for found in store.condition().orphans} == {table.name for table in PER_TRACE}
    assert store.condition(thorough=False).orphans == ()


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    store = open_store(str(path))
    store.migrate()
    for _ in range(50):
        write(store, NOW, *whole())
    # When a page in the middle is lost
    change(f"sqlite:///{path}", "PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    bytes_before = path.read_bytes()
    half = len(bytes_before) // 2 // 4096 * 4096
    path.write_bytes(bytes_before[:half] + b"\xff" * 4096 + bytes_before[half + 4096 :])

    damaged = open_store(str(path))
    try:
        problems = damaged.condition().integrity or ()
    except Unavailable as exc:
        problems = (str(exc),)
    finally:
        damaged.close()
    assert problems


# Pruning.


def test_old_traces_go_with_all_that_hangs_on_them_and_new_ones_stay_whole(store: Store, db_url: str) -> None:
    old = write_all(store, NOW, "old-run")
    new = write_all(store, NOW + DAY, "new-run")
    assert all(found == {old, new} for found in everything(db_url).values()), "the test's traces fill every table"

    assert store.prunable(NOW + 1) == Prunable(1, 3, NOW)
    gone = store.prune(NOW + 1, 10)

    assert all(found == {new} for found in everything(db_url).values())
    assert (gone.traces, gone.rows["span"], gone.rows["run"], gone.rows["run_trace"]) == (1, 3, 1, 1)
    assert [run.run_id for run in store.runs(RunFilter(), 10).items] == ["new-run"]
    with pytest.raises(NotFound):
        store.trace(old)
    assert store.prunable(NOW + 1) == Prunable(0, 0, None)
    assert store.prune(NOW + 1, 10).rows == {}
    assert store.condition().orphans == ()


def test_slices_take_the_oldest_first_and_the_time_itself_stays(store: Store, db_url: str) -> None:
    ids = [write(store, NOW + number, *whole()) for number in (3, 1, 4, 0, 2)]
    by_age = [ids[3], ids[1], ids[4], ids[0], ids[2]]

    assert store.prune(NOW + 4, 2).traces == 2
    assert traces_of(db_url) == set(by_age[2:])
    assert store.prune(NOW + 4, 10).traces == 2
    assert traces_of(db_url) == {by_age[4]}


def test_a_run_stays_as_long_as_one_of_its_traces_does(store: Store) -> None:
    write(store, NOW, *whole("shared"))
    write(store, NOW + DAY, *whole("shared"))

    assert store.prune(NOW + 1, 10).rows["run"] == 0
    assert store.run("shared").traces == 1
    assert store.prune(NOW + 2 * DAY, 10).rows["run"] == 1
    assert store.runs(RunFilter(), 10).items == ()


def test_a_trace_in_pieces_is_as_old_as_its_latest_piece(store: Store, db_url: str) -> None:
    root, first, second = whole()
    trace_id = write(store, NOW, first)
    assert store.reassemble(trace_id, assemble, NOW + 1)
    write(store, NOW + 2 * DAY, root, second)
    assert store.reassemble(trace_id, assemble, NOW + 2 * DAY + 1)
    write(store, NOW + 3 * DAY, first)  # nothing new: no arrival

    assert store.prune(NOW + 2 * DAY, 10).traces == 0
    assert len(store.spans(trace_id)) == 3
    assert store.prune(NOW + 2 * DAY + 1, 10).traces == 1
    assert traces_of(db_url) == set()


def test_a_trace_that_waits_for_assembly_goes_too_and_nobody_misses_it(store: Store) -> None:
    trace_id = write(store, NOW, span(2, 1, trace_id=new_trace_id()))

    assert store.prune(NOW + 1, 10).traces == 1
    assert store.due_traces(NOW + DAY, 10) == []
    assert store.reassemble(trace_id, assemble, NOW + DAY) is False


def test_what_comes_again_after_it_was_removed_is_new(store: Store) -> None:
    spans = whole()
    trace_id = write(store, NOW, *spans)
    store.prune(NOW + 1, 10)

    assert store.write(batches(*spans), [], NOW + DAY).stored == 3
    assert len(store.trace_stages(trace_id)) > 0
    assert store.run("run-1").traces == 1


def test_dictionaries_stay(store: Store, db_url: str) -> None:
    write(store, NOW, *whole())
    store.prune(NOW + 1, 10)

    counts = "SELECT (SELECT count(*) FROM resource), (SELECT count(*) FROM scope), (SELECT count(*) FROM asset)"
    assert of_url(db_url).query(counts) == [(1, 1, 1)]


def test_rejects_go_by_their_own_time(store: Store) -> None:
    for number in range(3):
        store.write([], [Reject(f"{number}", b"x" * 10)], NOW + number)

    assert store.prune_rejects(NOW + 2) == 2
    assert [row.reason for row in store.rejects(RejectFilter(), 10).items] == ["2"]
    assert store.prune_rejects(NOW) == 0


def test_a_trace_that_is_held_is_left_for_the_next_time(postgres_url: str) -> None:
    store = open_store(postgres_url)
    store.migrate()
    held, _ = write(store, NOW, *whole()), write(store, NOW + 1, *whole())

    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT 1 FROM trace WHERE trace_id = %s FOR UPDATE", (held,))
        assert store.prune(NOW + 2, 10).traces == 1
        assert traces_of(postgres_url) == {held}

    assert store.prune(NOW + 2, 10).traces == 1
    store.close()


def test_a_trace_can_go_while_it_is_assembled(store: Store, db_url: str) -> None:
    root, *others = whole()
    trace_id = write(store, NOW, *others)
    write(store, NOW, root)
    pruned = []

    def late(spans: Any, logs: Any) -> Any:
        pruned.append(store.prune(NOW + 1, 10).traces)
        return assemble(spans, logs)

    assert store.reassemble(trace_id, late, NOW + 5) is False
    assert pruned == [1]
    assert all(found == set() for found in everything(db_url).values())
    assert store.condition().orphans == ()


def test_writers_and_pruners_at_once_leave_no_orphans_and_lose_nothing_new(store: Store, db_url: str) -> None:
    """Two write late pieces of old traces and new traces of runs that become empty, while two others prune."""
    old = [whole(f"run-{number % 5}") for number in range(60)]
    for spans in old:
        write(store, NOW, *spans)
    fresh: list[str] = []

    def renew() -> None:
        for number, spans in enumerate(old):
            fresh.append(write(store, NOW + DAY, *whole(f"run-{number % 5}")))
            write(store, NOW + DAY, stage(9, 1, "rerank", trace_id=spans[0].trace_id))

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(renew) for _ in range(2)]
        pruners = [pool.submit(prune_until, store, writers) for _ in range(2)]
        for work in (*writers, *pruners):
            work.result(60)

    assert store.prunable(NOW + 1).traces == 0
    assert store.condition().orphans == ()
    assert all(len(store.spans(trace_id)) == 3 for trace_id in fresh)
    # Every late piece is there, whether its trace was removed before it came or not at all.
    late = "SELECT count(*) FROM span WHERE span_id = '0000000000000009'"
    assert of_url(db_url).query(late) == [(len(old),)]
    # And no run is missing that has traces.
    lost = "SELECT run_id FROM run_trace WHERE run_id NOT IN (SELECT run_id FROM run)"
    assert of_url(db_url).query(lost) == []


def prune_until(store: Store, writers: Sequence[Future[None]]) -> None:
    """Prune slices of three traces as long as someone writes, and then until nothing old is left."""
    while not all(writer.done() for writer in writers) or store.prunable(NOW + 1).traces:
        store.prune(NOW + 1, 3)


def test_a_run_that_gets_a_trace_at_the_last_moment_stays(postgres_url: str) -> None:
    """A writer has put a trace into a run that is about to be empty, and has not committed yet."""
    store = open_store(postgres_url)
    store.migrate()
    write(store, NOW, *whole("run-1"))
    with psycopg.connect(postgres_url) as writer, ThreadPoolExecutor(1) as pool:
        writer.execute(
            "INSERT INTO run_trace (trace_id, run_id, service, name, started_ns, finished_ns, stages, errors, "
            "stage_types, tokens_in, tokens_out, cost_total) VALUES ('new', 'run-1', '', '', 1, 1, 0, 0, '', 0, 0, 0)"
        )
        writer.execute("UPDATE run SET last_ns = last_ns + 1")
        pruning = pool.submit(store.prune, NOW + 1, 10)
        while not change(postgres_url, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert not pruning.done()
        writer.commit()
        assert pruning.result(30).rows["run"] == 0
    assert store.run("run-1").traces == 1
    store.close()


def test_the_index_finds_the_oldest(store: Store, db_url: str) -> None:
    select = "SELECT trace_id FROM trace WHERE received_ns < 5 ORDER BY received_ns LIMIT 5"
    if db_url.startswith("sqlite"):
        plan = change(db_url, f"EXPLAIN QUERY PLAN {select}")
    else:  # an empty table is not worth an index, unless there is no choice
        plan = change(db_url, "SET enable_seqscan = off", "SET enable_sort = off", f"EXPLAIN {select}")
    assert "trace_received" in str(plan)
