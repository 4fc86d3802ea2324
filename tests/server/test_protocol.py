"""What clients need beyond a plain export: hints, other signals, browsers, proxies, and a stop that loses nothing."""

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import requests
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.server.test_storage_away import locked, wait_for_waiting_bytes
from tests.support.clients import EXPORT, body_of, call, post, trace_of
from tests.support.http2 import grpc_call
from tests.support.server import Server, running_server

PROTOBUF, JSON = "application/x-protobuf", "application/json"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
PAGE = "https://app.example"


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that discards other signals and lets one page's scripts in."""
    folder: Path = tmp_path_factory.mktemp("protocol")
    env = {"EVALVAULT_OTHER_SIGNALS": "discard", "EVALVAULT_CORS_ORIGINS": PAGE, "EVALVAULT_ACK_TIMEOUT_S": "0.5"}
    with running_server(f"sqlite:///{folder / 'test.db'}", folder / "server.log", env=env) as server:
        yield server


# gRPC on the wire.


def test_a_refused_call_is_one_block_of_headers_with_the_hint_in_both_places(lenient: Server) -> None:
    with locked(lenient.db):
        answer = grpc_call(lenient.grpc, EXPORT, body_of(trace_of()))

    assert answer.trailers_only
    assert answer.headers["grpc-status"] == str(grpc.StatusCode.UNAVAILABLE.value[0])
    status = Status.FromString(_binary(answer.headers["grpc-status-details-bin"]))
    hinted = RetryInfo()
    assert status.details[0].Unpack(hinted)
    for hint in (hinted, RetryInfo.FromString(_binary(answer.headers["google.rpc.retryinfo-bin"]))):
        assert 0 < hint.retry_delay.ToSeconds() <= 2


@pytest.mark.parametrize("body", [b"\xff\xff", b"\x0a\xff"])
def test_what_cannot_be_decoded_is_refused_in_one_block_of_headers_too(lenient: Server, body: bytes) -> None:
    answer = grpc_call(lenient.grpc, EXPORT, body)

    assert answer.trailers_only
    assert answer.headers["grpc-status"] == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])


def test_an_accepted_call_has_a_message_and_trailers(lenient: Server) -> None:
    answer = grpc_call(lenient.grpc, EXPORT, body_of(trace_of()))

    assert answer.data == bytes(5)
    assert (answer.trailers or {})["grpc-status"] == "0"


def _binary(value: str) -> bytes:
    return base64.b64decode(value + "=" * (-len(value) % 4))


# Other signals.


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1development/profiles"])
@pytest.mark.parametrize("content_type, answer", [(PROTOBUF, b""), (JSON, b"{}")])
def test_other_signals_are_discarded_where_that_is_asked_for(
    lenient: Server, path: str, content_type: str, answer: bytes
) -> None:
    response = requests.post(f"http://{lenient.http}{path}", b"", headers={"Content-Type": content_type}, timeout=10)

    assert (response.status_code, response.content) == (200, answer)


def test_over_grpc_as_well(lenient: Server, server: Server) -> None:
    assert (grpc_call(lenient.grpc, METRICS, b"").trailers or {})["grpc-status"] == "0"
    refused = grpc_call(server.grpc, METRICS, b"")
    assert refused.headers["grpc-status"] == str(grpc.StatusCode.UNIMPLEMENTED.value[0])
    assert "OTEL_METRICS_EXPORTER=none" in refused.headers["grpc-message"]


def test_by_default_they_are_refused_in_the_encoding_of_the_request(server: Server) -> None:
    for content_type in (PROTOBUF, JSON):
        headers = {"Content-Type": content_type}
        response = requests.post(f"http://{server.http}/v1/metrics", b"", headers=headers, timeout=10)

        assert (response.status_code, response.headers["Content-Type"]) == (404, content_type)
        assert b"OTEL_METRICS_EXPORTER=none" in response.content


# Browsers.


def test_a_page_that_is_let_in_may_send(lenient: Server) -> None:
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,api-key",
    }
    before = requests.options(f"http://{lenient.http}/v1/traces", headers=asked, timeout=10)
    headers = {"Origin": PAGE, "Content-Type": PROTOBUF}
    sent = requests.post(f"http://{lenient.http}/v1/traces", body_of(trace_of()), headers=headers, timeout=10)

    assert before.status_code == 200
    assert before.headers["Access-Control-Allow-Origin"] == PAGE
    assert int(before.headers["Access-Control-Max-Age"]) > 0
    assert (sent.status_code, sent.headers["Access-Control-Allow-Origin"]) == (200, PAGE)


def test_another_page_is_not_let_in_and_by_default_none(lenient: Server, server: Server) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for address in (lenient.http, server.http):
        response = requests.options(f"http://{address}/v1/traces", headers=asked, timeout=10)
        assert response.status_code >= 400
        assert "Access-Control-Allow-Origin" not in response.headers


# A stop.


def test_while_it_stops_what_is_under_way_is_stored_and_new_requests_are_to_come_back(
    db_url: str, serve: Callable[..., Server]
) -> None:
    server = serve(db_url)
    with ThreadPoolExecutor(4) as pool, grpc.insecure_channel(server.grpc) as channel, requests.Session() as session:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        said = [next(health).status]
        assert session.post(f"http://{server.http}/v1/traces", headers={"Content-Type": PROTOBUF}, timeout=5).ok
        with locked(db_url):
            over_http = pool.submit(post, server.http, body_of(trace_of()))
            over_grpc = pool.submit(call, server.grpc, body_of(trace_of()))
            wait_for_waiting_bytes(server)
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            said.append(next(health).status)
            late = session.post(
                f"http://{server.http}/v1/traces", body_of(trace_of()), headers={"Content-Type": PROTOBUF}, timeout=5
            )
        stopping.join(20)

    assert said == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
    assert (late.status_code, late.headers["Retry-After"]) == (503, "1")
    assert over_http.result(0).status_code == 200
    assert over_grpc.result(0) is grpc.StatusCode.OK


def test_a_stop_ends_in_time_although_storage_hangs(db_url: str, serve: Callable[..., Server]) -> None:
    server = serve(db_url, env={"EVALVAULT_SHUTDOWN_S": "2", "EVALVAULT_SPOOL": "off"})
    with ThreadPoolExecutor(2) as pool, locked(db_url):
        answer = pool.submit(post, server.http, body_of(trace_of()))
        pool.submit(call, server.grpc, body_of(trace_of()))
        wait_for_waiting_bytes(server)
        assert server.stop(6) == 0
        # Not acknowledged: the connection was cut, or the answer asks to try again.
        assert answer.exception(5) is not None or answer.result(0).status_code == 503
