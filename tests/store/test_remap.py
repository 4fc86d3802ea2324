"""Many traces assembled again, beside writers: the result is that of the new mapping, and nothing is forgotten."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import pytest

from benchmarks.database import Database, of_url
from evalvault_otel.assembly import assemble
from evalvault_otel.conventions.reading import DIALECTS, Conventions
from evalvault_otel.conventions.rules_file import parse
from evalvault_otel.model import Assembly, LogEvent, Span
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.records import RunFilter
from evalvault_otel.store.remap_records import Remapped
from evalvault_otel.store.selecting import Selected, Selection, TraceSize
from tests.support.derived import derived_rows
from tests.support.traces import RUN_ID, asset, batches, log, new_trace_id, span, stage

NOW = 1_700_000_000_000_000_000
FAR = 2**62
RULES, _ = parse(
    """
version: 1
rules:
  - name: lookups
    when: {span: "step 2"}
    stage: retrieval
"""
)
NEWER = Conventions(DIALECTS, RULES)
newer = partial(assemble, conventions=NEWER)


@pytest.fixture
def other(store: Store, db_url: str) -> Iterator[Store]:
    """A second store on the same database."""
    opened = open_store(db_url)
    yield opened
    opened.close()


@pytest.fixture
def database(store: Store, db_url: str) -> Database:
    return of_url(db_url)


def _spans(trace_id: str, run: str = "r") -> list[Span]:
    """A trace of which `NEWER` makes one more stage."""
    events = (asset(kind="prompt", name="p", version="1"),)
    return [stage(1, 0, "workflow", {RUN_ID: run}, trace_id=trace_id, events=events), span(2, 1, trace_id=trace_id)]


def _fill(store: Store, count: int, run: str = "r") -> list[str]:
    ids = sorted(new_trace_id() for _ in range(count))
    store.write(batches(*(one for trace_id in ids for one in _spans(trace_id, run))), [], NOW)
    return ids


def _types(store: Store, trace_id: str) -> list[str]:
    return sorted(item.stage_type for item in store.trace_stages(trace_id))


def test_every_derived_row_is_the_one_that_the_new_mapping_gives_at_once(store: Store, database: Database) -> None:
    old = _fill(store, 3)
    fresh = sorted(new_trace_id() for _ in range(3))
    for trace_id in fresh:
        (batch,) = batches(*_spans(trace_id))
        store.write([type(batch)(trace_id, batch.spans, newer(batch.spans), False, False)], [], NOW)

    done = store.remap(old, newer, NOW)

    assert done == Remapped(traces=3, spans=6, changed=3, retyped=3)
    assert [derived_rows(database, one) for one in old] == [derived_rows(database, one) for one in fresh]
    assert store.run("r").stages == 12


def test_a_dry_run_says_the_same_and_changes_nothing(store: Store, database: Database) -> None:
    (trace_id,) = _fill(store, 1)
    before = derived_rows(database, trace_id)

    assert store.remap([trace_id], newer, NOW, write=False) == store.remap([trace_id], newer, NOW, write=False)
    assert store.remap([trace_id], newer, NOW, write=False) == Remapped(traces=1, spans=2, changed=1, retyped=1)
    assert derived_rows(database, trace_id) == before


def test_the_same_mapping_changes_nothing(store: Store, database: Database) -> None:
    ids = _fill(store, 2)
    before = [derived_rows(database, one) for one in ids]

    assert store.remap(ids, assemble, NOW) == Remapped(traces=2, spans=4)
    assert [derived_rows(database, one) for one in ids] == before


def test_unknown_traces_and_those_without_spans_are_left_out(store: Store) -> None:
    (trace_id,) = _fill(store, 1)
    logged = new_trace_id()
    store.write(batches(logs=[log(1, "gen_ai.choice", trace_id=logged)]), [], NOW)

    assert store.remap([trace_id, logged, new_trace_id()], newer, NOW).traces == 1
    assert store.remap([], newer, NOW) == Remapped()


def test_a_trace_whose_assembly_raises_keeps_its_rows_and_costs_no_other(store: Store) -> None:
    bad, good = _fill(store, 2)

    def fails(spans: Sequence[Span], logs: Sequence[LogEvent]) -> Assembly:
        if spans[0].trace_id == bad:
            raise ValueError("a defect")
        return newer(spans, logs)

    assert store.remap([bad, good], fails, NOW) == Remapped(1, 2, 1, 1, failed=(bad,))
    assert (_types(store, bad), _types(store, good)) == (["workflow"], ["retrieval", "workflow"])


def _interrupted(*interruptions: Callable[[], object]) -> tuple[Callable[..., Assembly], list[int]]:
    """An assembly during whose first calls these things happen; and how many spans each call was given."""
    waiting, seen = list(interruptions), []

    def slowly(spans: Sequence[Span], logs: Sequence[LogEvent]) -> Assembly:
        seen.append(len(spans))
        if waiting:
            waiting.pop(0)()
        return newer(spans, logs)

    return slowly, seen


def test_a_span_that_comes_meanwhile_is_stored_at_once_and_in_the_result(store: Store, other: Store) -> None:
    first, second = _fill(store, 2)
    slowly, seen = _interrupted(lambda: other.write(batches(stage(3, 1, "tool", trace_id=first)), [], NOW))

    assert store.remap([first, second], slowly, NOW) == Remapped(2, 5, 2, 3)
    assert seen == [2, 2, 3]
    assert _types(store, first) == ["retrieval", "tool", "workflow"]
    assert store.due_traces(FAR, 10) == []


def test_an_assembly_that_comes_meanwhile_does_not_win(store: Store, other: Store) -> None:
    # Given a marked trace, and a server with the older mapping
    trace_id = new_trace_id()
    store.write(batches(stage(1, 9, "workflow", trace_id=trace_id), span(2, 1, trace_id=trace_id)), [], NOW)
    slowly, _ = _interrupted(lambda: other.reassemble(trace_id, assemble, NOW))

    assert store.remap([trace_id], slowly, NOW).traces == 1
    assert _types(store, trace_id) == ["retrieval", "workflow"]


def test_a_trace_that_never_stops_growing_is_done_all_the_same(store: Store, other: Store) -> None:
    (trace_id,) = _fill(store, 1)

    def grow(number: int) -> Callable[[], object]:
        return lambda: other.write(batches(span(number, 1, trace_id=trace_id)), [], NOW)

    slowly, seen = _interrupted(*(grow(number) for number in range(10, 13)))

    assert store.remap([trace_id], slowly, NOW).traces == 1
    assert seen == [2, 3, 4, 5]
    assert _types(store, trace_id) == ["retrieval", "workflow"]


def test_runs_follow_when_all_of_their_traces_move(store: Store) -> None:
    ids = [*_fill(store, 3, run="one"), *_fill(store, 2, run="two")]

    def elsewhere(spans: Sequence[Span], logs: Sequence[LogEvent]) -> Assembly:
        return assemble([replace(one, attributes={**one.attributes, RUN_ID: "all"}) for one in spans], logs)

    assert store.remap(ids, elsewhere, NOW).changed == 5
    assert store.run("all").traces == 5
    assert [item.run_id for item in store.runs(RunFilter(), 10).items] == ["all"]


# Selections


def test_selections_are_walked_page_by_page_in_the_order_of_ids(store: Store) -> None:
    ids = sorted([*_fill(store, 3, run="one"), *_fill(store, 2, run="two")])

    everything = Selection()
    pages = [store.selected_traces(everything, 2), store.selected_traces(everything, 2, ids[1])]
    assert [item for page in pages for item in page] == [TraceSize(one, 2, 0) for one in ids[:4]]
    assert store.selected_traces(everything, 9, ids[-1]) == []
    assert store.selected(everything) == Selected(5, 10)


def test_each_part_of_a_selection_leaves_out_the_others(store: Store) -> None:
    one, two = _fill(store, 2, run="one"), _fill(store, 1, run="two")
    waiting = new_trace_id()
    store.write(batches(span(2, 1, trace_id=waiting)), [], NOW + 5)
    store.remap(one[:1], newer, NOW)

    def ids(wanted: Selection) -> list[str]:
        found = [item.trace_id for item in store.selected_traces(wanted, 100)]
        assert store.selected(wanted).traces == len(found)
        return found

    assert ids(Selection(run_id="one")) == one
    assert ids(Selection(trace_id=two[0])) == two
    assert ids(Selection(since_ns=NOW + 1)) == [waiting]
    assert ids(Selection(assembled=True)) == sorted([*one, *two])
    assert ids(Selection(assembled=True, not_mapping=NEWER.version)) == sorted([one[1], *two])
    assert ids(Selection(run_id="none")) == []


def test_the_archive_gives_back_many_traces_as_it_gives_one(store: Store) -> None:
    ids = _fill(store, 2)
    store.write(batches(logs=[log(1, "gen_ai.choice", {"a": 1}, trace_id=ids[0])]), [], NOW)

    found = store.archived([ids[1], new_trace_id(), ids[0]])

    assert [item.spans for item in found] == [store.spans(ids[1]), [], store.spans(ids[0])]
    assert [item.logs for item in found] == [[], [], store.logs(ids[0])]
