"""`doctor` against running servers: a probe that goes through, and every way in which it does not, in words."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme

from tests.cli.test_cli import DEAD, Said, error_of, evalvault
from tests.support.clients import body_of, post
from tests.support.server import Server, running_server
from tests.support.traces import in_trace, kind, new_trace_id


def doctor(server: Server, endpoint: str, *options: str, keys: str = "") -> Said:
    words = (endpoint, "--api", server.api, "--db", server.db, *options)
    return evalvault("doctor", *words, EVALVAULT_API_KEYS=keys)


def steps(said: Said) -> dict[str, Any]:
    return {step["name"]: step for step in orjson.loads(said.stdout)["probe"]}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("plain")
    with running_server(str(folder / "test.db"), folder / "log") as running:
        yield running


def test_a_probe_goes_all_the_way(server: Server) -> None:
    for endpoint in (f"http://{server.http}", f"grpc://{server.grpc}", server.http, f"http://{server.http}/v1/traces"):
        said = doctor(server, endpoint, "--json")
        assert said.returncode == 0, said.stdout + said.stderr
        found = steps(said)
        assert [(name, step["ok"]) for name, step in found.items()] == [
            ("arrived", True),
            ("stored", True),
            ("stages", True),
        ]
        assert found["stages"]["says"] == "output, retrieval"
        assert all(0 < step["after_ms"] < 10_000 for step in found.values())

    # The probe is a trace of its own service and run, and no part of the diagnosis
    runs = orjson.loads(evalvault("runs", "--db", server.db, "--json").stdout)
    assert {(run["service"], run["kind"]) for run in runs} == {("evalvault-otel-doctor", "test")}
    assert all(run["run_id"].startswith("doctor@") for run in runs)
    assert orjson.loads(said.stdout)["diagnosis"]["services"] == []


def test_what_is_to_be_mended_is_told_with_its_fix_and_exits_with_1(server: Server) -> None:
    spans = [kind(1, 0, "RETRIEVER", {"retrieval.documents.18.document.id": "d"}, dropped_attributes=40)]
    assert post(server.http, body_of(in_trace(spans, new_trace_id()))).status_code == 200

    said = evalvault("doctor", "--db", server.db)

    assert said.returncode == 1
    assert "rag-api: attributes_dropped in 1 trace\n    fix: Set OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=10000" in said.stdout
    assert "for example: Ranks 0-17 and the query were dropped by the SDK's" in said.stdout
    assert "conventions: OpenInference (1)" in said.stdout


@pytest.mark.parametrize(
    "endpoint, code, words",
    [
        ("http://{api}", 1, "is the query API: send to the OTLP/HTTP receiver"),
        ("https://{http}", 3, "does not speak TLS: use http://"),
        ("grpcs://{grpc}", 3, "does not speak TLS: use grpc://"),
        ("http://{grpc}", 3, "if it is the OTLP/gRPC receiver, use grpc://"),
        ("grpc://{http}", 3, "if it is the OTLP/HTTP receiver, use http://"),
        ("http://127.0.0.1:1", 3, "nothing listens on 127.0.0.1:1"),
        ("grpc://127.0.0.1:1", 3, "nothing listens on 127.0.0.1:1"),
    ],
)
def test_wrong_endpoints_are_told_apart(plain: Server, endpoint: str, code: int, words: str) -> None:
    said = doctor(plain, endpoint.format(api=plain.api, http=plain.http, grpc=plain.grpc))

    assert said.returncode == code
    assert words in said.stdout.splitlines()[1]


def test_another_api_does_not_know_the_trace(plain: Server) -> None:
    said = evalvault("doctor", f"http://{plain.http}", "--api", "127.0.0.1:1", "--db", plain.db, "--json")

    assert said.returncode == 3
    assert steps(said)["arrived"]["ok"]
    assert "nothing listens on 127.0.0.1:1" in steps(said)["stored"]["says"]
    other = evalvault("doctor", f"http://{plain.http}", "--api", plain.http, "--db", plain.db, "--json")
    assert other.returncode == 1
    assert "is not the query API" in steps(other)["stored"]["says"]


def test_wrong_use_is_2(plain: Server) -> None:
    for endpoint in ("ftp://127.0.0.1:21", "http://", "http://127.0.0.1:port"):
        said = doctor(plain, endpoint)
        assert said.returncode == 2
        assert "is no endpoint" in error_of(said)
    assert evalvault("doctor", "--since", "yesterday", "--db", plain.db).returncode == 2
    assert evalvault("doctor", f"http://{plain.http}", "--ca", "/nowhere.pem", "--db", plain.db).returncode == 2


def test_without_a_database_only_the_probe_counts(plain: Server, tmp_path: Path) -> None:
    said = evalvault("doctor", f"http://{plain.http}", "--api", plain.api, cwd=tmp_path)
    assert said.returncode == 0
    assert "no diagnosis of what arrived before" in said.stdout
    assert evalvault("doctor", cwd=tmp_path).returncode == 3
    assert evalvault("doctor", "--db", DEAD).returncode == 3


def test_api_keys(tmp_path: Path) -> None:
    keys = "ingest:evk-in,read:evk-out"
    with running_server(str(tmp_path / "test.db"), tmp_path / "log", env={"EVALVAULT_API_KEYS": keys}) as server:
        for endpoint in (f"http://{server.http}", f"grpc://{server.grpc}"):
            refused = doctor(server, endpoint, "--json")
            assert refused.returncode == 1
            assert "give a key with the scope `ingest`" in steps(refused)["arrived"]["says"]
            assert doctor(server, endpoint, keys=keys).returncode == 0
        half = doctor(server, f"http://{server.http}", "--json", keys="ingest:evk-in")
        assert half.returncode == 1
        assert "give a key with the scope `read`" in steps(half)["stored"]["says"]
        (tmp_path / "key").write_text("evk-in\n")
        only = doctor(server, f"http://{server.http}", "--key-file", str(tmp_path / "key"), "--json")
        assert (steps(only)["arrived"]["ok"], steps(only)["stored"]["ok"]) == (True, False)
        assert "evk-in" not in only.stdout + only.stderr


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(cert)
    options = ("--tls-cert", cert, "--tls-key", key)
    with running_server(str(tmp_path / "test.db"), tmp_path / "log", *options) as server:
        for scheme, address in (("https", server.http), ("grpcs", server.grpc)):
            assert doctor(server, f"{scheme}://{address}", "--ca", ca).returncode == 0
            untrusted = doctor(server, f"{scheme}://{address}")
            assert untrusted.returncode == 3
            assert "--ca" in untrusted.stdout.splitlines()[1]
            clear = doctor(server, f"{scheme.replace('s', '') if scheme == 'grpcs' else 'http'}://{address}")
            assert clear.returncode == 3
            assert "speaks TLS: use " in clear.stdout.splitlines()[1]


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A listener that is no server of ours."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_stranger_that_says_404(plain: Server) -> None:
    def not_found(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    with answering(not_found) as address:
        said = doctor(plain, f"http://{address}")

    assert said.returncode == 1
    assert "is this an OTLP receiver?" in said.stdout.splitlines()[1]
