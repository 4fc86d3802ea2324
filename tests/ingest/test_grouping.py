"""Spans of some requests as one batch per trace."""

from dataclasses import replace

from evalvault_otel.assembly import assemble
from evalvault_otel.ingest.grouping import group
from tests.support.traces import new_trace_id, sid, span, stage

A, B = "a" * 32, "b" * 32


def test_batches_come_in_trace_order_and_spans_in_span_order() -> None:
    spans = [span(2, 1, trace_id=B), span(2, 1, trace_id=A), span(1, trace_id=B), span(1, trace_id=A)]

    grouped = group(spans)

    assert [(batch.trace_id, [item.span_id for item in batch.spans]) for batch in grouped.traces] == [
        (A, [sid(1), sid(2)]),
        (B, [sid(1), sid(2)]),
    ]
    assert (grouped.duplicates, grouped.conflicts) == (0, 0)


def test_of_spans_with_one_id_the_first_counts() -> None:
    first, second = span(1, name="first"), span(1, name="second")

    grouped = group([first, second, first])

    assert [batch.spans for batch in grouped.traces] == [(first,)]
    assert (grouped.duplicates, grouped.conflicts) == (2, 1)


def test_a_repeated_value_that_is_no_number_is_no_conflict() -> None:
    nan = [span(1, attributes={"k": float(text)}) for text in ("nan", "nan")]

    assert group(nan).conflicts == 0


def test_a_value_of_another_type_is_a_conflict() -> None:
    assert group([span(1, attributes={"k": 1}), span(1, attributes={"k": 1.0})]).conflicts == 1
    assert group([span(1, attributes={"k": 1}), span(1, attributes={"k": True})]).conflicts == 1


def test_what_looks_whole_is_assembled() -> None:
    spans = (stage(1, 0, "workflow"), stage(2, 1, "tool"))

    (batch,) = group(spans).traces

    assert batch.assembly == assemble(spans)
    assert (batch.missing_root, batch.missing_parent) == (False, False)


def test_sixteen_zeros_are_a_root() -> None:
    (batch,) = group([span(1, parent_span_id="0" * 16)]).traces

    assert batch.assembly is not None


def test_what_lacks_a_root_or_a_parent_waits() -> None:
    def missing(*numbers: tuple[int, int]) -> tuple[bool, bool, bool]:
        (batch,) = group(span(number, parent) for number, parent in numbers).traces
        return batch.missing_root, batch.missing_parent, batch.assembly is None

    assert missing((2, 1)) == (True, True, True)
    assert missing((1, 0), (3, 2)) == (False, True, True)
    assert missing((2, 2)) == (True, False, True)
    assert missing((1, 2), (2, 1)) == (True, False, True)


def test_a_parent_in_another_trace_is_no_parent() -> None:
    trace_id = new_trace_id()

    first, second = group([span(1), replace(span(2, 1), trace_id=trace_id)]).traces

    assert {first.missing_parent, second.missing_parent} == {True, False}


def test_no_spans_are_no_batches() -> None:
    assert group([]).traces == []
