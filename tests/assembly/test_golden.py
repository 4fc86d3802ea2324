"""Whole traces as frameworks send them, and every stage, asset, finding and run that must come out."""

import random
from dataclasses import MISSING, Field, fields
from typing import Any

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Assembly, PayloadRef
from tests.support.traces import exact, golden, golden_logs, golden_names, golden_spans


def _literal(record: Any, *left_out: str) -> dict[str, Any]:
    """A record as the golden files write it: without what has its default value."""
    said = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in left_out}
    defaults = {field.name: _default(field) for field in fields(record)}
    return {name: _plain(value) for name, value in said.items() if exact(value) != exact(defaults[name])}


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _plain(value: Any) -> Any:
    match value:
        case PayloadRef():
            return str(value)
        case tuple():
            return list(value)
    return value


def _described(assembly: Assembly) -> dict[str, Any]:
    # How a finding is worded is free to change.
    return {
        "run_id": assembly.run_id,
        "root_span_id": assembly.root_span_id,
        "stages": [_literal(item, "trace_id") for item in assembly.stages],
        "asset_uses": [_literal(item, "trace_id") for item in assembly.asset_uses],
        "findings": [_literal(item, "trace_id", "ordinal", "detail") for item in assembly.findings],
        "runs": [_literal(item, "trace_id") for item in assembly.runs],
    }


def test_there_are_golden_traces() -> None:
    assert golden_names() == ["fusion", "hidden", "langchain", "llamaindex", "logs", "native", "pieces", "statuses"]


@pytest.mark.parametrize("name", golden_names())
def test_the_trace_becomes_what_is_written_beside_it(name: str) -> None:
    assert _described(assemble(golden_spans(name), golden_logs(name))) == golden(name)["expected"]


@pytest.mark.parametrize("name", golden_names())
def test_the_order_of_spans_and_log_events_changes_nothing(name: str) -> None:
    spans, logs = golden_spans(name), golden_logs(name)
    expected = assemble(spans, logs)
    shuffle = random.Random(1)  # noqa: S311 - reproducible orders, no secret

    for _ in range(50):
        shuffle.shuffle(spans)
        shuffle.shuffle(logs)
        assert exact(assemble(spans, logs)) == exact(expected)


@pytest.mark.parametrize("name", golden_names())
def test_times_of_the_whole_are_those_of_its_spans(name: str) -> None:
    spans = golden_spans(name)
    assembly = assemble(spans)

    times = [time for item in spans for time in (item.start_ns, item.end_ns) if time]
    assert (assembly.first_ns, assembly.last_ns) == (min(times), max(times))
    derived: list[Any] = [*assembly.stages, *assembly.asset_uses, *assembly.findings, *assembly.runs]
    assert {item.trace_id for item in derived} == {spans[0].trace_id}
    assert [item.ordinal for item in assembly.findings] == list(range(len(assembly.findings)))


def test_no_spans_are_no_trace() -> None:
    with pytest.raises(ValueError, match="at least one span"):
        assemble([])
