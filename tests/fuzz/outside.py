"""A real server under hostile requests: over gRPC, over HTTP, and as raw bytes on its ports.

Inputs come in rounds, several at once. Beside each that holds records, a good one with a trace id of its own is sent,
in the same request. After a round the good ones must be stored, the server must still be there, small, and must not
have logged an error, and the pages of the API about the latest records must answer.
"""

import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import grpc
import psutil
import requests

from benchmarks.database import of_url
from evalvault_otel.settings import split_address
from tests.support.clients import EXPORT, body_of, call, post, trace_of
from tests.support.server import Server, running_server

from .inside import ENCODINGS, Finding
from .neighbours import beside, new_id
from .reading import unreadable

ROUND: Final = 48
_AT_ONCE: Final = 8
# Of a single input: far beyond the timeouts of the server, on a busy machine.
_HANG_S: Final = 30.0
# Raw bytes may be the beginning of something, which the server then waits for.
_QUIET_S: Final = 0.15
_READ_TIMEOUT_S: Final = 1
_RSS_MB: Final = 500
_MOMENT_S: Final = 0.05
_AWAY_S: Final = 3.0
_MOST_BYTES: Final = 4 * 1024 * 1024
_LOGS: Final = EXPORT.replace("trace.v1.Trace", "logs.v1.Logs")
_TYPES: Final = {"protobuf": "application/x-protobuf", "json": "application/json"}
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_GRPC_WRONG: Final = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
_LOGGED: Final = re.compile(r"Traceback|\bERROR\b|\bCRITICAL\b|Exception ")
# What libraries log of clients that they have refused already: grpc.aio when it gives up (`GrpcServer._replace`) and
# of names that are no text, uvicorn when an answer comes after its own 400.
_KNOWN: Final = re.compile(
    r"^.* ERROR grpc\._cython\.cygrpc: 'utf-8' codec .*\nNoneType: None\n"
    r"|^.* ERROR grpc\._cython\.cygrpc: Invalid encoding on .*\nTraceback .*\n(?: .*\n)*UnicodeDecodeError.*\n"
    r"|^.* ERROR asyncio: Task exception was never retrieved\nfuture: .* exception=UnicodeDecodeError.*\n"
    r"Traceback .*\n(?: .*\n)*UnicodeDecodeError.*\n"
    r"|^ERROR: +Exception in ASGI application\nTraceback .*\n(?: .*\n)*h11\._util\.LocalProtocolError: "
    r"can't handle event type Response when role=SERVER and state=MUST_CLOSE\n",
    re.MULTILINE,
)
_STORED: Final = "SELECT trace_id FROM span WHERE name = 'good' UNION SELECT trace_id FROM log_event"


