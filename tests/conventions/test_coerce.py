"""Reading values as the type that a field promises."""

import math

import pytest
from hypothesis import given, settings

from evalvault_otel.conventions import coerce
from evalvault_otel.model import Value
from tests.support.strategies import bounded, soup_values
from tests.support.traces import exact

NAN = math.nan


@pytest.mark.parametrize(
    "value, expected",
    [
        (5, 5),
        (5.0, 5),
        ("5", 5),
        ("5.0", 5),
        (2**63 - 1, 2**63 - 1),
        (-1, -1),
        (5.5, None),
        ("x", None),
        (True, None),
        (NAN, None),
        (math.inf, None),
        ("1e400", None),
        ([5], None),
        # No database has a place for these.
        (1e300, None),
        ("1e300", None),
        (float(2**63), None),
    ],
)
def test_integer(value: Value, expected: int | None) -> None:
    assert exact(coerce.integer(value)) == exact(expected)


@pytest.mark.parametrize(
    "value, expected",
    [
        (5, 5),
        (0.5, 0.5),
        (" 0.5 ", 0.5),
        ("x", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        (NAN, None),
        (False, None),
        ({}, None),
        (None, None),
    ],
)
def test_number(value: Value, expected: float | None) -> None:
    assert exact(coerce.number(value)) == exact(expected)


@pytest.mark.parametrize(
    "value, expected",
    [
        (True, True),
        (0, False),
        (0.5, True),
        ("TRUE", True),
        (" no ", False),
        ("", False),
        ("1", True),
        ("maybe", None),
        ([], None),
        (None, None),
    ],
)
def test_boolean(value: Value, expected: bool | None) -> None:
    assert coerce.boolean(value) is expected


@pytest.mark.parametrize(
    "value, expected",
    [
        ("a", "a"),
        ("a\0b", "a\ufffdb"),
        ("", None),
        (1, "1"),
        (1.5, "1.5"),
        (True, None),
        (None, None),
        (b"a", None),
        (["a"], None),
    ],
)
def test_text(value: Value, expected: str | None) -> None:
    assert coerce.text(value) == expected


@pytest.mark.parametrize(
    "value, expected",
    [
        ('{"a": [1]}', {"a": [1]}),
        ("{broken", None),
        ("x" * 70_000, None),
        ([1], [1]),
        ({"a": 1}, {"a": 1}),
        (5, None),
        (None, None),
        (b"{}", None),
    ],
)
def test_json(value: Value, expected: Value) -> None:
    assert coerce.parse_json(value) == expected


@settings(bounded, max_examples=300)
@given(value=soup_values)
def test_nothing_raises_and_every_result_has_its_type(value: Value) -> None:
    assert isinstance(coerce.text(value), str | None)
    whole = coerce.integer(value)
    assert whole is None or (type(whole) is int and -(2**63) <= whole < 2**63)
    number = coerce.number(value)
    assert number is None or (type(number) in {int, float} and math.isfinite(number))
    assert coerce.boolean(value) in {True, False, None}
    assert all(isinstance(item, str | None) for item in coerce.texts(value) or ())
    assert all(item is None or math.isfinite(item) for item in coerce.numbers(value) or ())
    assert isinstance(coerce.question(value), str | None)
    coerce.citations(value)
