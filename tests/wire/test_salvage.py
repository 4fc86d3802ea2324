"""Damaged protobuf: what can be repaired is, what cannot is rejected alone, and nothing takes long."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from evalvault_otel.errors import Undecodable
from evalvault_otel.model import Span, SpanEvent, SpanLink, Value
from evalvault_otel.wire import Decoded, identity, protobuf
from evalvault_otel.wire.fields import with_length
from tests.support.otlp import otlp_message
from tests.support.strategies import bounded, spans
from tests.support.traces import TRACE_ID, exact, sid, span

_BAD = b"\xff\xfe"
_IDS = with_length(1, bytes.fromhex(TRACE_ID)) + with_length(2, bytes.fromhex(sid(1)))


def _request(*items: bytes, resource: bytes = b"", scope: bytes = b"") -> bytes:
    """A request with these bytes as spans, in one group."""
    of_scope = with_length(1, scope) + b"".join(with_length(2, item) for item in items)
    return with_length(1, with_length(1, resource) + with_length(2, of_scope))


def _bytes(item: Span) -> bytes:
    return otlp_message([item]).resource_spans[0].scope_spans[0].spans[0].SerializeToString()


def _pair(value: bytes, key: bytes = b"k") -> bytes:
    return with_length(1, key) + with_length(2, value)


def _array(levels: int) -> bytes:
    """The text "x" in so many arrays."""
    value = with_length(1, b"x")
    for _ in range(levels):
        value = with_length(5, with_length(1, value))
    return value


def _map(levels: int) -> bytes:
    """The text "x" in so many maps."""
    value = with_length(1, b"x")
    for _ in range(levels):
        value = with_length(6, with_length(1, _pair(value)))
    return value


# Texts that are not UTF-8.

_MARKED = span(
    1,
    name="MARK",
    trace_state="MARK",
    status_message="MARK",
    attributes={"MARK": "MARK", "deep": [{"a": ["MARK", {"MARK": 1}]}]},
    events=(SpanEvent(5, "MARK", {"MARK": "MARK"}),),
    links=(SpanLink(TRACE_ID, sid(2), "MARK", {"k": ["MARK"]}),),
    resource=identity.resource({"MARK": {"a": "MARK"}}, 0, "MARK"),
    scope=identity.scope("MARK", "MARK", {"k": "MARK"}, 0, "MARK"),
)


@pytest.mark.parametrize(
    "sent, read",
    [
        (b"\xff\xfe\xfd\xfc", "\ufffd" * 4),
        (b"abc\xea", "abc\ufffd"),  # cut in the middle of a character
        (b"a\xed\xa0\x80", "a\ufffd\ufffd\ufffd"),  # half of a surrogate pair
        (b"\xc0\x80ab", "\ufffd\ufffdab"),  # NUL, longer than it must be
    ],
)
def test_bad_bytes_become_replacement_characters_in_every_text(sent: bytes, read: str) -> None:
    body = otlp_message([_MARKED]).SerializeToString()
    places = body.count(b"MARK")

    decoded = protobuf.decode(body.replace(b"MARK", sent))

    wanted = protobuf.decode(body.replace(b"MARK", b"GOOD"))
    assert _exactly(decoded.spans) == _exactly(wanted.spans).replace("GOOD", read)
    assert (decoded.rejects, decoded.repaired) == ([], places)


def _exactly(items: list[Span]) -> str:
    """All of spans but the ids made from their content."""
    return repr([replace(s, resource=replace(s.resource, id=""), scope=replace(s.scope, id="")) for s in items])


def test_bytes_and_ids_are_no_texts() -> None:
    good = _bytes(span(1, attributes={"b": b"\xff\xfe"}))

    decoded = protobuf.decode(_request(good, _IDS + with_length(5, _BAD)))

    assert decoded.spans[0].attributes == {"b": b"\xff\xfe"}
    assert decoded.repaired == 1


# Values nested too deeply.


def _innermost(value: Value) -> tuple[int, Value]:
    levels = 0
    while isinstance(value, (list, dict)) and value:
        (value,) = value.values() if isinstance(value, dict) else value
        levels += 1
    return levels, value


@pytest.mark.parametrize("make, most", [(_array, 49), (_map, 32)])
def test_what_is_nested_too_deeply_is_replaced_by_a_text_and_the_rest_is_kept(
    make: Callable[[int], bytes], most: int
) -> None:
    for levels in (most, most + 1, 1000):
        deep, shallow = with_length(9, _pair(make(levels))), with_length(9, _pair(make(1), b"l"))
        event = with_length(11, with_length(2, b"e") + with_length(3, _pair(make(levels))))

        decoded = protobuf.decode(_request(_IDS + deep + shallow + event))

        (found,) = decoded.spans
        depth, value = _innermost(found.attributes["k"])
        assert depth <= most
        assert depth >= most - 2
        assert value == ("x" if levels == most else "(nested too deeply)")
        assert _innermost(found.attributes["l"]) == (1, "x")
        assert found.events[0].name == "e"
        if levels > most:
            assert _innermost(found.events[0].attributes["k"])[1] == "(nested too deeply)"
            assert decoded.repaired == 2


def test_a_deep_value_of_the_resource_is_replaced_too() -> None:
    decoded = protobuf.decode(_request(_IDS, resource=with_length(1, _pair(_array(60)))))

    assert _innermost(decoded.spans[0].resource.attributes["k"])[1] == "(nested too deeply)"


# What cannot be repaired.


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff",
        b"\x0a\x7f",
        _IDS + b"\x2a\x05ab",
        _IDS + b"\x07",
        _IDS + b"\x39\x00",  # a time of one byte
        _IDS + b"\x00",  # field number 0
        _IDS + b"\x30" + b"\xff" * 10 + b"\x01",  # a number of 11 bytes
        _IDS + with_length(9, b"\xff"),
        _IDS + with_length(9, _pair(b"\x0a\x7fx")),
        _IDS + with_length(5, _BAD) + with_length(11, b"\x1a\x09"),
        _IDS + b"\x1b" * 200,
    ],
)
def test_a_span_that_is_none_is_rejected_with_its_bytes_and_its_neighbours_live(bad: bytes) -> None:
    neighbours = [span(2, attributes={"a": 1}), span(3)]

    decoded = protobuf.decode(_request(_bytes(neighbours[0]), bad, _bytes(neighbours[1])))

    assert [item.span_id for item in decoded.spans] == [sid(2), sid(3)]
    (reject,) = decoded.rejects
    assert reject.reason.startswith("the span cannot be read: its protobuf is broken")
    assert (reject.payload, reject.encoding, reject.signal, reject.count) == (bad, "bytes", "traces", 1)
    assert decoded.repaired == 0


def test_unknown_fields_are_ignored_also_of_damaged_requests() -> None:
    unknown = (
        with_length(1007, b"\xff")
        + b"\xf8\x3e\x05"  # a number
        + b"\xfd\x3e\1\2\3\4"  # four bytes
        + b"\xf9\x3e" + b"\1" * 8
        + b"\xfb\x3e\x0a\x01\xff\x10\x01\x0b\x0c\xfc\x3e"  # a group with a group in it
    )  # fmt: skip

    decoded = protobuf.decode(_request(_IDS + unknown + with_length(5, _BAD) + unknown) + unknown)

    assert [item.name for item in decoded.spans] == ["\ufffd\ufffd"]
    assert decoded.rejects == []


def test_a_resource_that_cannot_be_read_costs_its_own_spans_only() -> None:
    other = span(3)
    bad = _request(_IDS, _IDS, resource=b"\xff")

    decoded = protobuf.decode(bad + otlp_message([other]).SerializeToString())

    assert decoded.spans == [other]
    (reject,) = decoded.rejects
    assert (reject.reason, reject.count) == (
        "the resource of these spans cannot be read: its protobuf is broken",
        2,
    )
    assert _IDS in reject.payload


def test_a_scope_that_cannot_be_read_costs_its_own_spans_only() -> None:
    bad = with_length(1, b"\xff") + with_length(2, _IDS) + with_length(2, _IDS) + with_length(2, _IDS)
    good = with_length(2, _bytes(span(4)))

    decoded = protobuf.decode(with_length(1, with_length(2, bad) + with_length(2, good)))

    assert [item.span_id for item in decoded.spans] == [sid(4)]
    (reject,) = decoded.rejects
    assert (reject.reason, reject.count) == ("the scope of these spans cannot be read: its protobuf is broken", 3)


def test_what_came_whole_before_a_cut_is_kept() -> None:
    body = _request(*(_bytes(span(number)) for number in range(1, 4)))

    decoded = protobuf.decode(body[:-10])

    assert [item.span_id for item in decoded.spans] == [sid(1), sid(2)]
    (reject,) = decoded.rejects
    assert reject.reason == "the span is cut short"


def test_the_broken_end_of_a_group_costs_nothing_else() -> None:
    broken = with_length(1, with_length(2, with_length(2, _bytes(span(1))) + b"\x07\x07"))

    decoded = protobuf.decode(broken + otlp_message([span(2)]).SerializeToString())

    assert [item.span_id for item in decoded.spans] == [sid(1), sid(2)]
    (reject,) = decoded.rejects
    assert reject.reason == "what follows cannot be read: its protobuf is broken"
    assert reject.payload == b"\x07\x07"


def test_bytes_of_field_number_0_are_no_fields() -> None:
    decoded = protobuf.decode(_request(_IDS + with_length(5, _BAD)) + b"\0\0")

    assert len(decoded.spans) == 1
    assert [reject.payload for reject in decoded.rejects] == [b"\0\0"]


def test_thousands_of_rejects_are_a_hundred_and_a_count() -> None:
    decoded = protobuf.decode(_request(_IDS, *[b"\xff"] * 2000))

    assert len(decoded.rejects) == 101
    assert sum(reject.count for reject in decoded.rejects) == 2000
    assert decoded.rejects[-1].reason.startswith("1900 more like these, the last one: the span cannot be read")


def test_rejects_of_a_large_resource_do_not_multiply_it() -> None:
    resource = identity.resource({"k": "x" * 1_000_000}, 0, "")
    message = otlp_message([replace(span(1), resource=resource)])
    of_scope = message.resource_spans[0].scope_spans[0]
    for _ in range(99):
        of_scope.spans.add(name="without ids")

    decoded = protobuf.decode(message.SerializeToString())

    assert sum(reject.count for reject in decoded.rejects) == 99
    assert sum(len(reject.payload) for reject in decoded.rejects) < 10_000_000


# Any damage at all.


def _decode(body: bytes) -> Decoded:
    """Only one kind of error may come."""
    try:
        return protobuf.decode(body)
    except Undecodable:
        return Decoded([], [])


@settings(bounded, max_examples=150)
@given(
    around=st.lists(spans, min_size=1, max_size=3),
    damage=st.binary(max_size=40),
    at=st.integers(0, 3),
)
@example([span(1)], b"", 0)
def test_neighbours_of_any_damaged_span_are_as_they_were(around: list[Span], damage: bytes, at: int) -> None:
    """The damage is anything instead of a span, in its own group or in that of a neighbour."""
    message = otlp_message(around)
    with_damage = message.resource_spans[at % len(around)].SerializeToString()
    inside = with_length(1, with_damage + with_length(2, with_length(2, damage)))
    bodies = [with_length(1, group.SerializeToString()) for group in message.resource_spans]
    bodies[at % len(around)] = inside

    for body in (b"".join(bodies), message.SerializeToString() + _request(damage)):
        found = [repr(item) for item in protobuf.decode(body).spans]
        assert all(repr(item) in found for item in around)
        assert len(found) <= len(around) + 1


_mutations = st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=8), st.integers(0, 8)), max_size=4)


@settings(bounded, max_examples=300)
@given(sent=st.lists(spans, max_size=3), mutations=_mutations, cut=st.integers(0, 10_000))
def test_whatever_happened_to_the_bytes_there_is_an_answer(
    sent: list[Span], mutations: list[tuple[int, bytes, int]], cut: int
) -> None:
    body = otlp_message(sent).SerializeToString()
    for at, inserted, removed in mutations:
        at = at % (len(body) + 1)  # noqa: PLW2901 - a place in the body as it is now
        body = body[:at] + inserted + body[at + removed :]
    for damaged in (body, body[: cut % (len(body) + 1)], body[cut % (len(body) + 1) :] + body):
        decoded = _decode(damaged)
        # What can be read can be stored and written again.
        again = protobuf.decode(protobuf.encode(decoded.spans))
        assert exact(again.spans) == exact(decoded.spans)
        assert all(reject.reason and reject.count for reject in decoded.rejects)


@settings(bounded, max_examples=300)
@given(body=st.binary(max_size=200))
def test_any_bytes_have_an_answer(body: bytes) -> None:
    _decode(body)


def test_each_byte_of_a_request_may_be_any() -> None:
    """One byte after the other is changed in a few ways: the span next to it lives unless the envelope is hit."""
    first, second = _bytes(span(1, attributes={"k": ["v"]})), _bytes(span(2))
    body = _request(first, second)
    start = body.index(first)
    for at in range(start, start + len(first)):
        for flipped in (0x01, 0x80, 0xFF):
            damaged = bytearray(body)
            damaged[at] ^= flipped
            decoded = protobuf.decode(bytes(damaged))
            assert sid(2) in [item.span_id for item in decoded.spans]


# Time.

_MIB = 1 << 20


def _nested(size: int, wrap: Callable[[bytes], bytes]) -> bytes:
    value = with_length(1, b"\xff")
    while len(value) < size:
        value = wrap(value)
    return value


def _array_of(value: bytes) -> bytes:
    return with_length(5, with_length(1, value))


def _with_sibling(value: bytes) -> bytes:
    return with_length(5, with_length(1, value) + with_length(1, with_length(1, b"x" * 20_000)))


_HOSTILE = {
    "arrays in arrays": _request(_IDS + with_length(9, _pair(_nested(_MIB // 4, _array_of)))),
    "arrays with much in them": _request(_IDS + with_length(9, _pair(_nested(_MIB, _with_sibling)))),
    "groups": _request(_IDS + with_length(5, _BAD) + b"\x1b" * _MIB),
    "one long text": _request(_IDS + with_length(5, b"\xff" * _MIB)),
    "broken at the end": _request(_IDS + with_length(9, _pair(b"")) * (_MIB // 9) + b"\xff"),
    "bytes that are no fields": b"\x0a" * _MIB,
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_mebibyte_takes_about_a_second_at_most(name: str) -> None:
    body = _HOSTILE[name]

    started = time.process_time()
    _decode(body)

    assert time.process_time() - started < 2


@pytest.mark.parametrize("empty", [b"\x4a\x00", b"\x30\x01", b"\x4a\x02\x12\x00"])
def test_work_for_one_damaged_span_is_bounded(empty: bytes) -> None:
    """Ten times the size is not ten times the time, once there is too much damage to repair."""
    decoded = protobuf.decode(_request(_IDS, _IDS + with_length(5, _BAD) + empty * 1_100_000))

    assert len(decoded.spans) == 1
    assert decoded.rejects[0].reason == "the span is damaged, like too many others of this request to repair it"


def test_a_request_of_good_spans_and_one_bad_text_takes_little_longer() -> None:
    good = _bytes(span(1, attributes={f"k{number}": "v" * 20 for number in range(10)}))
    body, damaged = _request(*[good] * 2000), _request(*[good] * 2000, _IDS + with_length(5, _BAD))

    def seconds(what: bytes) -> float:
        times = []
        for _ in range(3):
            started = time.process_time()
            protobuf.decode(what)
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(damaged) < 2 * seconds(body) + 0.05


def test_empty_groups_cost_next_to_nothing() -> None:
    started = time.process_time()
    decoded = protobuf.decode(b"\x0a\x00" * 500_000)

    assert decoded == Decoded([], [])
    assert time.process_time() - started < 2


def test_the_fast_way_and_salvage_read_alike() -> None:
    message = otlp_message([span(1, attributes={"k": [{"a": 1.5, "b": b"x"}, None]}), span(2)])
    body = message.SerializeToString()
    # Whatever makes the parser give up sends the whole request the other way.
    decoded = protobuf.decode(body + _request(_IDS + with_length(5, _BAD)))

    assert decoded.spans[:2] == protobuf.decode(body).spans
    assert ExportTraceServiceRequest.FromString(body) == message
