"""Answers that are kept until a run changes are never older than the question, whoever changes the run and however."""

import random
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from evalvault_otel.analysis.render import to_json
from evalvault_otel.analysis.report import debug_report
from evalvault_otel.assembly import assemble
from evalvault_otel.errors import NotFound
from evalvault_otel.model import Span
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.kept import KeptAnswers, Rows
from evalvault_otel.store.records import StageFilter
from tests.support.traces import RUN_ID, asset, batches, new_trace_id, raised, span, stage

NOW = 1_700_000_000_000_000_000
RUNS = ("r1", "r2")


@pytest.fixture
def other(store: Store, db_url: str) -> Iterator[Store]:
    """A second process, as far as the database can tell."""
    opened = open_store(db_url)
    yield opened
    opened.close()


def _answers(store: Store, run_id: str) -> bytes | None:
    try:
        return to_json(debug_report(store, run_id)) + str(store.stages(run_id, StageFilter(), 5).total).encode()
    except NotFound:
        return None


class _Life:
    """Traces that come, grow, move to another run and are removed; `steps` are all that can happen."""

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)  # noqa: S311 - the same life for the same seed
        self._clock = count(NOW)
        self._spans = count(10)
        self._traces: list[str] = []
        self.steps: tuple[Callable[[], None], ...] = (self._new, self._new, self._late, self._move, self._prune)

    def live(self) -> None:
        self.last = self._random.choice(self.steps)
        self.last()

    def _new(self) -> None:
        trace_id, run_id = new_trace_id(), self._random.choice(RUNS)
        self._traces.append(trace_id)
        events = (asset(kind="prompt", name="p", version=str(self._random.randrange(3))),)
        wrong = (raised("ValueError", "no"),) if self._random.random() < 0.3 else ()
        self._store.write(
            batches(
                stage(1, 0, "workflow", {RUN_ID: run_id}, trace_id=trace_id),
                stage(2, 1, "retrieval", {"evalvault.retrieval.doc_ids": ("a", "a")}, trace_id=trace_id, events=wrong),
                stage(3, 1, "output", trace_id=trace_id, events=events),
            ),
            [],
            next(self._clock),
        )

    def _late(self) -> None:
        self._grow(lambda trace_id, number: stage(number, 1, "rerank", trace_id=trace_id))

    def _move(self) -> None:
        self._grow(lambda trace_id, number: span(number, 1, {RUN_ID: self._random.choice(RUNS)}, trace_id=trace_id))

    def _grow(self, late: Callable[[str, int], Span]) -> None:
        if self._traces:
            trace_id = self._random.choice(self._traces)
            self._store.write(batches(late(trace_id, next(self._spans))), [], next(self._clock))
            self._store.reassemble(trace_id, assemble, next(self._clock))

    def _prune(self) -> None:
        if self._random.random() < 0.5:
            self._store.prune(next(self._clock), 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_store_that_was_asked_before_answers_as_one_that_was_not(
    store: Store, other: Store, db_url: str, seed: int
) -> None:
    life = _Life(other, seed)
    for _ in range(30):
        life.live()
        fresh = open_store(db_url)
        for run_id in RUNS:
            assert _answers(store, run_id) == _answers(fresh, run_id)
        fresh.close()


def test_the_same_question_is_read_once_until_the_run_changes() -> None:
    kept, reads = KeptAnswers(), count()

    def ask(change: int) -> int:
        return int(kept.rows("question", change, lambda: [{"n": next(reads)}])[0]["n"])

    assert [ask(1), ask(1), ask(2), ask(2), ask(1)] == [0, 0, 1, 1, 2]


def test_who_asks_the_same_meanwhile_waits_for_the_answer() -> None:
    kept, reads, begun, go_on = KeptAnswers(), count(), threading.Event(), threading.Event()

    def read() -> Rows:
        begun.set()
        assert go_on.wait(5)
        return [{"n": next(reads)}]

    answers: list[Rows] = []
    threads = [threading.Thread(target=lambda: answers.append(kept.rows("q", 1, read))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(5)
    go_on.set()
    for thread in threads:
        thread.join(5)

    assert answers == [[{"n": 0}]] * 4


def test_an_error_is_not_kept() -> None:
    kept = KeptAnswers()

    def fail() -> Rows:
        raise NotFound("gone")

    with pytest.raises(NotFound):
        kept.rows("q", 1, fail)
    assert kept.rows("q", 1, list) == []


def test_the_oldest_answers_make_room() -> None:
    kept, reads = KeptAnswers(), count()
    for number in range(2_000):
        kept.rows(number, 1, lambda: [{"n": next(reads)}])

    assert kept.rows(1_999, 1, list) == [{"n": 1_999}]
    assert kept.rows(0, 1, list) == []
