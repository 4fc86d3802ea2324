"""The logs signal, protobuf and JSON alike: events of spans are kept, other log records counted, bad ones rejected."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from evalvault_otel.errors import Undecodable
from evalvault_otel.model import LogEvent
from evalvault_otel.wire import Decoded, identity, otlp_json, protobuf
from evalvault_otel.wire.fields import with_length
from evalvault_otel.wire.logs_json import decode_logs as decode_json
from evalvault_otel.wire.logs_protobuf import decode_logs, encode_logs
from tests.support.otlp import otlp_document, otlp_message, value_document
from tests.support.strategies import any_values, attributes, bounded, counts, enums, resources, scopes, texts, times
from tests.support.traces import TRACE_ID, exact, sid, span

_names = st.sampled_from(("gen_ai.client.inference.operation.details", "gen_ai.evaluation.result", "evalvault.asset"))
_events = st.builds(
    LogEvent,
    trace_id=st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex),
    span_id=st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex),
    name=_names | texts.map(lambda text: f"evalvault.{text}"),
    time_ns=times,
    observed_ns=times,
    severity=enums,
    severity_text=texts,
    body=any_values,
    attributes=attributes,
    dropped_attributes=counts,
    flags=counts,
    resource=resources,
    scope=scopes,
)


def _event(**said: Any) -> LogEvent:
    values: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "span_id": sid(1),
        "name": "gen_ai.evaluation.result",
        "time_ns": 5,
        "observed_ns": 6,
        "severity": 9,
        "severity_text": "INFO",
        "body": {"a": ["b", 1]},
        "attributes": {"gen_ai.evaluation.score.value": 0.5},
        "dropped_attributes": 0,
        "flags": 1,
        "resource": identity.resource({"service.name": "rag-api"}, 0, ""),
        "scope": identity.scope("my.library", "1.0", {}, 0, ""),
    }
    return LogEvent(**(values | said))


def _message(*events: LogEvent) -> ExportLogsServiceRequest:
    """A request as a sender makes it, each event in a group of its own. Resources and scopes are as for spans."""
    request = ExportLogsServiceRequest()
    for event in events:
        of_span = otlp_message([span(1, resource=event.resource, scope=event.scope)]).resource_spans[0]
        group = request.resource_logs.add(schema_url=of_span.schema_url)
        group.resource.CopyFrom(of_span.resource)
        of_scope = group.scope_logs.add(schema_url=of_span.scope_spans[0].schema_url)
        of_scope.scope.CopyFrom(of_span.scope_spans[0].scope)
        values = otlp_message(
            [span(1, attributes={"body": event.body, **{f"a{k}": v for k, v in event.attributes.items()}})]
        )
        pairs = values.resource_spans[0].scope_spans[0].spans[0].attributes
        record = of_scope.log_records.add(
            time_unix_nano=event.time_ns,
            observed_time_unix_nano=event.observed_ns,
            severity_number=event.severity,
            severity_text=event.severity_text,
            trace_id=bytes.fromhex(event.trace_id),
            span_id=bytes.fromhex(event.span_id),
            event_name=event.name,
            dropped_attributes_count=event.dropped_attributes,
            flags=event.flags,
        )
        record.body.CopyFrom(pairs[0].value)
        for pair in pairs[1:]:
            record.attributes.add(key=pair.key[1:]).value.CopyFrom(pair.value)
    return request


def _document(*events: LogEvent) -> dict[str, Any]:
    return {"resourceLogs": [_group(event) for event in events]}


def _group(event: LogEvent) -> dict[str, Any]:
    (of_span,) = otlp_document([span(1, resource=event.resource, scope=event.scope)])["resourceSpans"]
    (of_scope,) = of_span.pop("scopeSpans")
    del of_scope["spans"]
    return {**of_span, "scopeLogs": [{**of_scope, "logRecords": [_record(event)]}]}


def _record(event: LogEvent) -> dict[str, Any]:
    return {
        "timeUnixNano": str(event.time_ns),
        "observedTimeUnixNano": str(event.observed_ns),
        "severityNumber": event.severity,
        "severityText": event.severity_text,
        "body": value_document(event.body),
        "attributes": [{"key": key, "value": value_document(value)} for key, value in event.attributes.items()],
        "droppedAttributesCount": event.dropped_attributes,
        "flags": event.flags,
        "traceId": event.trace_id,
        "spanId": event.span_id,
        "eventName": event.name,
    }


def _both(*events: LogEvent) -> list[Decoded]:
    """What both decoders make of these events."""
    return [decode_logs(_message(*events).SerializeToString()), decode_json(orjson.dumps(_document(*events)))]


@settings(bounded, max_examples=100)
@given(sent=st.lists(_events, max_size=3))
def test_protobuf_and_json_of_the_same_events_are_read_alike_and_written_again(sent: list[LogEvent]) -> None:
    by_protobuf, by_json = _both(*sent)

    assert exact(by_protobuf.logs) == exact(sent)
    assert exact(by_json.logs) == exact(sent)
    assert by_protobuf.rejects == by_json.rejects == []
    assert by_protobuf.others == by_json.others == 0
    assert exact(decode_logs(encode_logs(sent)).logs) == exact(sent)


def test_events_of_one_resource_and_scope_are_written_as_one_group() -> None:
    message = ExportLogsServiceRequest.FromString(encode_logs([_event(), _event(span_id=sid(2))]))

    assert [[len(s.log_records) for s in r.scope_logs] for r in message.resource_logs] == [[2]]


@pytest.mark.parametrize("name", ["", "app.started", "gen_ai", "gen_ais.x", "evalvault", "exception", "GEN_AI.x"])
def test_other_log_records_are_counted_and_not_kept(name: str) -> None:
    for decoded in _both(_event(name=name), _event(name=name, trace_id="", span_id=""), _event()):
        assert decoded.logs == [_event()]
        assert (decoded.others, decoded.rejects) == (2, [])


@pytest.mark.parametrize("name", ["gen_ai.user.message", "evalvault.asset.used"])
def test_the_name_may_be_an_attribute_as_older_sdks_send_it(name: str) -> None:
    older = _event(name="", attributes={"a": 1, "event.name": name})

    for decoded in _both(older):
        assert [(found.name, found.attributes) for found in decoded.logs] == [(name, older.attributes)]


def test_the_field_goes_before_the_attribute() -> None:
    for decoded in _both(
        _event(attributes={"event.name": "other"}), _event(name="x", attributes={"event.name": "gen_ai.x"})
    ):
        assert [found.name for found in decoded.logs] == ["gen_ai.evaluation.result"]
        assert decoded.others == 1


def test_an_attribute_that_is_no_text_is_no_name() -> None:
    for decoded in _both(
        _event(name="", attributes={"event.name": 5}), _event(name="", attributes={"event.name": None})
    ):
        assert (decoded.others + len(decoded.rejects), decoded.logs) == (2, [])


@pytest.mark.parametrize(
    "ids, reason",
    [
        ({"trace_id": "", "span_id": ""}, "trace_id has 0 bytes instead of 16"),
        ({"trace_id": "0" * 32}, "trace_id is all zeros"),
        ({"span_id": ""}, "span_id has 0 bytes instead of 8"),
        ({"span_id": "0" * 16}, "span_id is all zeros"),
    ],
)
def test_an_event_without_a_span_is_rejected_and_says_so(ids: dict[str, str], reason: str) -> None:
    bad = _event(name="gen_ai.user.message", **ids)

    for decoded in _both(_event(), bad, _event(span_id=sid(2))):
        assert [found.span_id for found in decoded.logs] == [sid(1), sid(2)]
        (reject,) = decoded.rejects
        why = "the event gen_ai.user.message belongs to a span and was sent outside of one"
        assert (reject.reason, reject.signal, reject.count) == (f"{why}: {reason}", "logs", 1)
        if reject.encoding == "protobuf":
            assert ExportLogsServiceRequest.FromString(reject.payload) == _message(bad)
        else:
            assert orjson.loads(reject.payload) == _document(bad)


def test_damaged_protobuf_costs_what_is_damaged() -> None:
    good = _message(_event()).SerializeToString()
    text = _message(_event(severity_text="MARK", body="MARK")).SerializeToString().replace(b"MARK", b"\xff\xff\xffx")
    broken = with_length(1, with_length(2, with_length(2, b"\xff")))

    decoded = decode_logs(good + text + broken)

    wanted = _event(severity_text="\ufffd" * 3 + "x", body="\ufffd" * 3 + "x")
    assert exact(decoded.logs) == exact([_event(), wanted])
    assert decoded.repaired == 2
    (reject,) = decoded.rejects
    assert reject.reason.startswith("the log record cannot be read: its protobuf is broken")


def test_damaged_json_costs_what_is_damaged() -> None:
    document = _document(_event(), _event(severity_text="MARK"), _event())
    document["resourceLogs"][2]["scopeLogs"][0]["logRecords"][0]["severityNumber"] = "INFO"

    decoded = decode_json(orjson.dumps(document).replace(b"MARK", b"\xffx"))

    assert exact(decoded.logs) == exact([_event(), _event(severity_text="\ufffdx")])
    assert decoded.repaired == 1
    assert [reject.reason for reject in decoded.rejects] == ["severityNumber must be an integer in range, not 'INFO'"]


_TRACES = otlp_message([span(1), span(2)]).SerializeToString()
# ExportMetricsServiceRequest{resource_metrics{scope_metrics{metrics{name: "m"}}}}
_METRICS = b"\x0a\x07\x12\x05\x12\x03\x0a\x01m"


@pytest.mark.parametrize("body", [_TRACES, _METRICS])
def test_another_signal_on_the_logs_path_is_recognized(body: bytes) -> None:
    decoded = decode_logs(body)

    assert (decoded.logs, decoded.others) == ([], 0)
    assert decoded.rejects
    assert all("was this a traces or metrics request sent to /v1/logs?" in reject.reason for reject in decoded.rejects)


def test_another_signal_in_json_is_refused_with_its_path() -> None:
    traces, logs = orjson.dumps(otlp_document([span(1)])), orjson.dumps(_document(_event()))

    with pytest.raises(Undecodable, match="a request with resourceSpans belongs to /v1/traces, this is /v1/logs"):
        decode_json(traces)
    with pytest.raises(Undecodable, match="a request with resourceLogs belongs to /v1/logs, this is /v1/traces"):
        otlp_json.decode(logs)
    with pytest.raises(Undecodable, match="a request with resourceMetrics belongs to /v1/metrics, this is /v1/traces"):
        otlp_json.decode(b'{"resourceMetrics": []}')


def test_log_events_on_the_traces_path_are_recognized() -> None:
    decoded = protobuf.decode(_message(_event()).SerializeToString())

    assert decoded.spans == []
    assert "was this a metrics or logs request sent to /v1/traces?" in decoded.rejects[0].reason


@pytest.mark.parametrize("body", [b"\xff", b"text", b"\x0a\x05ab"])
def test_what_is_no_logs_request_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable, match="not an OTLP ExportLogsServiceRequest"):
        decode_logs(body)
    with pytest.raises(Undecodable):
        decode_json(body)


def test_an_empty_request_has_no_events() -> None:
    assert decode_logs(b"") == decode_json(b"{}") == Decoded([], [])


@settings(bounded, max_examples=150)
@given(
    sent=st.lists(_events, max_size=2),
    mutations=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=8), st.integers(0, 8)), max_size=4),
)
def test_whatever_happened_to_the_bytes_there_is_an_answer(
    sent: list[LogEvent], mutations: list[tuple[int, bytes, int]]
) -> None:
    for body, decode in (
        (_message(*sent).SerializeToString(), decode_logs),
        (orjson.dumps(_document(*sent)), decode_json),
    ):
        damaged = body
        for at, inserted, removed in mutations:
            place = at % (len(damaged) + 1)
            damaged = damaged[:place] + inserted + damaged[place + removed :]
        try:
            decoded = decode(damaged)
        except Undecodable:
            continue
        assert exact(decode_logs(encode_logs(decoded.logs)).logs) == exact(decoded.logs)
