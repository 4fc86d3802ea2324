"""Bodies in attributes: what is small stays as it is, what is large is cut, wherever it stands."""

from typing import Any

import pytest
from hypothesis import given

from evalvault_otel.assembly import assemble
from evalvault_otel.assembly.bodies import cut
from evalvault_otel.model import Value
from evalvault_otel.values import dumps
from tests.support.strategies import any_values, bounded
from tests.support.traces import stage

LONG = "x" * 10_000


@pytest.mark.parametrize("value", ["a" * 1000, ["id"] * 5000, [1.5] * 5000, {"a": ["b", None, {"c": 1}]}, [], 7, None])
def test_what_is_small_stays(value: Value) -> None:
    assert cut(value) is value


@pytest.mark.parametrize(
    "value, expected",
    [
        (LONG, LONG[:1000]),
        ([LONG, "b"], [LONG[:1000], "b"]),
        ({"a": {"b": [LONG]}}, {"a": {"b": [LONG[:1000]]}}),
        ([LONG] * 500, [LONG[:1000]] * 64),
        ([["a"]] * 6000, [*[["a"]] * 2499, []]),
    ],
)
def test_what_is_large_is_cut(value: Value, expected: Value) -> None:
    assert cut(value) == expected


@given(any_values)
@bounded
def test_nothing_large_is_left(value: Value) -> None:
    assert len(dumps(cut([value, LONG]))) < 200_000


def test_a_stage_says_that_it_was_cut() -> None:
    citations: Any = [{"doc_id": str(number), "text": LONG} for number in range(500)]
    (found,) = assemble([stage(1, 0, "output", {"evalvault.output.citations": citations})]).stages

    assert found.attributes["truncated"] is True
    assert len(dumps(found.attributes)) < 100_000
    assert found.metrics["output.citation_count"] == 500
