"""The OpenTelemetry Collector between an application and the server, with the files of `collector-config/` as they are.

What the SDK in front of it made is what is stored behind it, span by span.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

from benchmarks.database import of_url
from evalvault_otel.model import Resource, Span
from evalvault_otel.settings import Settings
from tests.support.arrivals import assert_arrives, read_back, spans_counted
from tests.support.clients import body_of, call, post
from tests.support.relays import Relay, free_address
from tests.support.sdk import as_received, trace_with
from tests.support.server import Server
from tests.support.traces import new_trace_id, resource, sid, span, stage

# The first test may have to build the Collector, which is not a test that hangs.
pytestmark = pytest.mark.timeout(60, func_only=True)

_OVER_HTTP = "service::pipelines::traces::exporters: [otlp_http/evalvault]"


def _addresses(server: Server) -> dict[str, str]:
    return {"EVALVAULT_OTLP_GRPC": server.grpc, "EVALVAULT_OTLP_HTTP": f"http://{server.http}"}


def _traced(collector: Relay) -> list[Span]:
    """A program's spans, sent to the Collector; half of them come over HTTP, which must make no difference."""
    over_grpc = trace_with(GrpcExporter(collector.grpc, insecure=True))
    over_http = trace_with(HttpExporter(f"http://{collector.http}/v1/traces"))
    return [as_received(item) for item in (*over_grpc, *over_http)]


# Forward.


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_forward_over_grpc(receiver: Server, collect: Callable[..., Relay], compression: str) -> None:
    change = f"exporters::otlp_grpc/evalvault::compression: {compression}"
    collector = collect("forward.yaml", *([] if compression == "gzip" else [change]), env=_addresses(receiver))

    assert_arrives(receiver, _traced(collector))


@pytest.mark.parametrize(
    "encoding, compression",
    [("proto", "gzip"), ("proto", "none"), ("proto", "deflate"), ("json", "gzip"), ("json", "none")],
)
def test_forward_over_http(receiver: Server, collect: Callable[..., Relay], encoding: str, compression: str) -> None:
    changes = [
        f"exporters::otlp_http/evalvault::encoding: {encoding}",
        f"exporters::otlp_http/evalvault::compression: {compression}",
    ]
    collector = collect("forward.yaml", _OVER_HTTP, *changes, env=_addresses(receiver))

    assert_arrives(receiver, _traced(collector))


@pytest.mark.parametrize("changes", [[], [_OVER_HTTP], [_OVER_HTTP, "exporters::otlp_http/evalvault::encoding: json"]])
def test_the_collector_says_what_was_rejected_and_so_do_we(
    receiver: Server, collect: Callable[..., Relay], changes: list[str]
) -> None:
    # Given a request with a span that can never be stored
    collector = collect("forward.yaml", *changes, env=_addresses(receiver))
    good = stage(1, 0, "tool", trace_id=new_trace_id())
    bad = span(2, trace_id="0" * 32, name="bad")
    before = spans_counted(receiver)["rejected"]

    # When it comes through the Collector, whose application hears of nothing
    assert post(collector.http, body_of([good, bad])).status_code == 200

    # Then the good span is stored, the bad one is a warning in the Collector's log and a reject here
    assert_arrives(receiver, [good])
    collector.wait_for_log("Partial success response")
    (line,) = [line for line in collector.log.splitlines() if "Partial success response" in line]
    assert "\twarn\t" in line
    assert "trace_id" in line
    assert '"dropped_spans": 1' in line
    assert spans_counted(receiver)["rejected"] == before + 1
    (reason,) = of_url(receiver.db).query("SELECT reason FROM reject ORDER BY id DESC LIMIT 1")[0]
    assert "trace_id" in reason


def test_large_spans_go_through_in_requests_that_the_server_takes(
    receiver: Server, collect: Callable[..., Relay]
) -> None:
    # Given two requests that the Collector would put together, and that are more than the server takes in one
    collector = collect("forward.yaml", env=_addresses(receiver))
    small, large = [_large(400_000)], [_large(1_062_000) for _ in range(63)]
    bodies = [body_of(small), body_of(large)]
    assert len(bodies[1]) < Settings().max_request_bytes < sum(map(len, bodies))

    # When they come shortly after each other
    for body in bodies:
        assert call(collector.grpc, body) is grpc.StatusCode.OK

    # Then they are split, and all is stored
    assert_arrives(receiver, [*small, *large], within_s=40)
    assert "Dropping data" not in collector.log


