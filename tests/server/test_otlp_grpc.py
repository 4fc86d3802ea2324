"""OTLP/gRPC against the server as a process: the stock exporter, and raw calls for what no exporter shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from benchmarks.database import of_url
from evalvault_otel.model import Span
from evalvault_otel.store import open_store
from tests.support.otlp import otlp_message
from tests.support.sdk import as_received, trace_with
from tests.support.server import Server, running_server
from tests.support.traces import exact, new_trace_id, span, stage

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LIMIT = 4000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite for all tests of this module; it takes small requests only."""
    folder: Path = tmp_path_factory.mktemp("grpc")
    limit = {"EVALVAULT_MAX_REQUEST_BYTES": str(LIMIT)}
    with running_server(f"sqlite:///{folder / 'test.db'}", folder / "server.log", env=limit) as server:
        yield server


def _call(server: Server, body: bytes, method: str = EXPORT, compression: Any = None) -> ExportTraceServiceResponse:
    with grpc.insecure_channel(server.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        export = channel.unary_unary(method, response_deserializer=ExportTraceServiceResponse.FromString)
        answer = export(body, timeout=20, compression=compression)
    assert isinstance(answer, ExportTraceServiceResponse)
    return answer


def _refused(server: Server, body: bytes, method: str = EXPORT) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        _call(server, body, method)
    return caught.value


def _trailers(error: Any) -> dict[str, bytes]:
    return {key: value for key, value in error.trailing_metadata() or () if key.endswith("-bin")}


def _spans(server: Server, trace_id: str) -> list[Span]:
    store = open_store(server.db)
    try:
        return store.spans(trace_id)
    finally:
        store.close()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_what_the_stock_exporter_sends_arrives(small: Server, compression: grpc.Compression) -> None:
    sent = _traced(small, compression)

    assert sorted(map(exact, _spans(small, sent[0].trace_id))) == sorted(map(exact, sent))


def test_what_the_stock_exporter_sent_is_stages_at_once(server: Server) -> None:
    sent = _traced(server, grpc.Compression.Gzip)

    assert sorted(map(exact, _spans(server, sent[0].trace_id))) == sorted(map(exact, sent))
    counts = of_url(server.db).counts()
    assert (counts.spans, counts.stages, counts.assets, counts.unassembled) == (3, 2, 1, 0)


def _traced(server: Server, compression: grpc.Compression) -> list[Span]:
    exporter = OTLPSpanExporter(server.grpc, insecure=True, compression=compression)
    return [as_received(item) for item in trace_with(exporter)]


def test_success_is_an_empty_message(small: Server) -> None:
    sent = stage(1, 0, "tool", trace_id=new_trace_id())

    answer = _call(small, otlp_message([sent]).SerializeToString())

    assert not answer.HasField("partial_success")
    assert _spans(small, sent.trace_id) == [sent]


def test_an_empty_request_succeeds(small: Server) -> None:
    assert not _call(small, b"").HasField("partial_success")


def test_partial_success_says_how_many_and_why_and_the_reject_is_kept(small: Server) -> None:
    good = stage(1, 0, "tool", trace_id=new_trace_id())
    bad = span(2, 1, trace_id="0" * 32, name="bad")

    answer = _call(small, otlp_message([good, bad]).SerializeToString()).partial_success

    assert (answer.rejected_spans, answer.error_message) == (1, "trace_id is all zeros")
    assert _spans(small, good.trace_id) == [good]
    transport, peer = of_url(small.db).query("SELECT transport, peer FROM reject ORDER BY id DESC LIMIT 1")[0]
    assert transport == "grpc"
    assert peer.startswith("127.0.0.1:")


def test_what_cannot_be_decoded_is_an_invalid_argument_with_details(small: Server) -> None:
    error = _refused(small, b"\xff\xff")

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not an OTLP ExportTraceServiceRequest" in error.details()
    status = Status.FromString(_trailers(error)["grpc-status-details-bin"])
    violation = BadRequest()
    assert status.details[0].Unpack(violation)
    assert violation.field_violations[0].description == error.details()
    assert "google.rpc.retryinfo-bin" not in _trailers(error)


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_what_is_too_large_as_received_or_inflated_is_exhausted_without_a_retry_hint(
    small: Server, compression: Any
) -> None:
    body = otlp_message([span(1, attributes={"text": "x" * LIMIT})]).SerializeToString()

    with pytest.raises(grpc.RpcError) as caught:
        _call(small, body, compression=compression)

    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _trailers(error) == {}


@pytest.mark.parametrize(
    "method",
    [
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/opentelemetry.proto.collector.logs.v1.LogsService/Other",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Other",
    ],
)
def test_other_services_are_not_implemented(small: Server, method: str) -> None:
    assert _refused(small, b"", method).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("service", ["", "opentelemetry.proto.collector.trace.v1.TraceService"])
def test_the_health_service_says_serving(small: Server, service: str) -> None:
    with grpc.insecure_channel(small.grpc) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=10)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_many_calls_at_once_share_one_connection(small: Server) -> None:
    sent = [stage(1, 0, "tool", trace_id=new_trace_id()) for _ in range(50)]
    with grpc.insecure_channel(small.grpc) as channel:
        export = channel.unary_unary(EXPORT, response_deserializer=ExportTraceServiceResponse.FromString)
        calls = [export.future(otlp_message([item]).SerializeToString(), timeout=20) for item in sent]
        answers = [call.result() for call in calls]

    assert not any(answer.HasField("partial_success") for answer in answers)
    assert all(_spans(small, item.trace_id) == [item] for item in sent)
