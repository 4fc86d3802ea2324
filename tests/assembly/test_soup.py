"""Whatever the attributes hold and whatever part of a trace arrives, assembly has an answer, and always the same."""

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Assembly, Span, StageEvent
from tests.support.strategies import bounded, soup_attributes, soup_traces
from tests.support.traces import exact, golden_names, golden_spans, span

_BIGINTS = frozenset({"started_ns", "finished_ns", "tokens_in", "tokens_out"})


def _check(assembly: Assembly, spans: list[Span]) -> None:
    """What holds of every assembly."""
    ids = [item.stage_id for item in assembly.stages]
    assert len(ids) == len(set(ids))
    uses = [(item.stage_id, item.ordinal) for item in assembly.asset_uses]
    assert len(uses) == len(set(uses))
    assert {item.stage_id for item in assembly.asset_uses} <= {"", *ids}
    assert [item.ordinal for item in assembly.findings] == list(range(len(assembly.findings)))
    assert {item.run_id for item in assembly.stages} <= {part.run_id for part in assembly.runs}
    assert sum(part.stages for part in assembly.runs) == len(assembly.stages)
    assert {item.span_id for item in assembly.stages} <= {item.span_id for item in spans}
    for item in assembly.stages:
        _check_stage(item)
    for time in (assembly.first_ns, assembly.last_ns, *(part.finished_ns for part in assembly.runs)):
        assert 0 <= time < 2**63


def _check_stage(item: StageEvent) -> None:
    texts = [value for field in fields(item) if isinstance(value := getattr(item, field.name), str)]
    assert not any("\0" in text for text in texts)
    for name in _BIGINTS:
        value = getattr(item, name)
        assert value is None or -(2**63) <= value < 2**63
    if item.duration_ms is not None and item.self_ms is not None and item.critical_ms is not None:
        assert 0 <= item.self_ms <= item.duration_ms
        assert 0 <= item.critical_ms <= item.duration_ms
    assert not any("\0" in name for name in item.metrics)


@settings(bounded, max_examples=400)
@given(attributes=soup_attributes)
def test_no_attributes_are_too_much(attributes: dict[str, object]) -> None:
    spans = [span(1, 0, attributes)]

    _check(assemble(spans), spans)


@settings(bounded, max_examples=300)
@given(spans=soup_traces)
def test_no_trace_is_too_much_and_its_order_changes_nothing(spans: list[Span]) -> None:
    assembly = assemble(spans)

    _check(assembly, spans)
    assert exact(assemble(list(reversed(spans)))) == exact(assembly)


@settings(bounded, max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize("name", golden_names())
def test_any_part_of_a_trace_is_assembled(name: str, data: st.DataObject) -> None:
    spans = golden_spans(name)
    kept = data.draw(st.sets(st.sampled_from(range(len(spans))), min_size=1))
    part = [spans[index] for index in kept]

    _check(assemble(part), part)


def test_what_was_assembled_before_changes_nothing() -> None:
    # 0.0 and -0.0 are equal for a cache; they are different versions all the same.
    negative, positive = ([_versioned(version)] for version in (-0.0, 0.0))

    assert [assemble(spans).asset_uses[0].version for spans in (positive, negative, positive)] == ["0.0", "-0.0", "0.0"]


def _versioned(version: float) -> Span:
    return span(1, 0, {"evalvault.assets": [{"kind": "kind-of-this-test", "name": "n", "version": version}]})


def test_a_trace_of_many_spans_in_one_line_is_assembled() -> None:
    spans = [
        span(number, number - 1, {"openinference.span.kind": ("RETRIEVER", "LLM")[number % 2]})
        for number in range(1, 5001)
    ]

    _check(assemble(spans), spans)