def _large(size: int) -> Span:
    return stage(1, 0, "tool", {"document": "x" * size}, trace_id=new_trace_id())


@pytest.mark.parametrize(
    "changes",
    [
        ["exporters::otlp_grpc/evalvault::compression: zstd"],
        [_OVER_HTTP, "exporters::otlp_http/evalvault::compression: snappy"],
    ],
)
def test_a_compression_that_is_not_taken_is_said_in_the_log_of_the_collector(
    receiver: Server, collect: Callable[..., Relay], changes: list[str]
) -> None:
    collector = collect("forward.yaml", *changes, env=_addresses(receiver))
    before = spans_counted(receiver)

    assert post(collector.http, body_of([stage(1, 0, "tool", trace_id=new_trace_id())])).status_code == 200

    collector.wait_for_log("Exporting failed. Dropping data.")
    assert re.search(r"Content-Encoding 'snappy' is not supported|grpc-encoding", collector.log)
    assert spans_counted(receiver) == before


# Fan-out.


def test_a_second_backend_gets_the_same_and_one_that_is_away_holds_up_nobody(
    receiver: Server, collect: Callable[..., Relay], serve: Callable[..., Server], tmp_path: Path
) -> None:
    # Given a second backend that is not there yet
    address = free_address()
    collector = collect("fan-out.yaml", env={**_addresses(receiver), "SECOND_OTLP_HTTP": f"http://{address}"})
    sent = _traced(collector)
    assert_arrives(receiver, sent)

    # When it comes
    second = serve(f"sqlite:///{tmp_path / 'second.db'}", "--http", address)

    # Then it gets what it missed
    assert_arrives(second, sent)


# OTTL.


def test_a_recipe_makes_stages_of_spans_that_know_nothing_of_us(
    receiver: Server, collect: Callable[..., Relay]
) -> None:
    # Given an application with names of its own
    collector = collect("ottl.yaml", env=_addresses(receiver))
    trace_id, built = new_trace_id(), resource(ci__build__id="build-77")
    tokens = {"app.tokens.prompt": 100, "app.tokens.answer": "7"}
    sent = [
        span(1, trace_id=trace_id, resource=built),
        _step(2, "expand_question", trace_id, built, {}),
        _step(3, "vector_search", trace_id, built, {"app.hits": "d1,d2", "app.limit": "5"}),
        _step(4, "cross_encoder", trace_id, built, {"app.limit": "many"}),
        _step(5, "ask", trace_id, built, {"app.model": "m", "Api-Key": "s3cret", **tokens}),
    ]

    # When its spans come through the recipe
    assert post(collector.http, body_of(sent)).status_code == 200
    found = _wait_for(receiver, trace_id, len(sent))

    # Then they are stages of the run
    run = requests.get(receiver.url("/api/runs/build-77"), timeout=10).json()
    assert (run["kind"], run["traces"]) == ("offline", 1)
    events = requests.get(receiver.url("/api/stage/events/build-77"), timeout=10).json()["events"]
    by_span = {event["stage_id"]: event for event in events}
    types = {number: by_span[sid(number)]["stage_type"] for number in (2, 3, 4, 5)}
    assert types == {2: "query_rewrite", 3: "retrieval", 4: "rerank", 5: "output"}  # the generation that answers
    said = by_span[sid(3)]["attributes"]
    assert (said["doc_ids"], said["top_k"]) == (["d1", "d2"], 5)
    assert (run["tokens_in"], run["tokens_out"]) == (100, 7)
    # And neither the secret nor a complaint of OTTL has come with them
    assert "s3cret" not in repr(found)
    assert "\twarn\t" not in collector.log


def _step(number: int, name: str, trace_id: str, built: Resource, attributes: dict[str, Any]) -> Span:
    start = 10 * number
    said = {"trace_id": trace_id, "resource": built, "name": name}
    return span(number, 1, attributes, start=start, end=start + 10, **said)


def _wait_for(server: Server, trace_id: str, number: int) -> list[Span]:
    deadline = time.monotonic() + 20
    while len(found := read_back(server, trace_id)) < number and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
