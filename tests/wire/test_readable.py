"""Payloads of rejects as people read them."""

import base64

import orjson
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from evalvault_otel.wire import otlp_json
from evalvault_otel.wire.readable import Form, preview, readable
from tests.support.otlp import otlp_message
from tests.support.traces import SCOPE, asset, sid, span


def test_a_protobuf_span_becomes_the_json_that_a_json_client_would_have_sent() -> None:
    said = {"question": "보험", "traceId": "kept", "n": 2**60, "raw": b"\x01", "list": [1, {"spanId": "kept"}]}
    sent = span(2, 1, said, events=(asset(kind="prompt", name="p"),), scope=SCOPE)

    form, document = readable(otlp_message([sent]).SerializeToString(), "protobuf", "traces")

    assert form is Form.OTLP_JSON
    (decoded,) = otlp_json.decode(orjson.dumps(document)).spans
    assert decoded == sent


def test_a_protobuf_span_with_a_bad_id_is_readable() -> None:
    message = otlp_message([span(2, 1, name="bad")])
    bad = message.resource_spans[0].scope_spans[0].spans[0]
    bad.trace_id, bad.parent_span_id = b"\x0a\x0b", b""

    _, document = readable(message.SerializeToString(), "protobuf", "traces")

    (shown,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (shown["name"], shown["traceId"], shown["spanId"]) == ("bad", "0a0b", sid(2))


def test_a_protobuf_log_record() -> None:
    record = LogRecord(event_name="evalvault.asset", span_id=b"\xff" * 8, body=AnyValue(string_value="text"))
    request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[record])])])

    form, document = readable(request.SerializeToString(), "protobuf", "logs")

    (shown,) = document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert (form, shown["eventName"], shown["spanId"]) == (Form.OTLP_JSON, "evalvault.asset", "ff" * 8)


@pytest.mark.parametrize("encoding", ["json", "bytes"])
def test_text_stays_as_it_came(encoding: str) -> None:
    assert readable('{"name": "보험\n"'.encode(), encoding, "traces") == (Form.TEXT, '{"name": "보험\n"')


def test_json_that_was_cut_in_a_character_is_text() -> None:
    assert readable('{"name": "보'.encode()[:-1], "json", "traces") == (Form.TEXT, '{"name": "\ufffd')


@pytest.mark.parametrize(
    "payload, encoding, signal",
    [
        (b"\x00\xff", "bytes", "traces"),
        (b"a\x00b", "bytes", "traces"),
        (otlp_message([span(1)]).SerializeToString()[:-1], "protobuf", "traces"),
        (otlp_message([span(1)]).SerializeToString(), "protobuf", "metrics"),
        (b"\x0a\xff", "protobuf", "logs"),
    ],
)
def test_anything_else_is_base64(payload: bytes, encoding: str, signal: str) -> None:
    assert readable(payload, encoding, signal) == (Form.BASE64, base64.b64encode(payload).decode())


def test_values_nested_as_deep_as_protobuf_reads_them() -> None:
    message = otlp_message([span(1)])
    value = message.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="deep").value
    for _ in range(40):
        value = value.array_value.values.add()
    value.string_value = "bottom"

    form, document = readable(message.SerializeToString(), "protobuf", "traces")

    assert form is Form.OTLP_JSON
    assert "bottom" in orjson.dumps(document).decode()


def test_a_preview_is_one_line_of_what_can_be_read() -> None:
    assert preview(b"\x0a\x05rag-api\x12\n\nPOST   /ask \xff\xfe", 50) == "rag-api POST /ask"
    assert preview("보험".encode()[:-1] + b"x", 50) == "보 x"
    assert preview(b"x" * 100, 10) == "x" * 10
    assert preview(b"\x00\x01", 10) == ""
