"""A server with API keys, asked by real clients: who is let in, what the others are told, and that no key is kept."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace.export import SpanExporter
from prometheus_client import CollectorRegistry

from benchmarks.database import of_url
from evalvault_otel.server.api import create_api
from evalvault_otel.store import open_store
from tests.cli.test_cli import evalvault
from tests.support.clients import EXPORT, body_of, trace_of
from tests.support.sdk import trace_with
from tests.support.server import Server, running_server

INGEST, READ, ADMIN, WRONG = "ingest-key-a1", "read-key-b2", "admin-key-c3", "wrong-key-d4"
KEYS = f"ingest:{INGEST},read:{READ},admin:{ADMIN}"
HEADERS_VARIABLE = "OTEL_EXPORTER_OTLP_HEADERS"
METRICS_EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
OPEN = {"/", "/livez", "/readyz", "/openapi.json", "/docs"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("access")
    with running_server(str(folder / "test.db"), folder / "log", env={"EVALVAULT_API_KEYS": KEYS}) as running:
        yield running


def traces(server: Server) -> int:
    return of_url(f"sqlite:///{server.db}").counts().traces


def refusals(server: Server) -> float:
    """Exports that were refused because of their key."""
    text = requests.get(server.url("/metrics"), headers={"x-api-key": READ}, timeout=10).text
    return sum(float(count) for count in re.findall(r'requests_total{result="unauthorized".*?} (\S+)', text))


def post(server: Server, content_type: str = "application/x-protobuf", path: str = "/v1/traces", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://{server.http}{path}"
    return requests.post(url, body_of(trace_of()), headers={"Content-Type": content_type, **named}, timeout=15)


def call(server: Server, *metadata: tuple[str, str], method: str = EXPORT) -> Any:
    """The answer of a gRPC export, or its error."""
    with grpc.insecure_channel(server.grpc) as channel:
        try:
            return channel.unary_unary(method)(body_of(trace_of()), metadata=metadata, timeout=15)
        except grpc.RpcError as exc:
            return exc


# Those who may.


@pytest.mark.parametrize("headers", [f"authorization=Bearer%20{INGEST}", f"x-api-key={ADMIN}", f"api-key={INGEST}"])
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_stock_exporters_get_in_with_their_header_variable(
    server: Server, monkeypatch: pytest.MonkeyPatch, headers: str, transport: str
) -> None:
    monkeypatch.setenv(HEADERS_VARIABLE, headers)

    sent = trace_with(_exporter(server, transport))

    (count,) = of_url(f"sqlite:///{server.db}").query(
        f"SELECT count(*) FROM span WHERE trace_id = '{sent[0].context.trace_id:032x}'"  # noqa: S608 - a hex id
    )
    assert count == (3,)


def _exporter(server: Server, transport: str) -> SpanExporter:
    if transport == "grpc":
        return GrpcExporter(server.grpc, insecure=True)
    return HttpExporter(f"http://{server.http}/v1/traces")


@pytest.mark.parametrize("key", [READ, ADMIN])
def test_who_may_read_reads(server: Server, key: str) -> None:
    for path in ("/api/runs", "/metrics"):
        for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
            assert requests.get(server.url(path), headers=headers, timeout=10).status_code == 200


def test_health_and_descriptions_need_no_key(server: Server) -> None:
    assert {requests.get(server.url(path), timeout=10).status_code for path in OPEN} == {200}
    with grpc.insecure_channel(server.grpc) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_commands_read_the_database_and_need_no_key(server: Server) -> None:
    post(server, x_api_key=INGEST)

    assert evalvault("runs", "--db", server.db).returncode == 0


# Those who may not.


@pytest.mark.parametrize(
    "headers, http_status, grpc_code",
    [
        ({}, 401, grpc.StatusCode.UNAUTHENTICATED),
        ({"authorization": f"Bearer {WRONG}"}, 401, grpc.StatusCode.UNAUTHENTICATED),
        ({"x-api-key": WRONG}, 401, grpc.StatusCode.UNAUTHENTICATED),
        ({"authorization": f"Basic {INGEST}"}, 401, grpc.StatusCode.UNAUTHENTICATED),
        ({"authorization": f"Bearer {READ}"}, 403, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_an_export_without_a_right_key_is_refused_and_nothing_stored(
    server: Server, headers: dict[str, str], http_status: int, grpc_code: grpc.StatusCode
) -> None:
    before = traces(server)

    as_protobuf, as_json = post(server, **headers), post(server, "application/json", **headers)
    error = call(server, *headers.items())

    assert (as_protobuf.status_code, as_json.status_code, error.code()) == (http_status, http_status, grpc_code)
    hint = "scope `ingest`" if http_status == 403 else "`Authorization: Bearer <key>` or `x-api-key: <key>`"
    for message in (Status.FromString(as_protobuf.content).message, as_json.json()["message"], error.details()):
        assert hint in message
        assert not any(key in message for key in (INGEST, READ, ADMIN, WRONG))
    assert as_json.headers.get("WWW-Authenticate") == ("Bearer" if http_status == 401 else None)
    assert "Retry-After" not in as_json.headers
    # Trailers-Only: nothing came before the status.
    assert not any(key == "content-type" for key, _ in error.initial_metadata())
    assert traces(server) == before


@pytest.mark.parametrize("name", ["", "x-api-key"])
def test_an_exporter_with_a_wrong_key_stores_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before, refused_before = traces(server), refusals(server)
    if name:
        monkeypatch.setenv(HEADERS_VARIABLE, f"{name}={WRONG}")

    for transport in ("grpc", "http"):
        trace_with(_exporter(server, transport))

    assert traces(server) == before
    # Once each: neither exporter sends again what a new try cannot help.
    assert refusals(server) == refused_before + 2


def test_a_large_body_with_a_wrong_key_gets_its_answer(server: Server) -> None:
    headers = {"Content-Type": "application/x-protobuf", "x-api-key": WRONG}
    url = f"http://{server.http}/v1/traces"

    assert requests.post(url, bytes(8_000_000), headers=headers, timeout=15).status_code == 401


def test_the_answer_does_not_wait_for_the_body(server: Server) -> None:
    host, _, port = server.http.rpartition(":")
    head = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 401 ")

    answered = threading.Event()

    def body() -> Iterator[bytes]:
        answered.wait(5)
        yield b""

    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(EXPORT)(body(), timeout=4)
    answered.set()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_signals_that_are_not_kept_need_a_key_as_well(tmp_path: Path, serve: Callable[..., Server]) -> None:
    env = {"EVALVAULT_API_KEYS": KEYS}
    server = serve(str(tmp_path / "test.db"), "--other-signals", "discard", env=env)

    assert post(server, path="/v1/metrics").status_code == 401
    assert post(server, path="/v1/metrics", x_api_key=INGEST).status_code == 200
    assert call(server, method=METRICS_EXPORT).code() is grpc.StatusCode.UNAUTHENTICATED
    assert call(server, ("x-api-key", INGEST), method=METRICS_EXPORT) == b""


def test_every_route_needs_a_key_unless_it_is_listed_here(server: Server, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "test.db"))
    routes = create_api(store, CollectorRegistry()).openapi()["paths"]
    store.close()

    found = {path: requests.get(server.url(path), timeout=10) for path in routes if path not in OPEN}

    assert len(found) > 5
    assert {path: answer.status_code for path, answer in found.items() if answer.status_code != 401} == {}
    for answer in found.values():
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"] == "Unauthenticated"
        assert "x-api-key" in answer.json()["details"]


def test_who_may_only_send_does_not_read(server: Server) -> None:
    answer = requests.get(server.url("/api/runs"), headers={"x-api-key": INGEST}, timeout=10)

    assert answer.status_code == 403
    assert answer.json() == {"error": "Forbidden", "details": "this API key needs the scope `read`"}


def test_the_description_names_the_headers(server: Server) -> None:
    document = requests.get(server.url("/openapi.json"), timeout=10).json()

    schemes = document["components"]["securitySchemes"].values()
    assert {scheme.get("scheme") or scheme["name"] for scheme in schemes} == {"bearer", "x-api-key"}
    assert "security" in document["paths"]["/api/runs"]["get"]
    assert "security" not in document["paths"]["/livez"]["get"]


# Secrets.


def test_no_key_is_in_logs_files_or_figures(tmp_path: Path, db_url: str, serve: Callable[..., Server]) -> None:
    # Given a server with keys of both sources
    file = tmp_path / "keys.txt"
    made = evalvault("keys", "create", "--name", "ci", "--scope", "ingest+read", "--file", str(file)).stdout.strip()
    server = serve(db_url, env={"EVALVAULT_API_KEYS": KEYS, "EVALVAULT_API_KEYS_FILE": str(file)})

    # When it gets right and wrong keys, with bodies that are stored, rejected and refused
    for key in (made, INGEST, READ, WRONG):
        for body in (body_of(trace_of()), b"\xff\xff"):
            for headers in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}):
                protobuf = {"Content-Type": "application/x-protobuf"}
                requests.post(f"http://{server.http}/v1/traces", body, headers={**headers, **protobuf}, timeout=15)
            call(server, ("authorization", f"Bearer {key}"))
    figures = requests.get(server.url("/metrics"), headers={"x-api-key": made}, timeout=10).text
    server.stop()

    # Then it kept none of them
    assert 'result="unauthorized"' in figures
    written = server.log.encode() + figures.encode() + b"".join(map(_bytes_of_files, (tmp_path,)))
    if of_url(db_url).kind == "postgres":
        tables = of_url(db_url).query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        written += b"".join(str(of_url(db_url).query(f"SELECT * FROM {name}")).encode() for (name,) in tables)  # noqa: S608 - our tables
    assert len(written) > 1000
    assert [key for key in (made, INGEST, READ, ADMIN, WRONG) if key.encode() in written] == []


def _bytes_of_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# Keys that change, and limits.


def test_a_key_made_while_the_server_runs_gets_in(tmp_path: Path, serve: Callable[..., Server]) -> None:
    file = tmp_path / "keys.txt"
    create = ("keys", "create", "--file", str(file), "--scope", "ingest", "--name")
    first = evalvault(*create, "first").stdout.strip()
    server = serve(str(tmp_path / "test.db"), "--api-keys-file", str(file))
    assert post(server, x_api_key=first).status_code == 200

    second = evalvault(*create, "second").stdout.strip()

    assert post(server, x_api_key=second).status_code == 200
    assert "2 keys" in server.log


def test_without_a_key_an_open_address_is_refused_and_with_one_it_is_served(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    db = str(tmp_path / "test.db")
    refused = evalvault("serve", "--db", db, "--http", "0.0.0.0:0")

    server = serve(db, "--http", "0.0.0.0:0", env={"EVALVAULT_API_KEYS": KEYS})

    assert refused.returncode == 2
    assert all(said in refused.stderr for said in ("EVALVAULT_API_KEYS", "keys create", "--insecure"))
    assert requests.post(f"http://127.0.0.1:{server.http.rpartition(':')[2]}/v1/traces", timeout=10).status_code == 415


@pytest.mark.parametrize("content", ["", "# none\n", "ci ingest nonsense\n"])
def test_a_file_without_keys_does_not_open_the_door(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(content)

    refused = evalvault("serve", "--db", str(tmp_path / "test.db"), "--api-keys-file", str(file))

    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert str(file) in line
    assert [path.name for path in tmp_path.iterdir()] == ["keys.txt"]


def test_who_sends_too_much_is_told_when_to_come_back(tmp_path: Path, serve: Callable[..., Server]) -> None:
    env = {"EVALVAULT_API_KEYS": KEYS}
    server = serve(str(tmp_path / "test.db"), "--rate-requests", "2", env=env)

    answers = [post(server, x_api_key=INGEST) for _ in range(4)]
    error = call(server, ("x-api-key", INGEST))

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[2].headers["Retry-After"] == "1"
    assert "2 requests per second" in Status.FromString(answers[2].content).message
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert RetryInfo.FromString(dict(error.trailing_metadata())["google.rpc.retryinfo-bin"]).retry_delay.seconds == 1
    # Another key has a bucket of its own.
    assert post(server, x_api_key=ADMIN).status_code == 200


def test_bytes_are_limited_and_one_request_always_fits(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(str(tmp_path / "test.db"), "--rate-bytes", "50")

    assert [post(server).status_code for _ in range(2)] == [200, 429]
    assert call(server).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_exporters_come_back_until_the_limit_lets_them_in(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(str(tmp_path / "test.db"), "--rate-requests", "1")

    for transport in ("http", "grpc"):
        trace_with(_exporter(server, transport))

    assert traces(server) == 2
