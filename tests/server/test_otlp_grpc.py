"""OTLP/gRPC over real sockets: the unmodified SDK, and bare calls for what it never sends."""

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc.code_pb2 import INVALID_ARGUMENT
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanProto

from evalvault_otel.server.otlp_grpc import SERVICE
from tests.support.clients import as_sent, as_stored, body_of, call, details, refused, traced, trailers
from tests.support.ingest import reading, reject_rows, trace_of, with_bad_ids
from tests.support.server import Server, running_server
from tests.support.traces import span

LIMIT = 4000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes small requests only."""
    folder: Path = tmp_path_factory.mktemp("grpc")
    env = {"EVALVAULT_MAX_REQUEST_BYTES": str(LIMIT)}
    with running_server(str(folder / "small.db"), folder / "log", env=env) as server:
        yield server


def test_the_sdk_exporter_works_unchanged(server: Server, db_url: str) -> None:
    for compression in (None, grpc.Compression.Gzip):
        sent = traced(OTLPSpanExporter(endpoint=f"http://{server.grpc}", insecure=True, compression=compression))
        assert len(sent) == 4
        with reading(db_url) as store:
            trace_ids = {as_sent(item)["ids"][0] for item in sent}
            found = {item.span_id: as_stored(item) for trace_id in trace_ids for item in store.spans(trace_id)}
            assert found == {as_sent(item)["ids"][1]: as_sent(item) for item in sent}
            assert all(store.trace(trace_id).assembled for trace_id in trace_ids)


def test_an_acknowledged_request_says_nothing_when_all_is_well(small: Server) -> None:
    assert call(small.grpc, body_of(trace_of())) == b""
    assert call(small.grpc, b"") == b""


def test_a_refused_span_is_told_and_kept(server: Server, db_url: str) -> None:
    spans = trace_of()
    bad = with_bad_ids(span(7, name="no trace"))
    answer = ExportTraceServiceResponse.FromString(call(server.grpc, body_of([*spans, bad])))
    assert answer.partial_success.rejected_spans == 1
    assert answer.partial_success.error_message == "trace_id is all zeros"
    (row,) = reject_rows(db_url)
    assert (row["reason"], row["transport"]) == ("trace_id is all zeros", "grpc")
    assert row["peer"].startswith("ipv4:127.0.0.1:")
    assert SpanProto.FromString(row["payload"]).name == "no trace"
    assert row["size"] == len(row["payload"])
    with reading(db_url) as store:
        assert len(store.spans(spans[0].trace_id)) == 3


def test_bytes_that_are_no_request_are_an_invalid_argument(small: Server) -> None:
    error = refused(small.grpc, b"\xff\xff garbage")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not an OTLP ExportTraceServiceRequest" in error.details()
    said = trailers(error)
    assert "google.rpc.retryinfo-bin" not in said
    status = Status.FromString(said["grpc-status-details-bin"])
    assert (status.code, status.message) == (INVALID_ARGUMENT, error.details())
    (bad_request,) = details(status, BadRequest)
    assert bad_request.field_violations[0].description == error.details()


@pytest.mark.parametrize("compress", [False, True])
def test_a_request_over_the_limit_is_refused_for_good(small: Server, compress: bool) -> None:
    large = body_of([span(1, name="x" * LIMIT)])
    error = refused(small.grpc, large, compress=compress)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "google.rpc.retryinfo-bin" not in trailers(error)
    assert b"google.rpc.RetryInfo" not in trailers(error).get("grpc-status-details-bin", b"")


@pytest.mark.parametrize(
    "method",
    [
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        f"/{SERVICE}/Other",
    ],
)
def test_other_services_are_not_implemented(small: Server, method: str) -> None:
    assert refused(small.grpc, b"", method).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_says_serving(small: Server, service: str) -> None:
    with grpc.insecure_channel(small.grpc) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_too_much_waiting_is_told_with_a_hint(serve: Callable[..., Server], tmp_path: Path) -> None:
    """See `test_storage_away` for the hint itself; here the bound is what refuses."""
    server = serve(str(tmp_path / "full.db"), "--max-queue-bytes", "1")
    assert call(server.grpc, body_of(trace_of())) == b""
