"""OTLP/JSON, rule by rule (opentelemetry-proto, docs/specification.md, "JSON Protobuf Encoding"), and real examples."""

import math
from dataclasses import replace
from typing import Any

import orjson
import pytest

from evalvault_otel.errors import Undecodable
from evalvault_otel.model import Span, SpanEvent, SpanLink, Value
from evalvault_otel.wire import Decoded, otlp_json, protobuf
from tests.support.otlp import otlp_document, span_document
from tests.support.traces import GOLDEN, TRACE_ID, exact, sid, span


def _decode(document: object) -> Decoded:
    return otlp_json.decode(orjson.dumps(document))


def _request(*spans: object) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def _one(**said: object) -> Span:
    """The span of a request that says only ids and these fields."""
    (found,) = _decode(_request({"traceId": TRACE_ID, "spanId": sid(1), **said})).spans
    return found


def _value(value: object) -> Value:
    return _one(attributes=[{"key": "k", "value": value}]).attributes["k"]


def _reason(**said: object) -> str:
    """Why a request with one such span rejects it."""
    decoded = _decode(_request({"traceId": TRACE_ID, "spanId": sid(1), **said}))
    assert decoded.spans == []
    (reject,) = decoded.rejects
    return reject.reason


# Ids.


def test_ids_are_hexadecimal_in_either_case() -> None:
    found = _one(
        traceId="5B8EFFF798038103D269B633813FC60C",
        spanId="EEe19B7EC3C1b174",
        parentSpanId="EEE19B7EC3C1B173",
        links=[{"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B172"}],
    )

    assert (found.trace_id, found.span_id) == ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174")
    assert found.parent_span_id == "eee19b7ec3c1b173"
    assert found.links == (SpanLink("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b172", "", {}),)


@pytest.mark.parametrize(
    "said, reason",
    [
        ({"traceId": "W47/95gDgQPSabYzgT/GDA=="}, "traceId must be hex digits"),
        ({"traceId": ""}, "trace_id has 0 bytes instead of 16 (was this a metrics or logs request"),
        ({"traceId": TRACE_ID[:-2]}, "trace_id has 15 bytes instead of 16"),
        ({"traceId": TRACE_ID[:-1]}, "traceId must be hex digits"),
        ({"traceId": "0" * 32}, "trace_id is all zeros"),
        ({"traceId": 5}, "traceId must be text, not 5"),
        ({"spanId": sid(1) + "00"}, "span_id has 9 bytes instead of 8"),
        ({"spanId": "0" * 16}, "span_id is all zeros"),
        ({"spanId": None}, "span_id has 0 bytes instead of 8"),
        ({"parentSpanId": "xyz"}, "parentSpanId must be hex digits"),
    ],
)
def test_a_bad_id_rejects_the_span_and_says_why(said: dict[str, object], reason: str) -> None:
    assert reason in _reason(**said)


def test_a_bad_span_does_not_cost_its_neighbours_and_is_kept_for_a_person_to_read() -> None:
    bad = {"traceId": "00", "spanId": sid(2), "name": "bad", "unknown": [1]}

    decoded = _decode(_request(span_document(span(1)), bad, span_document(span(3))))

    assert [found.span_id for found in decoded.spans] == [sid(1), sid(3)]
    (reject,) = decoded.rejects
    assert orjson.loads(reject.payload) == _request(bad)
    assert (reject.encoding, reject.signal, reject.count) == ("json", "traces", 1)
    assert reject.reason.startswith("trace_id has 1 bytes instead of 16")


# Numbers.


@pytest.mark.parametrize("said", ["1544712660300000001", 1544712660300000001])
def test_times_are_decimal_texts_or_numbers(said: object) -> None:
    found = _one(startTimeUnixNano=said, endTimeUnixNano=said, events=[{"timeUnixNano": said}])

    assert (found.start_ns, found.end_ns, found.events[0].time_ns) == (1544712660300000001,) * 3


