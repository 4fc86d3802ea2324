"""`serve` as a process: its start, its end, what it refuses, and what it does while storage is away."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import requests
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

from benchmarks.client import Connection, Refused
from benchmarks.database import of_url
from tests.support.otlp import otlp_message
from tests.support.postgres import Postgres
from tests.support.sdk import trace_with
from tests.support.server import Server
from tests.support.traces import new_trace_id, stage

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def _body() -> bytes:
    return otlp_message([stage(1, 0, "tool", trace_id=new_trace_id())]).SerializeToString()


def _serve(*options: str) -> "subprocess.CompletedProcess[str]":
    """`serve` with options that it refuses."""
    command = [sys.executable, "-m", "evalvault_otel", "serve", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


FREE = ("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0")


# Start and end.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_ready_and_ends_cleanly(
    tmp_path: Path, serve: Callable[..., Server], number: signal.Signals
) -> None:
    server = serve(str(tmp_path / "test.db"))

    assert requests.get(server.url("/livez"), timeout=10).status_code == 200
    assert requests.get(server.url("/readyz"), timeout=10).status_code == 200
    server.process.send_signal(number)

    assert server.process.wait(20) == 0
    assert server.log == f"ready grpc={server.grpc} http={server.http} api={server.api} db={server.db}\n"


@pytest.mark.parametrize("address, host", [(":0", "127.0.0.1"), ("[::1]:0", "[::1]")])
def test_the_addresses_that_it_names_can_be_used_as_they_are(
    tmp_path: Path, serve: Callable[..., Server], address: str, host: str
) -> None:
    server = serve(str(tmp_path / "test.db"), "--grpc", address, "--http", address, "--api", address)

    assert [said.rpartition(":")[0] for said in (server.grpc, server.http, server.api)] == [host] * 3
    bad = otlp_message([stage(1, 0, "tool", trace_id="0" * 32)]).SerializeToString()
    assert requests.post(f"http://{server.http}/v1/traces", bad, headers=PROTOBUF, timeout=10).status_code == 200
    with grpc.insecure_channel(server.grpc) as channel:
        channel.unary_unary(EXPORT)(bad, timeout=10)
    peers = [item["peer"] for item in requests.get(server.url("/api/rejects"), timeout=10).json()["rejects"]]
    assert [peer.rpartition(":")[0] for peer in peers] == [host] * 2


def test_a_password_is_not_shown(postgres_url: str, serve: Callable[..., Server]) -> None:
    with_password = postgres_url.replace("//postgres:", "//postgres:s3cret", 1).replace(":@", ":s3cret@", 1)
    assert "s3cret" in with_password

    server = serve(with_password)

    assert "s3cret" not in server.log


def test_what_was_acknowledged_is_there_after_a_stop_and_a_start(db_url: str, serve: Callable[..., Server]) -> None:
    first = serve(db_url)
    bodies = [_body() for _ in range(5)]
    for body in bodies:
        assert requests.post(f"http://{first.http}/v1/traces", body, headers=PROTOBUF, timeout=10).status_code == 200
    assert first.stop() == 0

    serve(db_url)

    counts = of_url(db_url).counts()
    assert (counts.spans, counts.stages, counts.unassembled) == (5, 5, 0)


def test_a_stop_under_load_answers_what_it_took_and_refuses_the_rest(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    # Given a server with clients that never pause
    db = f"sqlite:///{tmp_path / 'test.db'}"
    server = serve(db)
    acknowledged: list[int] = []
    refusals: list[str] = []

    def send() -> None:
        with Connection(server.grpc) as connection:
            while True:
                try:
                    connection.export(_body())
                except Refused as exc:
                    refusals.append(str(exc).partition(":")[0])
                    return
                acknowledged.append(1)

    clients = [threading.Thread(target=send) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.5)

    # When it is stopped
    code = server.stop()
    for client in clients:
        client.join(30)

    # Then it ended well, clients may try again elsewhere, and what was acknowledged is stored
    assert code == 0
    assert set(refusals) <= {"UNAVAILABLE", "CANCELLED"}  # both are retryable (OTLP, "Failures")
    assert 0 < len(acknowledged) <= of_url(db).counts().spans
    assert "Traceback" not in server.log


# Refusals at the start.


@pytest.mark.parametrize("name", ["grpc", "http", "api"])
def test_a_taken_address_is_one_line_and_exit_code_2(tmp_path: Path, name: str) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        ended = _serve("--db", str(tmp_path / "test.db"), *FREE, f"--{name}", address)

    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert f"cannot listen on {address}" in line


@pytest.mark.parametrize("name", ["grpc", "http", "api"])
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "example.com"])  # noqa: S104 - refused is what is tested
def test_an_address_that_others_can_reach_is_refused(tmp_path: Path, name: str, host: str) -> None:
    ended = _serve("--db", str(tmp_path / "test.db"), *FREE, f"--{name}", f"{host}:0")

    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: --{name} (EVALVAULT_{name.upper()}): {host}:0 can be reached from other machines")
    assert "--insecure" in line
    assert list(tmp_path.iterdir()) == []


def test_with_insecure_it_is_accepted(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(str(tmp_path / "test.db"), "--insecure", "--http", "0.0.0.0:0")

    port = server.http.rpartition(":")[2]
    assert requests.post(f"http://127.0.0.1:{port}/v1/traces", _body(), headers=PROTOBUF, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "options, said",
    [
        (("--db", "mysql://host/db"), "mysql://host/db"),
        (("--db", "/no/such/folder/test.db"), "/no/such/folder"),
        (("--grpc", "4317"), "is not an address"),
        (("--commit-bytes", "0"), "--commit-bytes (EVALVAULT_COMMIT_BYTES) must be greater than 0"),
        (("--quiet-ms", "nan"), "EVALVAULT_QUIET_MS"),
    ],
)
def test_settings_that_cannot_work_are_one_line_and_exit_code_2(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    ended = _serve("--db", str(tmp_path / "test.db"), *FREE, *options)

    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert said in line


# Storage away.


def test_while_storage_is_away_it_lives_is_not_ready_and_exports_are_to_be_tried_again(
    serve: Callable[..., Server],
) -> None:
    server = serve(NOWHERE, env={"EVALVAULT_SPOOL": "off"})

    live, ready = (requests.get(server.url(path), timeout=10) for path in ("/livez", "/readyz"))
    with ThreadPoolExecutor() as pool:
        over_http = pool.submit(requests.post, f"http://{server.http}/v1/traces", _body(), headers=PROTOBUF, timeout=15)
        over_grpc = pool.submit(_error, server)
    answer, error = over_http.result(), over_grpc.result()

    assert live.status_code == 200
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "1")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert _delay_s(Status.FromString(answer.content)) == 1
    trailers = dict(error.trailing_metadata())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert _delay_s(Status.FromString(trailers["grpc-status-details-bin"])) == 1
    assert RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]).retry_delay.seconds == 1
    assert server.stop() == 0
    assert "Traceback" not in server.log


def _error(server: Server) -> Any:
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(EXPORT)(_body(), timeout=15)
    return caught.value


def _delay_s(status: Status) -> float:
    hint = RetryInfo()
    assert status.details[0].Unpack(hint)
    return float(hint.retry_delay.ToTimedelta().total_seconds())


@pytest.fixture
def not_yet(postgres: Postgres) -> Iterator[str]:
    """URL of a PostgreSQL database that is yet to be created."""
    url = postgres.create_database()
    postgres.drop_database(url)
    yield url
    postgres.drop_database(url)


def test_when_the_database_appears_waiting_exporters_get_through(
    postgres: Postgres, not_yet: str, serve: Callable[..., Server]
) -> None:
    # Given a server without its database, and applications that send through the stock exporters
    server = serve(not_yet, env={"EVALVAULT_SPOOL": "off"})
    exporters = [GrpcExporter(server.grpc, insecure=True), HttpExporter(f"http://{server.http}/v1/traces")]
    with ThreadPoolExecutor() as pool:
        sending = [pool.submit(trace_with, exporter) for exporter in exporters]

        # When the database is created
        time.sleep(1)
        _create(postgres.url, not_yet)

        # Then the exporters have tried until their spans were stored
        for sent in sending:
            sent.result()
    assert of_url(not_yet).counts().spans == 6
    assert requests.get(server.url("/readyz"), timeout=10).status_code == 200


def test_however_long_the_database_was_away_it_is_used_soon_after_its_return(
    postgres: Postgres, not_yet: str, serve: Callable[..., Server]
) -> None:
    server = serve(not_yet, env={"EVALVAULT_SPOOL": "off"})
    time.sleep(5.5)

    _create(postgres.url, not_yet)
    started = time.monotonic()
    while requests.post(f"http://{server.http}/v1/traces", _body(), headers=PROTOBUF, timeout=15).status_code != 200:
        assert time.monotonic() - started < 4


def _create(server_url: str, url: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
