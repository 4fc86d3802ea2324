"""OTLP/HTTP against the server as a process: the stock exporter, and raw requests for what no exporter shows."""

import gzip
import socket
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
import requests
from google.rpc.code_pb2 import INVALID_ARGUMENT, RESOURCE_EXHAUSTED
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from benchmarks.database import of_url
from evalvault_otel.model import Span
from evalvault_otel.settings import split_address
from evalvault_otel.store import open_store
from tests.support.otlp import otlp_document, otlp_message
from tests.support.sdk import as_received, trace_with
from tests.support.server import Server, running_server
from tests.support.traces import exact, new_trace_id, sid, span, stage

PROTOBUF, JSON = "application/x-protobuf", "application/json"
LIMIT = 4000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite for all tests of this module; it takes small requests only."""
    folder: Path = tmp_path_factory.mktemp("http")
    limit = {"EVALVAULT_MAX_REQUEST_BYTES": str(LIMIT)}
    with running_server(f"sqlite:///{folder / 'test.db'}", folder / "server.log", env=limit) as server:
        yield server


def _post(
    server: Server, body: object, content_type: str | None = PROTOBUF, path: str = "/v1/traces", **headers: str
) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        named["Content-Type"] = content_type
    url = f"http://{server.http}{path}"
    return requests.post(url, data=body, headers=named, allow_redirects=False, timeout=20)  # type: ignore[arg-type]  # bytes or an iterator of them


def _spans(server: Server, trace_id: str) -> list[Span]:
    store = open_store(server.db)
    try:
        return store.spans(trace_id)
    finally:
        store.close()


def _protobuf(*spans: Span) -> bytes:
    return otlp_message(spans).SerializeToString()


def _json(*spans: Span) -> bytes:
    return orjson.dumps(otlp_document(spans))


def _new() -> Span:
    return stage(1, 0, "tool", trace_id=new_trace_id())


# The stock exporter.


@pytest.mark.parametrize("compression", list(Compression))
def test_what_the_stock_exporter_sends_arrives(small: Server, compression: Compression) -> None:
    sent = _traced(small, compression)

    assert sorted(map(exact, _spans(small, sent[0].trace_id))) == sorted(map(exact, sent))


def test_what_the_stock_exporter_sent_is_stages_at_once(server: Server) -> None:
    sent = _traced(server, Compression.Gzip)

    assert sorted(map(exact, _spans(server, sent[0].trace_id))) == sorted(map(exact, sent))
    counts = of_url(server.db).counts()
    assert (counts.spans, counts.stages, counts.assets, counts.unassembled) == (3, 2, 1, 0)
    assert requests.get(server.url(f"/api/traces/{sent[0].trace_id}"), timeout=10).status_code == 200


def _traced(server: Server, compression: Compression) -> list[Span]:
    exporter = OTLPSpanExporter(f"http://{server.http}/v1/traces", compression=compression)
    return [as_received(item) for item in trace_with(exporter)]


# Encodings.


@pytest.mark.parametrize("content_type, encode, answer", [(PROTOBUF, _protobuf, b""), (JSON, _json, b"{}")])
def test_success_has_the_type_of_the_request_and_an_empty_message(
    small: Server, content_type: str, encode: Callable[..., bytes], answer: bytes
) -> None:
    sent = _new()

    response = _post(small, encode(sent), content_type)

    assert (response.status_code, response.headers["Content-Type"], response.content) == (200, content_type, answer)
    assert _spans(small, sent.trace_id) == [sent]


@pytest.mark.parametrize(
    "said, answered",
    [
        ("application/json; charset=utf-8", JSON),
        ("Application/JSON", JSON),
        ("application/x-protobuf;proto=x", PROTOBUF),
    ],
)
def test_the_content_type_is_read_leniently_and_written_exactly(small: Server, said: str, answered: str) -> None:
    response = _post(small, _json(_new()) if answered == JSON else _protobuf(_new()), said)

    assert (response.status_code, response.headers["Content-Type"]) == (200, answered)


@pytest.mark.parametrize(
    "encoding, compress", [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
@pytest.mark.parametrize("content_type, encode", [(PROTOBUF, _protobuf), (JSON, _json)])
def test_compressed_bodies(
    small: Server, encoding: str, compress: Callable[[bytes], bytes], content_type: str, encode: Callable[..., bytes]
) -> None:
    sent = _new()

    response = _post(small, compress(encode(sent)), content_type, Content_Encoding=encoding)

    assert response.status_code == 200
    assert _spans(small, sent.trace_id) == [sent]


def test_a_body_in_chunks_has_no_length(small: Server) -> None:
    sent = _new()
    body = _protobuf(sent)

    response = _post(small, (body[start : start + 50] for start in range(0, len(body), 50)))

    assert response.request.headers["Transfer-Encoding"] == "chunked"
    assert response.status_code == 200
    assert _spans(small, sent.trace_id) == [sent]


@pytest.mark.parametrize("content_type, body", [(PROTOBUF, b""), (JSON, b"{}"), (JSON, b'{"resourceSpans": []}')])
def test_an_empty_request_succeeds(small: Server, content_type: str, body: bytes) -> None:
    assert _post(small, body, content_type).status_code == 200


# Refusals.


def _status(response: requests.Response) -> tuple[int, str]:
    """Code and message of the `google.rpc.Status` in a refusal, in the encoding of the request."""
    assert response.headers["Content-Type"] == response.request.headers["Content-Type"]
    if response.headers["Content-Type"] == JSON:
        document = response.json()
        return document["code"], document["message"]
    status = Status.FromString(response.content)
    return status.code, status.message


@pytest.mark.parametrize(
    "content_type, body, encoding, reason",
    [
        (PROTOBUF, b"\xff\xff", "", "not an OTLP ExportTraceServiceRequest"),
        (JSON, b"{", "", "not JSON"),
        (JSON, b"[]", "", "must be a JSON object"),
        (PROTOBUF, b"plain", "gzip", "not what its Content-Encoding says"),
        (JSON, gzip.compress(b"{}")[:-4], "gzip", "ends early"),
    ],
)
def test_what_cannot_be_decoded_is_a_bad_request(
    small: Server, content_type: str, body: bytes, encoding: str, reason: str
) -> None:
    response = _post(small, body, content_type, Content_Encoding=encoding)

    assert response.status_code == 400
    code, message = _status(response)
    assert code == INVALID_ARGUMENT
    assert reason in message


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_too_large_as_received_or_inflated_is_refused(
    small: Server, content_type: str, compressed: bool
) -> None:
    plain = b" " * (LIMIT + 1)
    body = gzip.compress(plain) if compressed else plain

    response = _post(small, body, content_type, Content_Encoding="gzip" if compressed else "identity")

    assert response.status_code == 413
    code, message = _status(response)
    assert code == RESOURCE_EXHAUSTED
    assert f"larger than {LIMIT} bytes" in message
    assert "Retry-After" not in response.headers


def test_a_chunked_body_is_stopped_at_the_limit(small: Server) -> None:
    response = _post(small, (b"x" * 1000 for _ in range(6)))

    assert response.status_code == 413


def test_a_request_of_exactly_the_limit_is_taken(small: Server) -> None:
    body = _json(_new())

    assert _post(small, body + b" " * (LIMIT - len(body)), JSON).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/grpc", "application/x-www-form-urlencoded", "", None]
)
def test_another_content_type_is_not_supported(small: Server, content_type: str | None) -> None:
    response = _post(small, _protobuf(_new()), content_type)

    assert response.status_code == 415
    assert "application/x-protobuf or application/json" in response.text


@pytest.mark.parametrize("encoding", ["br", "gzip, snappy", "gzip, gzip, gzip"])
def test_another_content_encoding_is_not_supported(small: Server, encoding: str) -> None:
    response = _post(small, b"x", Content_Encoding=encoding)

    assert response.status_code == 415
    assert "use gzip, deflate, zstd or none" in _status(response)[1]


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1development/profiles", "/v1/traces/x", "/other"])
def test_other_paths_are_not_found_and_say_where_traces_go(small: Server, path: str) -> None:
    response = _post(small, b"", path=path)

    assert response.status_code == 404
    assert response.headers["Content-Type"] == PROTOBUF
    assert "/v1/traces" in _status(response)[1]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_are_not_allowed(small: Server, method: str) -> None:
    response = requests.request(method, f"http://{small.http}/v1/traces", allow_redirects=False, timeout=10)

    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/v1/traces/", "/", "/behind/a/proxy/v1/traces"])
def test_a_trailing_slash_and_a_bare_address_are_taken_without_a_redirect(small: Server, path: str) -> None:
    sent = _new()

    assert _post(small, _protobuf(sent), path=path).status_code == 200
    assert _spans(small, sent.trace_id) == [sent]


# Partial success.


def _with_a_bad_one() -> tuple[Span, Span]:
    good = _new()
    return good, span(2, 1, trace_id=good.trace_id, span_id="0" * 16, name="bad")


def test_partial_success_in_protobuf(small: Server) -> None:
    good, bad = _with_a_bad_one()

    response = _post(small, _protobuf(good, bad))

    answer = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, answer.rejected_spans, answer.error_message) == (200, 1, "span_id is all zeros")
    assert _spans(small, good.trace_id) == [good]


def test_partial_success_in_json_and_the_reject_is_kept(small: Server) -> None:
    good, bad = _with_a_bad_one()

    response = _post(small, _json(good, bad), JSON)

    assert response.status_code == 200
    assert response.json() == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "span_id is all zeros"}}
    kept = of_url(small.db).query("SELECT transport, peer, reason, payload FROM reject ORDER BY id DESC LIMIT 1")[0]
    assert kept[0] == "http"
    assert kept[1].startswith("127.0.0.1:")
    assert kept[2] == "span_id is all zeros"
    (group,) = orjson.loads(kept[3])["resourceSpans"]
    assert group["scopeSpans"][0]["spans"][0]["name"] == "bad"


# Under load, and rude clients.


def test_many_clients_at_once(server: Server) -> None:
    trace_ids = [new_trace_id() for _ in range(60)]

    with ThreadPoolExecutor(12) as pool:
        sent = [
            _protobuf(stage(1, 0, "tool", trace_id=trace_id), span(2, 1, trace_id=trace_id)) for trace_id in trace_ids
        ]
        codes = [response.status_code for response in pool.map(lambda body: _post(server, body), sent)]

    assert codes == [200] * 60
    assert of_url(server.db).counts().spans == 120


def test_a_large_request_is_taken_by_default(server: Server) -> None:
    trace_id = new_trace_id()
    spans = [span(number, 1, {"text": "x" * 10_000}, trace_id=trace_id) for number in range(2, 502)]

    assert _post(server, _protobuf(*spans)).status_code == 200
    assert len(_spans(server, trace_id)) == 500


def test_a_client_that_goes_away_half_way_harms_nobody(small: Server) -> None:
    head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(split_address(small.http)) as connection:
        connection.sendall(head + b'{"resource')

    sent = _new()
    assert _post(small, _json(sent), JSON).status_code == 200
    assert [item.span_id for item in _spans(small, sent.trace_id)] == [sid(1)]
    assert "Traceback" not in small.log
