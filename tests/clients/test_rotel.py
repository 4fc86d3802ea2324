"""rotel, a relay in Rust, between an application and the server. What the SDK in front of it made is what is stored."""

from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace.export import SpanExporter

from tests.support.arrivals import assert_arrives
from tests.support.relays import Relay, running_rotel
from tests.support.sdk import as_received, trace_with
from tests.support.server import Server
from tests.support.tools import tool

# The first test may have to install rotel, which is not a test that hangs.
pytestmark = pytest.mark.timeout(60, func_only=True)


@pytest.fixture(scope="module")
def rotel() -> None:
    """Rotel is on this machine."""
    tool("rotel")


@pytest.fixture(params=["grpc", "http"])
def out(request: pytest.FixtureRequest, receiver: Server) -> list[str]:
    """Options to send to the server."""
    address = receiver.grpc if request.param == "grpc" else receiver.http
    return ["--otlp-exporter-endpoint", f"http://{address}", "--otlp-exporter-protocol", request.param]


@pytest.mark.usefixtures("rotel")
@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("into", ["grpc", "http"])
def test_a_trace_through_rotel(receiver: Server, tmp_path: Path, into: str, out: list[str], compression: str) -> None:
    with running_rotel(tmp_path / "rotel.log", *out, "--otlp-exporter-compression", compression) as relay:
        sent = [as_received(item) for item in trace_with(_exporter(relay, into))]

        assert_arrives(receiver, sent)


def _exporter(relay: Relay, protocol: str) -> SpanExporter:
    if protocol == "grpc":
        return GrpcExporter(relay.grpc, insecure=True)
    return HttpExporter(f"http://{relay.http}/v1/traces")
