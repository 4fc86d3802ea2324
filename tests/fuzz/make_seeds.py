"""Writes the seeds that are no former findings: `python -m tests.fuzz.make_seeds`. The same each time."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from evalvault_otel.model import Span
from tests.support.clients import EXPORT
from tests.support.otlp import otlp_document, otlp_message
from tests.support.traces import TRACE_ID, asset, golden_names, golden_spans, kind, raised, sid, span, stage

from .corpus import CORPUS

_HEADS = {
    "protobuf": b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf",
    "json": b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset=utf-8",
    "logs": b"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf",
    "gzip": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip",
    "other": b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json",
}
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def _traces() -> Iterator[tuple[str, list[Span]]]:
    values: dict[str, Any] = {"int": -(2**63), "list": [1.5, [True, None]], "map": {"a": {"b": b"\x00"}}, "nul": "\0"}
    yield "one-span", [span(1)]
    yield "values", [span(1, 0, values)]
    yield "stages", [span(1), stage(2, 1, "retrieval", events=(asset(kind="index", name="i"),)), stage(3, 1, "output")]
    yield "openinference", [kind(1, 0, "CHAIN"), kind(2, 1, "LLM", {"llm.token_count.prompt": 3})]
    yield "error", [span(1, status_code=2, status_message="no", events=(raised("E", "no"),))]
    yield "bad-ids", [span(1), replace(span(2), trace_id="00" * 16), replace(span(3), span_id="ab")]
    yield "times", [replace(span(1), start_ns=2**64 - 1, end_ns=0), replace(span(2, 1), start_ns=0, end_ns=2**63)]
    for name in golden_names():
        yield f"golden-{name}", golden_spans(name)[:4]


def _logs() -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for name in ("gen_ai.user.message", "gen_ai.evaluation.result", "evalvault.asset.used", "other"):
        record = records.add(event_name=name, time_unix_nano=1, severity_text="INFO")
        record.trace_id, record.span_id = bytes.fromhex(TRACE_ID), bytes.fromhex(sid(1))
        record.body.CopyFrom(AnyValue(string_value="text"))
        record.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = 0.5
    return request


def _logs_document() -> dict[str, Any]:
    ids = {"traceId": TRACE_ID, "spanId": sid(1), "timeUnixNano": "1"}
    attributes = [{"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 0.5}}]
    records = [
        {**ids, "eventName": name, "body": {"stringValue": "text"}, "attributes": attributes}
        for name in ("gen_ai.user.message", "gen_ai.evaluation.result", "evalvault.asset.used", "other")
    ]
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}


def _http2() -> bytes:
    """A gRPC call as gRPC's own client would frame it, with headers that need no table."""
    pairs = {":method": "POST", ":scheme": "http", ":path": EXPORT, ":authority": "localhost"}
    pairs |= {"content-type": "application/grpc", "te": "trailers"}
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in pairs.items())
    body = otlp_message([span(1)]).SerializeToString()
    framed = b"\0" + len(body).to_bytes(4) + body
    return _PREFACE + _frame(1, 4, 1, block) + _frame(0, 1, 1, framed)


def _text(value: str) -> bytes:
    return bytes((len(value),)) + value.encode()


def _frame(kind_: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3) + bytes((kind_, flags)) + stream.to_bytes(4) + content


def _seeds() -> Iterator[tuple[str, str, bytes]]:
    """Target, name and content of each."""
    for name, spans in _traces():
        yield "protobuf", name, otlp_message(spans).SerializeToString()
        yield "json", name, orjson.dumps(otlp_document(spans))
    yield "logs_protobuf", "events", _logs().SerializeToString()
    yield "logs_json", "events", orjson.dumps(_logs_document())
    body = otlp_message([span(1)]).SerializeToString()
    for number, compressed in enumerate(
        (
            gzip.compress(body, mtime=0),
            zlib.compress(body),
            zstandard.compress(body),
            gzip.compress(zstandard.compress(body), mtime=0),
        )
    ):
        yield "inflate", f"encoding-{number}", bytes((number,)) + compressed
    yield "inflate", "bomb", b"\0" + gzip.compress(bytes(3_000_000), mtime=0)
    yield "inflate", "raw-deflate", b"\1" + zlib.compress(body)[2:-4]
    bodies = {"protobuf": body, "json": orjson.dumps(otlp_document([span(1)])), "logs": _logs().SerializeToString()}
    bodies |= {"gzip": gzip.compress(body, mtime=0), "other": b"{}"}
    for name, head in _HEADS.items():
        length = b"\r\nContent-Length: %d\r\n\r\n" % len(bodies[name])
        yield "http", name, head + length + bodies[name]
    yield "http", "chunked", _HEADS["protobuf"] + b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x0a\x00\r\n0\r\n\r\n"
    yield "http2", "call", _http2()


def main() -> None:
    """Write them all."""
    for target, name, content in _seeds():
        path = CORPUS / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
