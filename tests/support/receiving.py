"""An OTLP/HTTP receiver that answers as a test wants: what a network and a server can do to an exporter."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to say to a request, after `delay_s` seconds."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    names: list[str]
    at: float


class FakeReceiver:
    """Keeps what it received; `answer` is asked with the number of the request (from 0)."""

    def __init__(self, answer: Callable[[int], Answer]) -> None:
        self.received: list[Received] = []
        self.over = threading.Event()
        self._answer = answer
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.handle(self)

            def log_message(self, *_: Any) -> None:
                """Nothing: the test has what it wants to know."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def names(self) -> list[str]:
        """Names of all spans that were taken."""
        return [name for request in self.received for name in request.names]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Read a request, answer it."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        message = ExportTraceServiceRequest.FromString(body)
        names = [span.name for group in message.resource_spans for scope in group.scope_spans for span in scope.spans]
        with self._lock:
            answer = self._answer(len(self.received))
            taken = names if answer.status == 200 else []
            self.received.append(Received(request.path, dict(request.headers), taken, time.monotonic()))
        self.over.wait(answer.delay_s)
        try:
            request.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(answer.body)
        except OSError:
            request.close_connection = True  # who asked has gone


def well(_: int) -> Answer:
    """Every request is taken."""
    return Answer()


def partly(rejected: int, why: str) -> Answer:
    """A request is taken but for some spans."""
    message = ExportTraceServiceResponse()
    message.partial_success.rejected_spans = rejected
    message.partial_success.error_message = why
    return Answer(body=message.SerializeToString())


@contextmanager
def receiving(answer: Callable[[int], Answer] = well) -> Iterator[FakeReceiver]:
    """A receiver on a free loopback port."""
    receiver = FakeReceiver(answer)
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
