"""Links on every store: kept, replaced and removed with their trace; evaluations are found whoever came first."""

from collections.abc import Sequence
from itertools import permutations

import pytest

from evalvault_otel.analysis.evaluations import evaluations_of
from evalvault_otel.assembly import assemble
from evalvault_otel.model import Span, SpanEvent
from evalvault_otel.store import Store
from tests.assembly.test_links import link
from tests.support.traces import batches, new_trace_id, sid, span, stage

NOW = 1_700_000_000_000_000_000
RESPONSE = {"gen_ai.response.id": "resp-1"}
SCORE = SpanEvent(
    NOW,
    "gen_ai.evaluation.result",
    {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 0.25},
)


def _write(store: Store, *spans: Span) -> str:
    store.write(batches(*spans), [], NOW)
    store.reassemble(spans[0].trace_id, assemble, NOW)
    return spans[0].trace_id


def _answer(trace_id: str) -> list[Span]:
    return [stage(1, 0, "workflow", trace_id=trace_id), stage(2, 1, "generation", RESPONSE, trace_id=trace_id)]


def _judge(of_trace: str, *, by_response: bool = False) -> list[Span]:
    """A trace that judges the generation of another one: by its span, or by its response."""
    trace_id = new_trace_id()
    said = {"links": ()} if by_response else {"links": (link(2, "evaluates", of_trace),)}
    own = RESPONSE if by_response else {}
    return [stage(1, 0, "evaluation", own, name="judge", trace_id=trace_id, events=(SCORE,), **said)]


def test_links_are_read_as_they_were_assembled(store: Store) -> None:
    found = stage(1, 0, "workflow", links=(link(7, "batch", n=1), link(8, "batch"), link(9)))

    assert store.links(_write(store, found)) == list(assemble([found]).links)
    assert store.links(new_trace_id()) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_evaluations_elsewhere_are_found_whoever_came_first(store: Store, order: Sequence[int]) -> None:
    trace_id = new_trace_id()
    traces = [_answer(trace_id), _judge(trace_id), _judge(trace_id, by_response=True)]
    for number in order:
        _write(store, *traces[number])

    found = evaluations_of(store, trace_id, store.trace_stages(trace_id))
    assert sorted((item.by_trace_id, item.stage_id, item.linked_span_id, item.response_id) for item in found) == sorted(
        [(traces[1][0].trace_id, sid(2), sid(2), None), (traces[2][0].trace_id, sid(2), None, "resp-1")]
    )
    assert {(item.name, item.status, item.metrics["evaluation.Relevance"]) for item in found} == {
        ("judge", "success", 0.25)
    }


def test_evaluations_of_a_trace_that_never_came_are_known(store: Store) -> None:
    trace_id = new_trace_id()
    _write(store, *_judge(trace_id))

    (found,) = evaluations_of(store, trace_id, [])
    assert (found.stage_id, found.linked_span_id) == (None, sid(2))
    assert len(store.evaluations(trace_id, [], 1)) == 1


def test_other_links_and_other_traces_are_no_evaluations(store: Store) -> None:
    trace_id = new_trace_id()
    _write(store, *_answer(trace_id))
    _write(store, stage(1, 0, "tool", trace_id=new_trace_id(), links=(link(2, "retry_of", trace_id),)))
    _write(store, *_judge(new_trace_id()))

    assert evaluations_of(store, trace_id, store.trace_stages(trace_id)) == []


def test_links_go_when_their_trace_is_assembled_anew_and_when_it_is_pruned(store: Store) -> None:
    trace_id = new_trace_id()
    early = span(2, 1, links=(link(7, "batch"),), trace_id=trace_id)

    # Given a link that belongs to no stage
    _write(store, early)
    assert [item.stage_id for item in store.links(trace_id)] == [""]

    # When the stage above it comes, hours later, it belongs to that
    store.write(batches(stage(1, 0, "workflow", trace_id=trace_id)), [], NOW + 3_600 * 10**9)
    assert store.reassemble(trace_id, assemble, NOW + 3_601 * 10**9)
    assert [item.stage_id for item in store.links(trace_id)] == [sid(1)]

    # And it goes with its trace
    gone = store.prune(NOW + 10**15, 10)
    assert gone.rows["stage_link"] == 1
    assert store.links(trace_id) == []
