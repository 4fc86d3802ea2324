"""`values`: every OTLP value as JSON text that every database takes, and back."""

import math

import orjson
import pytest
from hypothesis import given, settings

from evalvault_otel.model import Value
from evalvault_otel.values import dumps, loads, plain_json
from tests.support.strategies import any_values, bounded
from tests.support.traces import _clean_keys, exact


@settings(bounded, max_examples=300)
@given(value=any_values)
def test_what_dumps_wrote_loads_reads(value: Value) -> None:
    assert exact(loads(dumps(value))) == exact(_clean_keys(value))


@settings(bounded, max_examples=200)
@given(value=any_values)
def test_both_texts_suit_every_database(value: Value) -> None:
    for text in (dumps(value), plain_json(value)):
        orjson.loads(text)
        assert "\\u0000" not in text.replace("\\\\", "")
        assert "\0" not in text


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (-(2**63), "-9223372036854775808"),
        ("보험", '"보험"'),
        (b"\xff", '{"$bytes":"/w=="}'),
        (math.nan, '{"$double":"NaN"}'),
        (-math.inf, '{"$double":"-Infinity"}'),
        ("a\0b", '{"$text":"YQBi"}'),
        ({"$bytes": "AA=="}, '{"$map":{"$bytes":"AA=="}}'),
        ({"$map": {"$map": 1}}, '{"$map":{"$map":{"$map":{"$map":1}}}}'),
        ({"$a": 1, "b": None}, '{"$a":1,"b":null}'),
        ([b"", [math.inf]], '[{"$bytes":""},[{"$double":"Infinity"}]]'),
    ],
)
def test_the_written_form(value: Value, text: str) -> None:
    assert dumps(value) == text
    assert exact(loads(text)) == exact(value)


def test_lone_surrogates_become_replacement_characters() -> None:
    assert dumps({"k\ud800": "v\udfff", "l": ["\ud800"]}) == '{"k\ufffd":"v\ufffd","l":["\ufffd"]}'


@pytest.mark.parametrize(
    "value, text",
    [
        ({"a": math.nan, "b": [math.inf, -math.inf]}, '{"a":"NaN","b":["Infinity","-Infinity"]}'),
        ({"a\0": "b\0"}, '{"a\ufffd":"b\ufffd"}'),
        ({"a": b"\xff", "b": None}, '{"a":"/w==","b":null}'),
        ({"$bytes": "x"}, '{"$bytes":"x"}'),
        ([1, 1.0, 2**64, True], '[1,1.0,"18446744073709551616",true]'),
    ],
)
def test_the_plain_form(value: Value, text: str) -> None:
    assert plain_json(value) == text


def test_what_is_no_otlp_value_is_a_defect_that_shows() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})
