"""The OpenTelemetry Collector while the server behind it, or itself, is away: what it acknowledged arrives."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import psycopg
import pytest

from benchmarks.database import of_url
from evalvault_otel.model import Span
from tests.support.arrivals import assert_arrives
from tests.support.clients import body_of, call, trace_of
from tests.support.relays import Relay, free_address
from tests.support.server import Server

# The first test may have to build the Collector, which is not a test that hangs.
pytestmark = pytest.mark.timeout(120, func_only=True)

_OVER_HTTP = "service::pipelines::traces::exporters: [otlp_http/evalvault]"


def _send(collector: Relay, traces: int) -> list[Span]:
    """Spans of this many traces, each sent until the Collector took it."""
    sent = [trace_of() for _ in range(traces)]
    for spans in sent:
        assert call(collector.grpc, body_of(spans)) is grpc.StatusCode.OK
    return [item for spans in sent for item in spans]


# The server is away.


def test_a_collector_that_was_there_first_waits_for_the_server(
    tmp_path: Path, collect: Callable[..., Relay], serve: Callable[..., Server]
) -> None:
    address = free_address()
    collector = collect("forward.yaml", env={"EVALVAULT_OTLP_GRPC": address})
    sent = _send(collector, 5)
    collector.wait_for_log("Will retry the request after interval")

    server = serve(f"sqlite:///{tmp_path / 'test.db'}", "--grpc", address)

    assert_arrives(server, sent)


@contextmanager
def _locked(url: str) -> Iterator[None]:
    """Another program holds what a writer needs."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE span IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("changes", [[], [_OVER_HTTP]])
def test_what_is_refused_for_now_is_sent_again(
    postgres_url: str, collect: Callable[..., Relay], serve: Callable[..., Server], changes: list[str]
) -> None:
    # Given a server that answers UNAVAILABLE or 503, since it cannot store
    server = serve(postgres_url, env={"EVALVAULT_ACK_TIMEOUT_S": "0.5", "EVALVAULT_SPOOL": "off"})
    env = {"EVALVAULT_OTLP_GRPC": server.grpc, "EVALVAULT_OTLP_HTTP": f"http://{server.http}"}
    collector = collect("forward.yaml", *changes, env=env)
    with _locked(postgres_url):
        sent = _send(collector, 5)
        collector.wait_for_log("Will retry the request after interval")

    # When it can again, then all of it is stored, once
    assert_arrives(server, sent)
    assert of_url(postgres_url).counts().spans == len(sent)
    assert "Dropping data" not in collector.log


def test_a_server_killed_in_the_middle_loses_nothing(
    db_url: str, collect: Callable[..., Relay], serve: Callable[..., Server]
) -> None:
    # Given a stream of traces through the Collector
    address = free_address()
    server = serve(db_url, "--grpc", address)
    # Small batches, so that many are under way.
    small = "exporters::otlp_grpc/evalvault::sending_queue::batch: {flush_timeout: 20ms, min_size: 500, max_size: 5000}"
    collector = collect("forward.yaml", small, env={"EVALVAULT_OTLP_GRPC": address})
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(_send, collector, 200)
        while of_url(db_url).counts().spans < 30:
            time.sleep(0.01)

        # When the server is killed and comes back
        server.kill()
        stored = of_url(db_url).counts().spans
        server = serve(db_url, "--grpc", address)
        sent = sending.result(60)

    # Then all is stored, once
    assert 0 < stored < len(sent)
    assert_arrives(server, sent)
    assert of_url(db_url).counts().spans == len(sent)


# The Collector dies.


def test_what_waits_in_the_queue_of_a_gateway_outlives_it(
    tmp_path: Path, collect: Callable[..., Relay], serve: Callable[..., Server]
) -> None:
    # Given a gateway with a queue of requests for a server that is away
    address = free_address()
    env = {"EVALVAULT_OTLP_GRPC": address, "COLLECTOR_STORAGE": str(tmp_path / "queue")}
    first = collect("gateway.yaml", env=env)
    sent = _send(first, 20)

    # When it is killed, and both come back
    first.kill()
    second = collect("gateway.yaml", env=env)
    server = serve(f"sqlite:///{tmp_path / 'test.db'}", "--grpc", address)

    # Then all is there, and what is sent now as well
    sent += _send(second, 5)
    assert_arrives(server, sent)


def test_a_full_queue_refuses_and_what_it_took_arrives(
    tmp_path: Path, collect: Callable[..., Relay], serve: Callable[..., Server]
) -> None:
    # Given a gateway whose queue is full, since the server is away
    address = free_address()
    env = {"EVALVAULT_OTLP_GRPC": address, "COLLECTOR_STORAGE": str(tmp_path / "queue")}
    small = "exporters::otlp_grpc/evalvault::sending_queue: {queue_size: 8000, batch: {min_size: 500, max_size: 4000}}"
    gateway = collect("gateway.yaml", small, env=env)
    taken: list[Span] = []
    for _ in range(200):
        spans = trace_of()
        code = call(gateway.grpc, body_of(spans))
        if code is not grpc.StatusCode.OK:
            break
        taken += spans
    # It says so in a way that an application tries again
    assert code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(taken) >= 15

    # When it is killed with its full queue, and both come back
    gateway.kill()
    collect("gateway.yaml", small, env=env)
    server = serve(f"sqlite:///{tmp_path / 'test.db'}", "--grpc", address)

    # Then what it took is stored
    assert_arrives(server, taken)