class Victim:
    """A server, and what was sent to it since the last look."""

    def __init__(self, server: Server, db_url: str) -> None:
        self._server = server
        self._database = of_url(db_url)
        self._process = psutil.Process(server.process.pid)
        self._channel = grpc.insecure_channel(server.grpc)
        self._session = threading.local()
        self._send: Mapping[str, Callable[[bytes], str | None]] = {
            "protobuf": lambda data: self._records("protobuf", data),
            "json": lambda data: self._records("json", data),
            "logs_protobuf": lambda data: self._records("logs_protobuf", data),
            "logs_json": lambda data: self._records("logs_json", data),
            "inflate": self._inflate,
            "http": lambda data: self._raw(server.http, data),
            "http2": lambda data: self._raw(server.grpc, data),
        }

    def attack(self, target: str, inputs: Sequence[bytes]) -> list[tuple[bytes, str]]:
        """One round; the inputs that are findings, with what is wrong. A finding without an input is of the round."""
        begun = len(self._server.log)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            outcomes = list(pool.map(lambda data: self._one(target, data), inputs))
        found = [(data, wrong) for data, (wrong, _) in zip(inputs, outcomes, strict=True) if wrong]
        stored = {trace_id for (trace_id,) in self._database.query(_STORED)}
        found += [
            (data, f"the good record {trace_id} beside it is not stored")
            for data, (wrong, trace_id) in zip(inputs, outcomes, strict=True)
            if trace_id and not wrong and trace_id not in stored
        ]
        wrongs = [*self._state(begun)]
        if not wrongs:
            spans = [] if target.startswith("logs") else [trace_id for _, trace_id in outcomes if trace_id in stored]
            wrongs += unreadable(self._server, [*filter(None, spans)])
        return found + [(b"", wrong) for wrong in wrongs]

    def _one(self, target: str, data: bytes) -> tuple[str, str | None]:
        """What is wrong, and the trace id of the good record beside it."""
        started = time.monotonic()
        trace_id = None
        try:
            trace_id = self._send[target](data)
        except Finding as exc:
            return str(exc), None
        seconds = time.monotonic() - started
        return (f"it took {seconds:.0f} s" if seconds > _HANG_S else ""), trace_id

    def _records(self, target: str, data: bytes) -> str | None:
        """Records over HTTP; protobuf also over gRPC. In one request with a good one, where that can be."""
        encoding = "json" if target.endswith("json") else "protobuf"
        path = "/v1/logs" if target.startswith("logs") else "/v1/traces"
        trace_id = new_id()
        together = beside(target, data, trace_id)
        if encoding == "protobuf" and len(data) % 2:
            self._grpc(_LOGS if target.startswith("logs") else EXPORT, together or data, refusable=together is None)
        else:
            self._post(path, together or data, _TYPES[encoding], refusable=together is None)
        return trace_id if together else None

    def _inflate(self, data: bytes) -> None:
        encoding = ENCODINGS[data[0] % len(ENCODINGS)] if data else "gzip"
        self._post("/v1/traces", data[1:], _TYPES["protobuf"], refusable=True, **{"Content-Encoding": encoding})

    def _post(self, path: str, body: bytes, content_type: str, *, refusable: bool, **headers: str) -> None:
        session = getattr(self._session, "http", None) or requests.Session()
        self._session.http = session
        url = f"http://{self._server.http}{path}"
        try:
            answer = session.post(url, body, headers={"Content-Type": content_type, **headers}, timeout=_HANG_S)
        except requests.RequestException as exc:
            raise Finding(f"no answer over HTTP: {exc!r}") from exc
        if answer.status_code not in ({200, 400, 413, 415} if refusable else {200}):
            raise Finding(f"HTTP {answer.status_code}: {answer.content[:300]!r}")

    def _grpc(self, method: str, body: bytes, *, refusable: bool) -> None:
        try:
            self._channel.unary_unary(method)(body, timeout=_HANG_S)
        except grpc.RpcError as exc:
            if not refusable or exc.code() in _GRPC_WRONG:
                raise Finding(f"{exc.code().name}: {exc.details()}") from exc

    def _raw(self, address: str, data: bytes) -> None:
        """Bytes on a connection of their own, and whatever comes back."""
        said = b""
        with closing(_connected(address)) as connection:
            try:
                connection.sendall(data)
                connection.settimeout(_QUIET_S)
                while part := connection.recv(65536):
                    said += part
            except (TimeoutError, ConnectionError):
                pass
        wrong = [code for code in _STATUS.findall(said) if code.startswith(b"5") and code not in {b"501", b"505"}]
        if wrong:
            raise Finding(f"HTTP {wrong[0].decode()}: {said[:300]!r}")

    def _state(self, begun: int) -> Iterator[str]:
        """What is wrong with the server itself."""
        if self._has_ended():
            yield f"the server ended with {self._server.process.returncode}: {self._server.log[begun:]}"
            return
        logged = _KNOWN.sub("", self._server.log[begun:])
        if _LOGGED.search(logged):
            yield f"the server logged an error: {logged[:3000]}"
        megabytes = self._process.memory_info().rss / 1e6
        if megabytes > _RSS_MB:
            yield f"the server has grown to {megabytes:.0f} MB"
        yield from self._usual()

    def _usual(self) -> Iterator[str]:
        """Whether it still does what it should, at once."""
        started = time.monotonic()
        for transport, said in (
            ("HTTP", post(self._server.http, body_of(trace_of())).status_code),
            ("gRPC", self._until_available()),
        ):
            if said not in {200, grpc.StatusCode.OK}:
                yield f"a good request over {transport} was answered with {said}"
        if time.monotonic() - started > _HANG_S:
            yield "good requests take too long"

    def _until_available(self) -> grpc.StatusCode:
        """The answer to a good request, sent again for a short time as clients do."""
        deadline = time.monotonic() + _AWAY_S
        body = body_of(trace_of())
        while (code := call(self._server.grpc, body)) is grpc.StatusCode.UNAVAILABLE and time.monotonic() < deadline:
            time.sleep(_MOMENT_S)
        return code

    def _has_ended(self) -> bool:
        """Whether the server is gone; one that crashes takes a moment to write its memory."""
        with suppress(subprocess.TimeoutExpired):
            self._server.process.wait(_MOMENT_S)
        return self._server.process.poll() is not None

    @property
    def megabytes(self) -> float:
        """Memory of the server."""
        return float(self._process.memory_info().rss) / 1e6

    def close(self) -> None:
        """Let go of the connections."""
        self._channel.close()


def _connected(address: str) -> socket.socket:
    """A connection, tried for a short time."""
    deadline = time.monotonic() + _AWAY_S
    while True:
        try:
            return socket.create_connection(split_address(address), timeout=_HANG_S)
        except OSError as exc:
            if time.monotonic() > deadline:
                raise Finding(f"no connection to {address}: {exc}") from exc
            time.sleep(_MOMENT_S)


@contextmanager
def victim(db_url: str, directory: Path) -> Iterator[Victim]:
    """A server to attack, on a database of this URL."""
    environment = {
        "EVALVAULT_READ_TIMEOUT_S": str(_READ_TIMEOUT_S),
        "EVALVAULT_MAX_REQUEST_BYTES": str(_MOST_BYTES),
    }
    with running_server(db_url, directory / "server.log", env=environment) as server:
        attacked = Victim(server, db_url)
        try:
            yield attacked
        finally:
            attacked.close()
