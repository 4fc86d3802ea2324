"""Damaged OTLP/JSON: what can be read is, what cannot costs no more than what it is in, and nothing takes long."""

import json
import time
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.errors import Undecodable
from evalvault_otel.model import Span
from evalvault_otel.wire import Decoded, otlp_json
from evalvault_otel.wire.json_text import parse
from tests.support.otlp import otlp_document, span_document
from tests.support.strategies import bounded, spans
from tests.support.traces import TRACE_ID, exact, sid, span

_GOOD = span(1, attributes={"k": "v"})


def _named(name: bytes) -> bytes:
    """A request with one span of this name, as it is written."""
    return orjson.dumps(
        {"resourceSpans": [{"scopeSpans": [{"spans": [span_document(span(1, name="MARK"))]}]}]}
    ).replace(b"MARK", name)


def _decode(*groups: object) -> Decoded:
    return otlp_json.decode(orjson.dumps({"resourceSpans": groups}))


def _group(item: Span) -> dict[str, Any]:
    (group,) = otlp_document([item])["resourceSpans"]
    assert isinstance(group, dict)
    return group


# Characters.


@pytest.mark.parametrize(
    "sent, read, places",
    [
        (b"a\xffb", "a\ufffdb", 1),
        (b"caf\xc3", "caf\ufffd", 1),
        (b"a\xed\xa0\x80", "a\ufffd\ufffd\ufffd", 3),
        (b"a\\ud800b", "a\ufffdb", 1),
        (b"a\\uDfffb", "a\ufffdb", 1),
        (b"\\udc00\\ud800", "\ufffd\ufffd", 2),
        (b"\\ud83d\\ude00\\ud83d", "\U0001f600\ufffd", 1),
        (b"\\\\ud800\\ud800", "\\ud800\ufffd", 1),
        (b"\\\\\\ud800", "\\\ufffd", 1),
        (b"\xef\xbf\xbd \xff", "\ufffd \ufffd", 1),
        (b"\\ud83d\\ude00 \xff", "\U0001f600 \ufffd", 1),
        (b"\\n\\t\\u0041\\ud800", "\n\tA\ufffd", 1),
    ],
)
def test_what_is_no_character_is_replaced(sent: bytes, read: str, places: int) -> None:
    decoded = otlp_json.decode(_named(sent))

    assert [found.name for found in decoded.spans] == [read]
    assert (decoded.repaired, decoded.rejects) == (places, [])


def test_a_byte_order_mark_is_ignored() -> None:
    assert [found.name for found in otlp_json.decode(b"\xef\xbb\xbf" + _named(b"x")).spans] == ["x"]


def test_whole_requests_are_not_touched() -> None:
    assert otlp_json.decode(_named(b"\\ud83d\\ude00 \xef\xbf\xbd")).repaired == 0


@settings(bounded, max_examples=200)
@given(pieces=st.lists(st.sampled_from(["\\", "\\\\", "\\ud800", "\\udc00", "\\u0041", "u", "d8", '\\"', "\\n", "x"])))
def test_half_pairs_are_found_as_the_parser_finds_them(pieces: list[str]) -> None:
    """The standard parser keeps halves of pairs, so it can be asked."""
    text = '"' + "".join(pieces) + '"'
    try:
        wanted = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in json.loads(text))
    except ValueError:
        with pytest.raises(Undecodable):
            parse(text.encode())
    else:
        assert parse(text.encode())[0] == wanted


# Depth.


@pytest.mark.parametrize("depth", [300, 1100, 5000, 100_000])
def test_an_unknown_field_of_any_depth_is_ignored(depth: int) -> None:
    deep = b'{"a":[' * depth + b"]}" * depth

    decoded = otlp_json.decode(_named(b'x","new":' + deep + b',"traceState":"'))

    assert [found.name for found in decoded.spans] == ["x"]


@pytest.mark.parametrize("depth", [300, 1000, 1100, 5000])
@pytest.mark.parametrize("field", [b"name", b"attributes", b"status", b"traceId", b"kind", b"startTimeUnixNano"])
def test_a_known_field_of_any_depth_costs_its_span_only(depth: int, field: bytes) -> None:
    bad = b'{"traceId":"%b","spanId":"%b","%b":' % (TRACE_ID.encode(), sid(2).encode(), field)
    bad += b"[" * depth + b"]" * depth + b"}"
    good = orjson.dumps(span_document(_GOOD))

    decoded = otlp_json.decode(b'{"resourceSpans":[{"scopeSpans":[{"spans":[%b,%b]}]}]}' % (bad, good))

    assert [found.span_id for found in decoded.spans] == [sid(1)]
    (reject,) = decoded.rejects
    assert field.decode() in reject.reason
    assert reject.payload


