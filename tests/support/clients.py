"""Bare export requests, sent as a client sends them that does not give up before it has an answer."""

import threading
import time
from dataclasses import dataclass, field

import grpc
import requests

from evalvault_otel.model import Span
from evalvault_otel.server.otlp_grpc import SERVICE
from tests.support.otlp import otlp_message
from tests.support.traces import in_trace, new_trace_id, span, stage

EXPORT = f"/{SERVICE}/Export"
_TIMEOUT_S = 15.0


def trace_of(trace_id: str | None = None) -> list[Span]:
    """A whole small trace: a root with a retrieval and an output below it; by default with an id of its own."""
    spans = [span(1), stage(2, 1, "retrieval", start=10, end=40), stage(3, 1, "output", start=50, end=90)]
    return in_trace(spans, trace_id or new_trace_id())


def body_of(spans: list[Span]) -> bytes:
    """A protobuf request."""
    return otlp_message(spans).SerializeToString()


def post(address: str, body: bytes) -> requests.Response:
    """An OTLP/HTTP export in protobuf."""
    headers = {"Content-Type": "application/x-protobuf"}
    return requests.post(f"http://{address}/v1/traces", body, headers=headers, timeout=_TIMEOUT_S)


def call(address: str, body: bytes) -> grpc.StatusCode:
    """An OTLP/gRPC export; the code of its answer."""
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(EXPORT)(body, timeout=_TIMEOUT_S)
        except grpc.RpcError as exc:
            return exc.code()
    return grpc.StatusCode.OK


@dataclass(slots=True)
class Sender:
    """Sends one trace after the other until told to stop; refusals that are to be retried are."""

    http: str
    acknowledged: list[str] = field(default_factory=list)
    refusals: int = 0
    unexpected: list[int] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send until `stop` is set. What is neither accepted nor to be retried ends in `unexpected`."""
        while not self.stop.is_set():
            spans = trace_of()
            body = body_of(spans)
            while (status := post(self.http, body).status_code) == 503 and not self.stop.is_set():
                self.refusals += 1
                time.sleep(0.05)
            if status == 200:
                self.acknowledged.append(spans[0].trace_id)
            elif status != 503:
                self.unexpected.append(status)