@pytest.mark.parametrize(
    "said, value",
    [
        ({"intValue": "9223372036854775807"}, 2**63 - 1),
        ({"intValue": 1e300}, 1e300),
        ({"intValue": -9223372036854775808}, -(2**63)),
        ({"intValue": 5}, 5),
        ({"intValue": 5.0}, 5),
        # JavaScript's exporter writes every whole number as an integer, also 1e21.
        ({"intValue": 2**63}, float(2**63)),
        ({"intValue": 1e21}, 1e21),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": 0.5}, 0.5),
        ({"doubleValue": "1.5"}, 1.5),
        ({"doubleValue": "NaN"}, math.nan),
        ({"doubleValue": "Infinity"}, math.inf),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"boolValue": False}, False),
        ({"stringValue": ""}, ""),
        ({"bytesValue": "AP8="}, b"\x00\xff"),
        ({"bytesValue": ""}, b""),
        ({"arrayValue": {"values": [{"intValue": 1}, {}, {"arrayValue": {}}]}}, [1, None, []]),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"kvlistValue": {}}}, {"key": "b"}]}}, {"a": {}, "b": None}),
        ({}, None),
        (None, None),
        ({"stringValue": None}, None),
        ({"aNewKindOfValue": 1}, None),
    ],
)
def test_every_form_of_value(said: object, value: Value) -> None:
    assert exact(_value(said)) == exact(value)


@pytest.mark.parametrize(
    "said",
    [
        {"intValue": "1.5"},
        {"intValue": str(2**63)},
        {"intValue": True},
        {"intValue": "x"},
        {"doubleValue": "wide"},
        {"doubleValue": True},
        {"boolValue": "true"},
        {"bytesValue": "not base64!"},
        {"bytesValue": 7},
        {"stringValue": 7},
        {"arrayValue": []},
        {"arrayValue": {"values": {}}},
        {"kvlistValue": {"values": [1]}},
        "text",
    ],
)
def test_a_value_of_the_wrong_form_rejects_its_span(said: object) -> None:
    assert _reason(attributes=[{"key": "k", "value": said}])


@pytest.mark.parametrize(
    "field, said",
    [
        ("startTimeUnixNano", -1),
        ("endTimeUnixNano", str(2**64)),
        ("startTimeUnixNano", "soon"),
        ("kind", "SPAN_KIND_SERVER"),
        ("status", {"code": "STATUS_CODE_ERROR"}),
        # Beyond what the protobuf message can hold, so it could not be written out again.
        ("kind", 2**31),
        ("kind", -(2**31) - 1),
        ("status", {"code": 2**31}),
        ("flags", -1),
        ("flags", 2**32),
        ("droppedAttributesCount", -1),
        ("droppedEventsCount", -1),
        ("droppedLinksCount", -1),
        ("links", [{"flags": -1}]),
        ("events", [{"droppedAttributesCount": -1}]),
    ],
)
def test_a_number_out_of_range_and_an_enum_by_name_reject_the_span(field: str, said: object) -> None:
    assert _reason(**{field: said})


def test_numbers_at_the_edge_are_read() -> None:
    found = _one(kind=2**31 - 1, flags=2**32 - 1, droppedAttributesCount=2**32 - 1, endTimeUnixNano=str(2**64 - 1))

    assert (found.kind, found.flags, found.dropped_attributes, found.end_ns) == (
        2**31 - 1,
        2**32 - 1,
        2**32 - 1,
        2**64 - 1,
    )
    assert protobuf.decode(protobuf.encode([found])).spans == [found]


def test_enums_are_integers_also_unknown_ones() -> None:
    assert [_one(kind=number).kind for number in (0, 2, 99, -1)] == [0, 2, 99, -1]
    assert _one(status={"code": 7}).status_code == 7


# Absent, null, unknown.