def test_a_deep_value_of_a_resource_is_replaced() -> None:
    group = _group(_GOOD)
    value: dict[str, Any] = {"intValue": 1}
    for _ in range(66):
        value = {"arrayValue": {"values": [value]}}
    group["resource"]["attributes"].append({"key": "deep", "value": value})

    decoded = _decode(group)

    (found,) = decoded.spans
    assert "(nested too deeply)" in str(found.resource.attributes["deep"])
    assert decoded.repaired == 1


def test_a_deep_value_next_to_something_deeper_is_replaced() -> None:
    value = b'{"arrayValue":{"values":[' * 70 + b"{}" + b"]}}" * 70
    ids = b'"traceId":"%b","spanId":"%b"' % (TRACE_ID.encode(), sid(1).encode())
    deep = b'{%b,"attributes":[{"key":"k","value":%b}],"new":%b}' % (ids, value, b"[" * 1000 + b"]" * 1000)

    decoded = otlp_json.decode(b'{"resourceSpans":[{"scopeSpans":[{"spans":[%b]}]}]}' % deep)

    assert ["(nested too deeply)" in str(found.attributes["k"]) for found in decoded.spans] == [True]


def test_a_number_of_thousands_of_digits_costs_its_span_at_most() -> None:
    good = orjson.dumps(span_document(_GOOD))
    long = b'{"traceId":"%b","spanId":"%b","name":"\\ud800","flags":%b}' % (
        TRACE_ID.encode(),
        sid(2).encode(),
        b"1" * 5000,
    )

    decoded = otlp_json.decode(b'{"resourceSpans":[{"scopeSpans":[{"spans":[%b,%b]}]}]}' % (long, good))

    assert decoded.spans[0].span_id == sid(1)
    assert [reject.reason for reject in decoded.rejects] == ["flags must be an integer in range, not inf"]


# Parts that are wrong.


def test_spans_under_a_malformed_resource_are_rejected_also_when_there_are_no_others() -> None:
    bad = _group(_GOOD)
    bad["resource"] = []

    assert [reject.count for reject in _decode(bad).rejects] == [1]


def test_a_malformed_resource_costs_its_own_spans_only() -> None:
    bad = _group(span(2))
    bad["resource"]["attributes"] = "none"
    bad["scopeSpans"].append({"spans": [span_document(span(3)), span_document(span(4))]})

    decoded = _decode(bad, _group(_GOOD))

    assert decoded.spans == [_GOOD]
    (reject,) = decoded.rejects
    assert reject.reason == "not readable, with all spans of it: attributes must be an array, not 'none'"
    assert (reject.count, reject.encoding) == (3, "json")
    assert orjson.loads(reject.payload) == {"resourceSpans": [bad]}


def test_a_malformed_scope_costs_its_own_spans_only() -> None:
    group = _group(_GOOD)
    bad = {"scope": {"name": 5}, "spans": [span_document(span(2)), span_document(span(3))]}
    group["scopeSpans"].append(bad)

    decoded = _decode(group)

    assert decoded.spans == [_GOOD]
    (reject,) = decoded.rejects
    assert reject.reason == "not readable, with all spans of it: name must be text, not 5"
    assert reject.count == 2
    assert orjson.loads(reject.payload) == {"resourceSpans": [{**group, "scopeSpans": [bad]}]}


@pytest.mark.parametrize(
    "bad, reason",
    [
        (5, "resourceSpans must hold objects, not 5"),
        ([], "resourceSpans must hold objects, not an array"),
        ({"scopeSpans": 5}, "scopeSpans must be an array, not 5"),
        ({"scopeSpans": [5]}, "scopeSpans must hold objects, not 5"),
        ({"scopeSpans": [{"spans": {}}]}, "spans must be an array, not an object"),
        ({"scopeSpans": [{"spans": ["x"]}]}, "spans must hold objects, not 'x'"),
    ],
)
def test_a_part_of_the_wrong_type_costs_itself_only(bad: object, reason: str) -> None:
    decoded = _decode(_group(_GOOD), bad, _group(span(2)))

    assert decoded.spans == [_GOOD, span(2)]
    assert [(reject.reason, reject.count) for reject in decoded.rejects] == [(reason, 1)]


