"""OTLP/HTTP over real sockets: the unmodified SDK, and bare requests for every answer the specification names."""

import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from google.rpc.code_pb2 import INVALID_ARGUMENT, RESOURCE_EXHAUSTED
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from evalvault_otel.model import Span
from tests.support.clients import JSON, PROTOBUF, TIMEOUT_S, as_sent, as_stored, body_of, gzipped, post, traced
from tests.support.ingest import reading, reject_rows, trace_of, with_bad_ids
from tests.support.otlp import otlp_document
from tests.support.server import Server, running_server
from tests.support.traces import span

LIMIT = 4000
BODIES = {PROTOBUF: body_of, JSON: lambda spans: orjson.dumps(otlp_document(spans))}
both = pytest.mark.parametrize("content_type", [PROTOBUF, JSON])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes small requests only."""
    folder: Path = tmp_path_factory.mktemp("http")
    env = {"EVALVAULT_MAX_REQUEST_BYTES": str(LIMIT)}
    with running_server(f"sqlite:///{folder / 'small.db'}", folder / "log", env=env) as server:
        yield server


def status_of(answer: Any) -> tuple[int, str]:
    """Code and message of a `google.rpc.Status`, in the encoding that the answer claims."""
    if answer.headers["Content-Type"] == JSON:
        document = answer.json()
        return document["code"], document["message"]
    assert answer.headers["Content-Type"] == PROTOBUF
    status = Status.FromString(answer.content)
    return status.code, status.message


def is_stored(server: Server, spans: list[Span]) -> bool:
    with reading(server.db) as store:
        return len(store.spans(spans[0].trace_id)) == len(spans)


def test_the_sdk_exporter_works_unchanged(server: Server, db_url: str) -> None:
    for compression in Compression.NoCompression, Compression.Gzip, Compression.Deflate:
        sent = traced(OTLPSpanExporter(endpoint=f"http://{server.http}/v1/traces", compression=compression))
        assert len(sent) == 4
        with reading(db_url) as store:
            trace_ids = {as_sent(item)["ids"][0] for item in sent}
            found = {item.span_id: as_stored(item) for trace_id in trace_ids for item in store.spans(trace_id)}
            assert found == {as_sent(item)["ids"][1]: as_sent(item) for item in sent}
            assert all(store.trace(trace_id).assembled for trace_id in trace_ids)


# Accepted.


@both
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/traces/", "/"])
def test_success_is_empty_and_in_the_encoding_of_the_request(small: Server, content_type: str, path: str) -> None:
    spans = trace_of()
    answer = post(small.http, BODIES[content_type](spans), content_type, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.content == (b"{}" if content_type == JSON else b"")
    assert is_stored(small, spans)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", " application/json"])
def test_the_content_type_is_read_kindly_and_answered_exactly(small: Server, content_type: str) -> None:
    answer = post(small.http, b"{}", content_type.strip())
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, JSON)


@pytest.mark.parametrize(
    "name, encode",
    [("gzip", gzipped), ("GZIP", gzipped), ("deflate", zlib.compress), ("identity", bytes), ("", bytes)],
)
@both
def test_content_encodings(small: Server, content_type: str, name: str, encode: Any) -> None:
    spans = trace_of()
    answer = post(small.http, encode(BODIES[content_type](spans)), content_type, Content_Encoding=name)
    assert answer.status_code == 200
    assert is_stored(small, spans)


@both
def test_a_body_in_chunks_without_a_length(small: Server, content_type: str) -> None:
    spans = trace_of()
    body = BODIES[content_type](spans)
    answer = post(small.http, (body[at : at + 100] for at in range(0, len(body), 100)), content_type)
    assert "Content-Length" not in answer.request.headers
    assert answer.status_code == 200
    assert is_stored(small, spans)


@both
def test_an_empty_request_is_fine(small: Server, content_type: str) -> None:
    assert post(small.http, BODIES[content_type]([]), content_type).status_code == 200


# Partly or wholly refused.


def test_refused_spans_are_told_in_the_encoding_and_kept(server: Server, db_url: str) -> None:
    for content_type, encode in BODIES.items():
        spans = trace_of()
        answer = post(server.http, encode([*spans, with_bad_ids(span(7, name="no trace"))]), content_type)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)
        reason = "trace_id is all zeros"
        if content_type == JSON:
            assert answer.json() == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": reason}}
        else:
            told = ExportTraceServiceResponse.FromString(answer.content).partial_success
            assert (told.rejected_spans, told.error_message) == (1, reason)
        row = reject_rows(db_url)[-1]
        assert (row["reason"], row["transport"], row["size"]) == (reason, "http", len(row["payload"]))
        assert row["peer"].startswith("127.0.0.1:")
        assert b"no trace" in row["payload"]
        with reading(db_url) as store:
            assert len(store.spans(spans[0].trace_id)) == 3
    assert len(reject_rows(db_url)) == 2


@pytest.mark.parametrize(
    "content_type, body",
    [(PROTOBUF, b"\xff\xff garbage"), (JSON, b"{"), (JSON, b"[]"), (JSON, b""), (JSON, b'{"resourceSpans": 1}')],
)
def test_what_is_no_request_is_a_bad_request(small: Server, content_type: str, body: bytes) -> None:
    answer = post(small.http, body, content_type)
    code, message = status_of(answer)
    assert (answer.status_code, answer.headers["Content-Type"], code) == (400, content_type, INVALID_ARGUMENT)
    assert message
    assert "Retry-After" not in answer.headers


@both
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_not_in_its_content_encoding(small: Server, content_type: str, encoding: str) -> None:
    for body in (b"plain", (gzipped if encoding == "gzip" else zlib.compress)(b"x" * 500)[:-4]):
        answer = post(small.http, body, content_type, Content_Encoding=encoding)
        assert (answer.status_code, status_of(answer)[0]) == (400, INVALID_ARGUMENT)


@both
def test_too_large_as_received(small: Server, content_type: str) -> None:
    body = b" " * (LIMIT + 1)
    for sent in (body, iter([body[:2000], body[2000:]])):
        answer = post(small.http, sent, content_type)
        assert (answer.status_code, status_of(answer)[0]) == (413, RESOURCE_EXHAUSTED)
        assert "Retry-After" not in answer.headers


@both
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_too_large_after_decompression(small: Server, content_type: str, encoding: str) -> None:
    bomb = (gzipped if encoding == "gzip" else zlib.compress)(b" " * 1_000_000)
    assert len(bomb) < LIMIT
    answer = post(small.http, bomb, content_type, Content_Encoding=encoding)
    assert (answer.status_code, status_of(answer)[0]) == (413, RESOURCE_EXHAUSTED)
    assert str(LIMIT) in status_of(answer)[1]


def test_exactly_the_limit_is_not_too_large(small: Server) -> None:
    body = b"{" + b" " * (LIMIT - 2) + b"}"
    assert post(small.http, body, JSON).status_code == 200
    assert post(small.http, gzipped(body), JSON, Content_Encoding="gzip").status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/grpc", ""])
def test_another_content_type_is_not_supported(small: Server, content_type: str) -> None:
    answer = post(small.http, b"{}", content_type)
    assert answer.status_code == 415
    assert PROTOBUF in answer.text


@both
@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "snappy"])
def test_another_content_encoding_is_not_supported(small: Server, content_type: str, encoding: str) -> None:
    answer = post(small.http, b"{}", content_type, Content_Encoding=encoding)
    assert answer.status_code == 415
    assert "gzip" in status_of(answer)[1]


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs", "/v1/metrics/", "/v1", "/v1/traces/more", "//v1/traces"])
def test_elsewhere_is_nothing(small: Server, path: str) -> None:
    answer = post(small.http, b"{}", JSON, path)
    assert answer.status_code == 404
    assert "OTEL_METRICS_EXPORTER=none" in answer.text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/traces/", "/"])
def test_other_methods_are_told_the_right_one(small: Server, method: str, path: str) -> None:
    answer = requests.request(method, f"http://{small.http}{path}", timeout=TIMEOUT_S, allow_redirects=False)
    assert (answer.status_code, answer.headers.get("Allow")) == (405, "POST")


def test_a_client_that_leaves_in_the_middle_does_no_harm(small: Server) -> None:

    host, port = small.http.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: 100\r\n\r\n{{"
        connection.sendall(head.encode())
    spans = trace_of()
    assert post(small.http, body_of(spans)).status_code == 200
    assert is_stored(small, spans)
    assert "Traceback" not in small.log