def test_null_is_the_default_at_every_level() -> None:
    empty = _one()
    nulls = dict.fromkeys(
        (
            *("parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "events", "links"),
            *("status", "flags", "traceState", "droppedAttributesCount", "droppedEventsCount", "droppedLinksCount"),
        )
    )
    request = _request({"traceId": TRACE_ID, "spanId": sid(1), **nulls})
    request["resourceSpans"][0] |= {"resource": None, "schemaUrl": None}
    request["resourceSpans"][0]["scopeSpans"][0] |= {"scope": None, "schemaUrl": None}

    assert _decode(request).spans == [empty]
    assert _decode({"resourceSpans": None}) == Decoded([], [])
    assert _decode({"resourceSpans": [{"scopeSpans": None}, {"scopeSpans": [{"spans": None}]}]}) == Decoded([], [])


def test_what_is_absent_has_the_protobuf_default() -> None:
    assert replace(_one(), resource=span(1).resource, scope=span(1).scope) == span(
        1, name="", kind=0, start_ns=0, end_ns=0
    )


def test_unknown_fields_are_ignored_at_every_level() -> None:
    def with_unknown(node: object) -> object:
        if isinstance(node, list):
            return [with_unknown(item) for item in node]
        if isinstance(node, dict):
            return {"fromTheFuture": {"a": [1]}, **{key: with_unknown(item) for key, item in node.items()}, "zz": None}
        return node

    sent = span(
        1,
        attributes={"a": [1, {"b": b"x"}]},
        events=(SpanEvent(5, "e", {"k": "v"}),),
        links=(SpanLink(TRACE_ID, sid(2), "", {"k": 1}),),
        status_code=2,
    )

    assert _decode(with_unknown(otlp_document([sent]))).spans == [sent]


def test_of_a_key_given_twice_the_last_value_wins() -> None:
    twice = [{"key": "k", "value": {"intValue": 1}}, {"key": "k", "value": {"intValue": 2}}]

    assert _one(attributes=twice).attributes == {"k": 2}


@pytest.mark.parametrize("groups, scopes", [("resource_spans", "scopeSpans"), ("resourceSpans", "scope_spans")])
def test_snake_case_names_are_unknown_fields_and_the_client_is_told(groups: str, scopes: str) -> None:
    decoded = _decode({groups: [{scopes: [{"spans": [span_document(span(1))]}]}]})

    assert (decoded.spans, decoded.rejects) == ([], [])
    assert "is not read: OTLP/JSON names it" in decoded.remark


def _deep(levels: int, kind: str = "arrayValue") -> dict[str, Any]:
    """A number in so many arrays or maps."""
    value: dict[str, Any] = {"intValue": 1}
    for _ in range(levels):
        value = {kind: {"values": [value if kind == "arrayValue" else {"key": "k", "value": value}]}}
    return value


def _innermost(value: Value) -> Value:
    while isinstance(value, (list, dict)) and value:
        (value,) = value.values() if isinstance(value, dict) else value
    return value


@pytest.mark.parametrize("kind, most", [("arrayValue", 47), ("kvlistValue", 31)])
def test_a_value_is_kept_as_deep_as_protobuf_takes_it_and_what_is_deeper_is_replaced_by_a_text(
    kind: str, most: int
) -> None:
    for levels in (most, most + 1, 80, 300, 2000):
        attributes = f'[{{"key":"k","value":{_written(_deep(levels, kind))}}},{{"key":"l","value":{{"intValue":2}}}}]'
        body = f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{TRACE_ID}","spanId":"{sid(1)}",'

        decoded = otlp_json.decode(f'{body}"attributes":{attributes}}}]}}]}}]}}'.encode())

        (found,) = decoded.spans
        assert protobuf.decode(protobuf.encode(decoded.spans)).spans == decoded.spans
        deep = levels > most
        assert _innermost(found.attributes["k"]) == ("(nested too deeply)" if deep else 1)
        assert found.attributes["l"] == 2
        assert (decoded.repaired > 0) == deep


def _written(value: dict[str, Any]) -> str:
    """JSON of any depth."""
    parts: list[str] = []
    inner: Any = value
    ends = ""
    while "intValue" not in inner:
        ((kind, held),) = inner.items()
        (inner,) = held["values"]
        keyed = kind == "kvlistValue"
        parts.append(f'{{"{kind}":{{"values":[' + ('{"key":"k","value":' if keyed else ""))
        ends = ("}" if keyed else "") + "]}}" + ends
        inner = inner["value"] if keyed else inner
    return "".join(parts) + '{"intValue":1}' + ends


def test_a_lone_surrogate_is_replaced() -> None:
    body = orjson.dumps(_request({**span_document(span(1)), "name": "a@b"})).replace(b"a@b", b"a\\ud800b")

    assert [found.name for found in otlp_json.decode(body).spans] == ["a\ufffdb"]


def test_a_reject_may_hold_anything() -> None:
    for depth in (300, 1000):
        body = (
            b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","spanId":"01","x":'
            + b"[" * depth
            + b"]" * depth
            + b"}]}]}]}"
        )

        decoded = otlp_json.decode(body)

        assert decoded.spans == []
        assert len(decoded.rejects) == 1


def test_a_number_without_bound_rejects_its_span_whatever_else_is_odd() -> None:
    huge = "1" + "0" * 400
    good = orjson.dumps(span_document(span(2))).decode()
    for value in (f'{{"doubleValue":{huge}}}', f'{{"intValue":{huge}}}', f'{{"doubleValue":"{huge}"}}'):
        attributes = f'[{{"key":"k","value":{value}}}]'
        bad = f'{{"traceId":"{TRACE_ID}","spanId":"{sid(1)}","name":"\\ud800","attributes":{attributes}}}'

        decoded = otlp_json.decode(f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{good},{bad}]}}]}}]}}'.encode())

        assert [found.span_id for found in decoded.spans][:1] == [sid(2)]
        assert len(decoded.spans) + len(decoded.rejects) == 2


