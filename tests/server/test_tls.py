"""TLS on every address, with a certificate authority made here, and certificates of clients on the receivers."""

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import requests
import trustme
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

from benchmarks.database import of_url
from evalvault_otel.errors import SettingsError
from evalvault_otel.server.tls import Tls
from evalvault_otel.settings import Settings
from tests.cli.test_cli import error_of, evalvault
from tests.support.clients import EXPORT, body_of, trace_of
from tests.support.sdk import trace_with
from tests.support.server import Server, running_server

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@dataclass(frozen=True)
class Files:
    """PEM files of an authority, of a server's certificate and of a client's."""

    ca: str
    cert: str
    key: str
    client: str
    client_key: str

    def options(self, *, mutual: bool) -> tuple[str, ...]:
        asked = ("--tls-client-ca", self.ca) if mutual else ()
        return ("--tls-cert", self.cert, "--tls-key", self.key, *asked)


def files_in(folder: Path) -> Files:
    authority = trustme.CA()
    server, client = authority.issue_cert("localhost", "127.0.0.1"), authority.issue_cert("client@example.com")
    files = Files(*(str(folder / f"{name}.pem") for name in ("ca", "cert", "key", "client", "client-key")))
    authority.cert_pem.write_to_path(files.ca)
    for issued, chain, key in ((server, files.cert, files.key), (client, files.client, files.client_key)):
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(chain, append=number > 0)
        issued.private_key_pem.write_to_path(key)
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return files_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Another authority, that nobody here trusts."""
    return files_in(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running_server(str(folder / "test.db"), folder / "log", *files.options(mutual=False)) as running:
        yield running


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[Server]:
    """A server that asks senders for a certificate."""
    folder = tmp_path_factory.mktemp("mutual")
    with running_server(str(folder / "test.db"), folder / "log", *files.options(mutual=True)) as running:
        yield running


def traces(server: Server) -> int:
    return of_url(f"sqlite:///{server.db}").counts().traces


def post(server: Server, files: Files, client: Files | None = None) -> int:
    pair = (client.client, client.client_key) if client else None
    url = f"https://{server.http}/v1/traces"
    return requests.post(url, body_of(trace_of()), headers=PROTOBUF, verify=files.ca, cert=pair, timeout=15).status_code


def call(server: Server, files: Files, client: Files | None = None) -> grpc.StatusCode:
    pair = (Path(client.client_key).read_bytes(), Path(client.client).read_bytes()) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(Path(files.ca).read_bytes(), *pair)
    with grpc.secure_channel(server.grpc, credentials) as channel:
        try:
            channel.unary_unary(EXPORT)(body_of(trace_of()), timeout=5)
        except grpc.RpcError as exc:
            return exc.code()
    return grpc.StatusCode.OK


# Of the server.


def test_every_address_speaks_tls(server: Server, files: Files) -> None:
    before = traces(server)

    assert post(server, files) == 200
    assert call(server, files) is grpc.StatusCode.OK
    assert requests.get(f"https://{server.api}/readyz", verify=files.ca, timeout=10).status_code == 200
    assert traces(server) == before + 2


def test_nothing_is_answered_in_clear_text(server: Server) -> None:
    for address in (server.http, server.api):
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://{address}/livez", timeout=5)
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary(EXPORT)(b"", timeout=5)


def test_a_client_that_trusts_another_authority_does_not_send(server: Server, other: Files) -> None:
    before = traces(server)

    with pytest.raises(requests.exceptions.SSLError):
        post(server, other)
    assert call(server, other) is grpc.StatusCode.UNAVAILABLE
    assert traces(server) == before


def test_old_versions_are_refused(server: Server) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    for address in (server.grpc, server.http, server.api):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _connect(address, context)


def _connect(address: str, context: ssl.SSLContext) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain, context.wrap_socket(plain):
        pass


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_stock_exporters_send_with_their_variables(
    mutual: Server, files: Files, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    # `requests` prefers these to what an exporter asks for.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", files.ca)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", files.client)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", files.client_key)
    before = traces(mutual)

    if transport == "grpc":
        trace_with(GrpcExporter(f"https://{mutual.grpc}"))
    else:
        trace_with(HttpExporter(f"https://{mutual.http}/v1/traces"))

    assert traces(mutual) == before + 1


# Of clients.


def test_a_client_with_a_certificate_sends(mutual: Server, files: Files) -> None:
    before = traces(mutual)

    assert post(mutual, files, files) == 200
    assert call(mutual, files, files) is grpc.StatusCode.OK
    assert traces(mutual) == before + 2


@pytest.mark.parametrize("shown", ["none", "of another authority"])
def test_a_client_without_a_right_certificate_stores_nothing(
    mutual: Server, files: Files, other: Files, shown: str
) -> None:
    before = traces(mutual)
    client = other if shown == "of another authority" else None

    with pytest.raises(requests.ConnectionError):
        post(mutual, files, client)
    assert call(mutual, files, client) is grpc.StatusCode.UNAVAILABLE
    assert traces(mutual) == before


def test_the_query_api_asks_nobody_for_a_certificate(mutual: Server, files: Files) -> None:
    assert requests.get(f"https://{mutual.api}/api/runs", verify=files.ca, timeout=10).status_code == 200


def test_keys_and_tls_go_together(tmp_path: Path, files: Files, serve: Callable[..., Server]) -> None:
    server = serve(str(tmp_path / "test.db"), *files.options(mutual=False), env={"EVALVAULT_API_KEYS": "ingest:k"})

    assert post(server, files) == 401
    assert call(server, files) is grpc.StatusCode.UNAUTHENTICATED


# Files that cannot be used.


@pytest.mark.parametrize("setting", ["tls_cert", "tls_key", "tls_client_ca"])
def test_a_file_that_is_missing_is_named_with_option_and_variable(tmp_path: Path, files: Files, setting: str) -> None:
    options = {"tls_cert": files.cert, "tls_key": files.key, "tls_client_ca": files.ca, setting: "none.pem"}
    arguments = [f"--{name.replace('_', '-')}={path}" for name, path in options.items()]

    line = error_of(evalvault("serve", "--db", "test.db", *arguments, cwd=tmp_path))

    assert f"--{setting.replace('_', '-')} (EVALVAULT_{setting.upper()}): cannot read none.pem" in line
    assert list(tmp_path.iterdir()) == []


def test_files_that_do_not_fit_are_named(tmp_path: Path, files: Files, other: Files) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    locked = tmp_path / "locked.pem"
    locked.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n")
    wrong = [
        Settings(tls_cert=files.cert, tls_key=other.key),
        Settings(tls_cert=files.key, tls_key=files.cert),
        Settings(tls_cert=str(empty), tls_key=files.key),
        Settings(tls_cert=files.cert, tls_key=str(locked)),
        Settings(tls_cert=files.cert, tls_key=files.key, tls_client_ca=str(empty)),
        Settings(tls_cert=files.cert, tls_key=files.key, tls_client_ca=files.key),
    ]
    for settings in wrong:
        with pytest.raises(SettingsError, match="EVALVAULT_TLS_"):
            Tls.of(settings)


def test_without_a_certificate_there_is_no_tls() -> None:
    assert Tls.of(Settings()) is None
