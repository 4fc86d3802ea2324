"""Program and server of different minor versions: what each says more than the other knows costs nothing.

`tests/golden/sdk` holds what the SDK of each minor version sent, and the stages that became of it. A file is made once,
when its version is released, and never changed: servers of every later version must make the same stages of it.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider

import evalvault_otel as ev
from evalvault_otel.sdk.processor import EvalVaultSpanProcessor
from tests.support.receiving import Answer, receiving
from tests.support.server import Server

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "sdk").glob("*.json"))
# Field 1000 of a message, which no version has yet.
UNKNOWN = b"\xc2\x3e\x03new"
SHOWN = ("stage_type", "stage_name", "status", "attempt", "attributes", "applied_assets", "error_type", "error_message")


def stages(server: Server, request: ExportTraceServiceRequest) -> list[dict[str, Any]]:
    """Send a request; the stages that become of it, none of its spans refused."""
    headers = {"Content-Type": "application/x-protobuf"}
    url = f"http://{server.http}/v1/traces"
    answer = requests.post(url, request.SerializeToString(), headers=headers, timeout=20)
    answer.raise_for_status()
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    deadline = time.monotonic() + 20
    while not (found := _get(server, "/api/stage/events/nightly-42").get("events")):
        assert time.monotonic() < deadline, "not assembled in time"
        time.sleep(0.1)
    assert _get(server, "/api/rejects")["rejects"] == []
    return [{key: event[key] for key in SHOWN} | {"test_case": event["metadata"]["test_case_id"]} for event in found]


def _get(server: Server, path: str) -> Any:
    return requests.get(server.url(path), timeout=20).json()


def recorded(path: Path) -> tuple[ExportTraceServiceRequest, list[dict[str, Any]]]:
    said = json.loads(path.read_text())
    return ParseDict(said["request"], ExportTraceServiceRequest()), said["stages"]


def as_of_the_next_version(request: ExportTraceServiceRequest) -> None:
    """Fields of messages, attributes of spans and of asset uses, and events that nobody knows today."""
    request.MergeFromString(UNKNOWN)
    for group in request.resource_spans:
        group.MergeFromString(UNKNOWN)
        group.resource.attributes.add(key="evalvault.schema.version").value.string_value = "1.99"
        for span in (span for scope in group.scope_spans for span in scope.spans):
            span.MergeFromString(UNKNOWN)
            span.attributes.add(key="evalvault.stage.next").value.string_value = "new"
            for event in span.events:
                event.MergeFromString(UNKNOWN)
                event.attributes.add(key="evalvault.asset.next").value.int_value = 1
            span.events.add(name="evalvault.asset.returned", time_unix_nano=span.end_time_unix_nano)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_what_an_older_sdk_sends_gives_the_same_stages(golden: Path, server: Server) -> None:
    request, expected = recorded(golden)
    assert stages(server, request) == expected


def test_what_a_newer_sdk_says_more_changes_nothing_else(server: Server) -> None:
    request, expected = recorded(GOLDEN[-1])
    as_of_the_next_version(request)
    found = stages(server, request)
    for stage in found:
        stage["attributes"] = {key: said for key, said in stage["attributes"].items() if "next" not in key}
    assert found == expected


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        Answer(body=UNKNOWN, headers={"Content-Type": "application/x-protobuf", "x-next": "1"}),
        Answer(body=b'{"partialSuccess":{}}', headers={"Content-Type": "application/json"}),
    ],
    ids=["older", "newer", "another form"],
)
def test_answers_of_other_versions_are_a_yes(answer: Answer) -> None:
    with receiving(lambda _: answer) as receiver:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(EvalVaultSpanProcessor(endpoint=receiver.endpoint))
        provider.get_tracer("app").start_span("ask").end()
        assert provider.force_flush(5000)
        provider.shutdown()
        assert receiver.names == ["ask"]


def test_a_server_without_the_route_of_stage_events_costs_the_events_only(server: Server) -> None:
    # The OTLP port has no such route, as a server that is older than it would not.
    tracer = ev.StageTracer(run_id="r", api_url=f"http://{server.http}")
    tracer.record_stage("retrieval")
    assert not tracer.flush()
    began = time.monotonic()
    tracer.shutdown()
    assert tracer.counts().failed == 1
    assert time.monotonic() - began < 2.0