# Whole requests.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\x0a\x00",
        b'{"resourceSpans": {}}',
        b'{"resourceSpans": [1]}',
        b'{"resourceSpans": [' + b"[" * 5000 + b"]" * 5000 + b"]}",
    ],
)
def test_what_is_no_export_request_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        otlp_json.decode(body)
    assert str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"resourceSpans": []},
        # Nobody asks what groups without spans say of themselves (specification: empty envelopes may be ignored).
        {"resourceSpans": [{"resource": []}, {"schemaUrl": 1}]},
        {"resourceSpans": [{"scopeSpans": [{"scope": {"name": 1}}]}]},
    ],
)
def test_an_empty_request_has_no_spans(document: object) -> None:
    assert _decode(document) == Decoded([], [])


def test_the_example_of_the_specification() -> None:
    decoded = otlp_json.decode((GOLDEN / "otlp_trace_example.json").read_bytes())

    (found,) = decoded.spans
    assert decoded.rejects == []
    assert found.resource.attributes == {"service.name": "my.service"}
    assert (found.scope.name, found.scope.version) == ("my.library", "1.0.0")
    assert found.scope.attributes == {"my.scope.attribute": "some scope attribute"}
    assert found == span(
        1,
        attributes={"my.span.attr": "some value"},
        trace_id="5b8efff798038103d269b633813fc60c",
        span_id="eee19b7ec3c1b174",
        parent_span_id="eee19b7ec3c1b173",
        name="I'm a server span",
        kind=2,
        start_ns=1544712660000000000,
        end_ns=1544712661000000000,
        resource=found.resource,
        scope=found.scope,
    )


def test_an_example_with_times_as_numbers() -> None:
    decoded = otlp_json.decode((GOLDEN / "otel_openinference_trace_example.json").read_bytes())

    assert decoded.rejects == []
    assert [(found.name, found.parent_span_id, found.start_ns) for found in decoded.spans] == [
        ("retrieve", "", 1730000000000000000),
        ("llm", "00f067aa0ba902b7", 1730000000600000000),
    ]
    assert decoded.spans[1].attributes == {
        "rag.module": "llm",
        "spec.version": "0.1",
        "input.value": "보험금 지급 조건을 요약해줘",
        "output.value": "보험금 지급 조건은 약관과 보장 범위에 따릅니다.",
        "llm.model_name": "gemma3:1b",
        "llm.temperature": 0.2,
    }
