"""Clients that need zstd, the name zlib, events as logs, and numbers beyond 64 bits from JavaScript."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import set_span_in_context

from tests.support.arrivals import assert_arrives, read_back
from tests.support.relays import Relay
from tests.support.sdk import as_received, trace_with
from tests.support.senders import sent_by_node
from tests.support.server import Server

# The first test may have to build the Collector, which is not a test that hangs.
pytestmark = pytest.mark.timeout(60, func_only=True)

_ASSET: dict[str, Any] = {
    "evalvault.asset.kind": "prompt",
    "evalvault.asset.name": "qa_answer",
    "evalvault.asset.version": "2",
}


@pytest.mark.parametrize("encoding", ["proto", "json"])
@pytest.mark.parametrize("compression", ["zstd", "zlib"])
def test_the_collector_over_http(
    receiver: Server, collect: Callable[..., Relay], encoding: str, compression: str
) -> None:
    changes = [
        "service::pipelines::traces::exporters: [otlp_http/evalvault]",
        f"exporters::otlp_http/evalvault::encoding: {encoding}",
        f"exporters::otlp_http/evalvault::compression: {compression}",
    ]
    collector = collect("forward.yaml", *changes, env={"EVALVAULT_OTLP_HTTP": f"http://{receiver.http}"})

    sent = [as_received(item) for item in trace_with(GrpcExporter(collector.grpc, insecure=True))]

    assert_arrives(receiver, sent)


@pytest.mark.parametrize("logs_first", [False, True])
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_an_event_that_python_sends_as_a_log_is_on_its_stage(
    receiver: Server, transport: str, logs_first: bool
) -> None:
    trace_id = _traced_with_event(receiver.grpc, receiver.http, transport, logs_first)

    assert _assets(receiver, trace_id) == [("retrieve", "prompt", "qa_answer", "2")]


def test_an_event_that_the_collector_sends_as_a_log_is_on_its_stage(
    receiver: Server, collect: Callable[..., Relay]
) -> None:
    logs = "service::pipelines::logs: {receivers: [otlp], exporters: [otlp_grpc/evalvault]}"
    collector = collect("forward.yaml", logs, env={"EVALVAULT_OTLP_GRPC": receiver.grpc})

    trace_id = _traced_with_event(collector.grpc, collector.http, "grpc", logs_first=True)

    assert _assets(receiver, trace_id) == [("retrieve", "prompt", "qa_answer", "2")]


def _traced_with_event(grpc: str, http: str, transport: str, logs_first: bool) -> str:
    """A trace with a stage and an asset event as a log, which is sent before or after the spans; returns its id."""
    resource = Resource({"service.name": "logs-app"})
    tracers, loggers = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    spans: Any = GrpcExporter(grpc, insecure=True) if transport == "grpc" else HttpExporter(f"http://{http}/v1/traces")
    events: Any = (
        GrpcLogExporter(grpc, insecure=True) if transport == "grpc" else HttpLogExporter(f"http://{http}/v1/logs")
    )
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    loggers.add_log_record_processor(SimpleLogRecordProcessor(events))
    with tracers.get_tracer("app").start_as_current_span("ask") as root:
        stage = tracers.get_tracer("app").start_span("retrieve", attributes={"evalvault.stage.type": "retrieval"})
        if not logs_first:
            stage.end()
        record = LogRecord(
            timestamp=time.time_ns(),
            context=set_span_in_context(stage),
            event_name="evalvault.asset.used",
            attributes=_ASSET,
        )
        loggers.get_logger("app").emit(record)
        if logs_first:
            stage.end()
    tracers.shutdown()
    loggers.shutdown()
    return f"{root.get_span_context().trace_id:032x}"


def _assets(server: Server, trace_id: str) -> list[tuple[str, str, str, str]]:
    """The assets of a trace as soon as there are some: the name of the stage's span, kind, name and version of each."""
    deadline = time.monotonic() + 20
    assets: list[dict[str, Any]] = []
    while not assets and time.monotonic() < deadline:
        time.sleep(0.05)
        answer = requests.get(server.url(f"/api/traces/{trace_id}"), timeout=10)
        assets = answer.json()["assets"] if answer.status_code == 200 else []
    names = {item.span_id: item.name for item in read_back(server, trace_id)}
    return [(names[asset["stage_id"]], asset["kind"], asset["name"], asset["version"]) for asset in assets]


@pytest.mark.parametrize("protocol", ["json", "proto"])
def test_a_whole_number_beyond_64_bits_from_node_is_kept(receiver: Server, protocol: str) -> None:
    # Over JSON the SDK sends it as {"intValue": 1e+300}, over protobuf as a double.
    sent = sent_by_node(protocol, f"http://{receiver.http}/v1/traces", "none", "large")

    assert_arrives(receiver, sent)
