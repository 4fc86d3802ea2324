"""Rows of runs are a function of the traces that belong to them, whatever the order in which these came or went."""

import itertools
import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.database import of_url
from evalvault_otel.errors import NotFound
from evalvault_otel.model import Assembly, RunTrace, Span
from evalvault_otel.store import Store, TraceBatch
from tests.support.scripts import run_script
from tests.support.stages import assembly, stage
from tests.support.traces import at, span


def _tid(number: int) -> str:
    return f"{number:032x}"


def _said(number: int, run_id: str = "r", end: float = 100, start: float = 0, **words: Any) -> Assembly:
    """The assembly of a trace that says these words about a run."""
    made = assembly([stage(number, 1, "output", run_id=run_id)])
    said = {"run_name": None, "run_kind": None, "dataset": None, "dataset_version": None, "service": "api"} | words
    part = RunTrace(_tid(number), run_id, "", "ask", at(start), at(end), 1, 0, ("output",))
    return replace(made, trace_id=_tid(number), run_id=run_id, runs=(replace(part, **said),))


def _batch(item: Assembly) -> TraceBatch:
    return TraceBatch(item.trace_id, _span(item, 1), item, missing_root=False, missing_parent=False)


def _span(item: Assembly, number: int) -> tuple[Span, ...]:
    return (span(number, trace_id=item.trace_id),)


def _add(store: Store, *new: Assembly) -> None:
    """Traces that are new, each in a transaction of its own."""
    for item in new:
        assert store.write([_batch(item)], [], at(0)).stored == 1


_numbers = itertools.count(2)


def _change(store: Store, changed: Assembly) -> None:
    """A span that comes late gives a trace another assembly."""
    late = replace(_batch(changed), spans=_span(changed, next(_numbers)), assembly=None)
    assert store.write([late], [], at(1)).stored == 1
    assert store.reassemble(changed.trace_id, lambda *_: changed, at(2))


def _words(store: Store, run_id: str = "r") -> dict[str, Any]:
    found = store.run(run_id)
    names = ("name", "kind", "dataset", "dataset_version", "service")
    return {name: getattr(found, name) for name in names} | {"times": (found.first_ns, found.last_ns)}


_COLUMNS = "run_id, name, kind, dataset, dataset_version, service, first_ns, last_ns"


def _rows(db_url: str) -> list[tuple[Any, ...]]:
    return of_url(db_url).query(f"SELECT {_COLUMNS} FROM run ORDER BY run_id")  # noqa: S608 - our own names


_TRACES = (
    _said(1, end=300),
    _said(2, end=200, run_name="late", dataset="d2"),
    _said(3, end=100, run_name="early", run_kind="offline", start=-5),
    _said(4, end=200, run_name="same end, greater id"),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_the_latest_trace_that_says_a_word_has_the_last_one(store: Store, order: Sequence[int]) -> None:
    _add(store, *(_TRACES[index] for index in order))

    assert _words(store) == {
        "name": "same end, greater id",
        "kind": "offline",
        "dataset": "d2",
        "dataset_version": None,
        "service": "api",
        "times": (at(-5), at(300)),
    }


def test_many_traces_in_one_transaction_say_the_same(store: Store) -> None:
    store.write([_batch(item) for item in _TRACES], [], at(0))

    assert _words(store)["name"] == "same end, greater id"


def test_a_trace_that_moves_takes_its_words_and_times_with_it(store: Store, db_url: str) -> None:
    _add(store, _said(1, end=100, run_name="first"), _said(2, end=200, start=-9, run_name="second", service="web"))

    _change(store, _said(2, "other", end=200, start=-9, run_name="second", service="web"))

    assert (_words(store)["name"], _words(store)["service"], _words(store)["times"]) == (
        "first",
        "api",
        (at(0), at(100)),
    )
    assert (_words(store, "other")["name"], _words(store, "other")["times"]) == ("second", (at(-9), at(200)))
    assert [row[0] for row in _rows(db_url)] == ["other", "r"]


def test_a_run_that_lost_its_last_trace_has_no_row(store: Store, db_url: str) -> None:
    _add(store, _said(1, run_name="first"))

    _change(store, _said(1, "other"))

    assert [row[0] for row in _rows(db_url)] == ["other"]
    with pytest.raises(NotFound):
        store.run("r")


@pytest.mark.parametrize(
    "after, name, times",
    [
        (_said(2, end=200), "first", (0, 200)),
        (_said(2, end=200, run_name="third"), "third", (0, 200)),
        (_said(2, end=50, run_name="third"), "first", (0, 100)),
        (_said(2, end=300, start=50, run_name="third"), "third", (0, 300)),
        (_said(2, end=200, start=-50, run_name="third"), "third", (-50, 200)),
    ],
)
def test_a_trace_that_changes_its_mind_changes_the_run(
    store: Store, after: Assembly, name: str, times: tuple[int, int]
) -> None:
    _add(store, _said(1, end=100, run_name="first"), _said(2, end=200, run_name="second"))

    _change(store, after)

    assert (_words(store)["name"], _words(store)["times"]) == (name, (at(times[0]), at(times[1])))


def test_any_history_gives_what_the_last_state_gives(store: Store, db_url: str) -> None:
    chosen = random.Random(7)  # noqa: S311 - reproducible histories, no secret

    def said(number: int) -> Assembly:
        words = {word: chosen.choice([None, "a", "b"]) for word in ("run_name", "run_kind", "dataset")}
        return _said(
            number, chosen.choice("rst"), chosen.choice([100, 200, 300]), chosen.choice([0, 10, 20]), **words,
            service=chosen.choice(["api", "web"]),
        )  # fmt: skip

    for _ in range(8):
        # Given some traces that change their minds
        state = {number: said(number) for number in range(1, 6)}
        _add(store, *state.values())
        for _ in range(10):
            number = chosen.randint(1, 5)
            state[number] = said(number)
            _change(store, state[number])
        found = _rows(db_url)

        # Then the runs are those of the last state alone, in any order
        _forget(db_url)
        _add(store, *sorted(state.values(), key=lambda _: chosen.random()))
        assert found == _rows(db_url)
        _forget(db_url)


def test_runs_are_right_when_traces_come_and_move_at_once(store: Store, db_url: str) -> None:
    # Given writers that add traces to some runs, and others whose traces move between these runs
    state: dict[int, Assembly] = {}
    failures: list[BaseException] = []

    def said(number: int, chosen: random.Random) -> Assembly:
        return _said(
            number, chosen.choice("rstu"), chosen.randint(1, 300), chosen.randint(-300, 0), run_name=f"{number}"
        )

    def work(first: int) -> None:
        chosen = random.Random(first)  # noqa: S311 - reproducible histories, no secret
        try:
            for number in range(first, first + 12):
                state[number] = said(number, chosen)
                _add(store, state[number])
                moved = chosen.randint(first, number)
                state[moved] = said(moved, chosen)
                _change(store, state[moved])
        except BaseException as exc:  # noqa: BLE001 - shown by the assertion below
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(first,)) for first in (100, 200, 300, 400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Then nobody was in the way of another, and the runs are those of the last state
    assert failures == []
    found = _rows(db_url)
    _forget(db_url)
    _add(store, *state.values())
    assert found == _rows(db_url)


def _forget(db_url: str) -> None:
    tables = ("span", "trace", "stage_event", "run_trace", "run")
    run_script(db_url, "".join(f"DELETE FROM {table};" for table in tables))  # noqa: S608 - our own names