@pytest.mark.parametrize(
    "said, reason",
    [
        ({"name": 5}, "name must be text, not 5"),
        ({"name": {"a": 1}}, "name must be text, not an object"),
        ({"kind": "SERVER"}, "kind must be an integer in range, not 'SERVER'"),
        ({"status": "OK"}, "status must be an object, not 'OK'"),
        ({"events": [[]]}, "events must hold objects, not an array"),
        ({"links": [{"spanId": "xy"}]}, "spanId must be hex digits, not 'xy'"),
        ({"attributes": [{"key": 1}]}, "key must be text, not 1"),
        ({"name": ["x" * 1000] * 1000}, "name must be text, not an array"),
    ],
)
def test_a_field_of_the_wrong_type_rejects_its_span_and_is_named(said: dict[str, Any], reason: str) -> None:
    bad = {**span_document(span(2)), **said}
    group = _group(_GOOD)
    group["scopeSpans"][0]["spans"].append(bad)

    decoded = _decode(group)

    assert decoded.spans == [_GOOD]
    (reject,) = decoded.rejects
    assert reject.reason == reason
    of_span = {**group, "scopeSpans": [{**group["scopeSpans"][0], "spans": [bad]}]}
    assert orjson.loads(reject.payload) == {"resourceSpans": [of_span]}


# Any damage at all.


@settings(bounded, max_examples=300)
@given(
    sent=st.lists(spans, max_size=2),
    mutations=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 6)), max_size=4),
)
def test_whatever_happened_to_the_bytes_there_is_an_answer(
    sent: list[Span], mutations: list[tuple[int, bytes, int]]
) -> None:
    body = orjson.dumps(otlp_document(sent))
    for at, inserted, removed in mutations:
        place = at % (len(body) + 1)
        body = body[:place] + inserted + body[place + removed :]
    try:
        decoded = otlp_json.decode(body)
    except Undecodable:
        return
    again = otlp_json.decode(otlp_json.encode(decoded.spans))
    assert exact(again.spans) == exact(decoded.spans)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _paths(node: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where something is in a document."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at] * bool(at) + [path for key, item in inner for path in _paths(item, (*at, key))]


@settings(bounded, max_examples=300)
@given(sent=spans, wrong=_json, data=st.data())
def test_anything_anywhere_costs_no_neighbour(sent: Span, wrong: object, data: st.DataObject) -> None:
    group = _group(sent)
    *way, last = data.draw(st.sampled_from(_paths(group)))
    place: Any = group
    for step in way:
        place = place[step]
    place[last] = wrong

    decoded = _decode(_group(_GOOD), group, _group(span(2)))

    found = [repr(item) for item in decoded.spans]
    assert repr(_GOOD) in found
    assert repr(span(2)) in found
    # The wrong thing may be a list of up to three.
    assert len(found) + sum(reject.count for reject in decoded.rejects) <= 2 + 3


# Time.

_MIB = 1 << 20
_HOSTILE = {
    "arrays": b'{"resourceSpans":' + b"[" * _MIB + b"]" * _MIB + b"}",
    "objects": b'{"a":' * (_MIB // 5) + b"1" + b"}" * (_MIB // 5),
    "never closed": b'{"resourceSpans":[' + b'{"a":[' * (_MIB // 6),
    "deep text": b'[{"' * (_MIB // 3),
    "quotes": b'{"resourceSpans":' + b"[" * 2000 + b'"' * _MIB,
    "halves of pairs": _named(b"\\ud800" * (_MIB // 6)),
    "escapes": _named(b"\\n" * (_MIB // 2) + b"\xff"),
    "backslashes": _named(b"\\" * _MIB + b"\xff"),
    "bad bytes": _named(b"\xff" * _MIB),
    "digits": b'{"resourceSpans":[' + b"1" * _MIB + b"]}",
    "many long numbers": b'{"resourceSpans":[' + b",".join([b"1" * 4000] * (_MIB // 4000)) + b"]}",
    "empty spans": b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join([b"{}"] * (_MIB // 3)) + b"]}]}]}",
    "empty groups": b'{"resourceSpans":[' + b",".join([b"{}"] * (_MIB // 3)) + b"]}",
    "numbers instead of spans": b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"1," * (_MIB // 2) + b"1]}]}]}",
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_mebibyte_takes_about_a_second_at_most(name: str) -> None:
    body = _HOSTILE[name]

    started = time.process_time()
    with suppress(Undecodable):
        assert len(otlp_json.decode(body).rejects) <= 101
    assert time.process_time() - started < 2


def test_deep_text_of_many_mebibytes_is_refused_at_once() -> None:
    with pytest.raises(Undecodable, match="nested too deeply"):
        otlp_json.decode(b'{"resourceSpans":' + b"[" * 5_000_000)
