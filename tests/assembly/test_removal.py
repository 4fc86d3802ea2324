"""What did not arrive is missed, never made up: a part of a trace has nothing that its spans do not say."""

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Assembly, StageEvent
from tests.conventions.test_golden import FILES, spans_of
from tests.support.strategies import bounded
from tests.support.traces import golden_names, golden_spans

_TRACES = {name: golden_spans(name) for name in golden_names()} | {path.stem: spans_of(path) for path in FILES}
# The answering generation is called `output`; which one answers depends on what else is there.
_SAME = {"output": "generation"}


def _types(assembly: Assembly) -> dict[str | None, str]:
    return {item.span_id: _SAME.get(item.stage_type, item.stage_type) for item in assembly.stages if not item.derived}


def _covered(stages: Iterable[StageEvent]) -> Iterator[str | None]:
    for item in stages:
        yield from (item.span_id, *item.wrapped_span_ids)


def _uses(assembly: Assembly) -> set[tuple[str | None, ...]]:
    """Uses that somebody recorded. The model of a chain is said by its outermost span that arrived."""
    return {(use.kind, use.name, use.version, use.digest) for use in assembly.asset_uses if use.kind != "model"}


def _documents(assembly: Assembly) -> set[str]:
    return {str(doc) for item in assembly.stages for doc in item.attributes.get("doc_ids") or ()}


def _tokens(assembly: Assembly) -> tuple[int, int]:
    stages = assembly.stages
    return sum(item.tokens_in or 0 for item in stages), sum(item.tokens_out or 0 for item in stages)


@pytest.mark.parametrize("name", sorted(_TRACES))
@settings(bounded, max_examples=40)
@given(data=st.data())
def test_a_part_of_a_trace_says_nothing_that_the_whole_does_not(name: str, data: st.DataObject) -> None:
    spans = _TRACES[name]
    kept = data.draw(st.sets(st.sampled_from(range(len(spans))), min_size=1))
    part = [spans[index] for index in kept]

    whole, found = assemble(spans), assemble(part)

    here = {item.span_id for item in part}
    assert set(_covered(found.stages)) <= here
    # A stage, or a span that another of its type stood for in the whole: none that was structural.
    assert set(_covered(item for item in found.stages if not item.derived)) <= {
        *_covered(whole.stages),
        *_guessed(found, whole),
    }
    types = _types(whole)
    assert {key: kind for key, kind in _types(found).items() if types.get(key, kind) != kind} == {}
    assert _uses(found) <= _uses(whole)
    assert _documents(found) <= _documents(whole)
    assert all(mine <= theirs for mine, theirs in zip(_tokens(found), _tokens(whole), strict=True))


def _guessed(found: Assembly, whole: Assembly) -> Iterator[str | None]:
    """Spans whose name was a guess, withdrawn in the whole since a span below is the step itself, of the same type."""
    there = set(_types(whole).values())
    for item in found.stages:
        if "heuristic:" in (item.type_source or "") and _SAME.get(item.stage_type, item.stage_type) in there:
            yield item.span_id
