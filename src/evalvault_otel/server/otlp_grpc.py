"""OTLP/gRPC: `TraceService/Export` and the health service.

The request is taken as raw bytes, so that a bad one is answered with INVALID_ARGUMENT instead of grpc's own INTERNAL.
"""

import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ..errors import Unavailable
from ..settings import Settings, split_address
from ..wire.answer import Encoding, Failure, failure, retry_info, status, success_body
from .receiver import Receiver

_LOG = logging.getLogger(__name__)
SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
# Each waits for a commit most of its time.
_WORKERS = 64
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer:
    """The gRPC receiver. `port` is the one really bound."""

    def __init__(self, receiver: Receiver, settings: Settings) -> None:
        self._server = grpc.server(
            ThreadPoolExecutor(_WORKERS, thread_name_prefix="evalvault-grpc"),
            options=_options(settings),
        )
        self._health = health.HealthServicer()
        handler = grpc.unary_unary_rpc_method_handler(_export_with(receiver))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = _bind(self._server, settings.grpc)

    def start(self) -> None:
        """Begin to accept."""
        self._server.start()
        self._say(health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace_s: float) -> None:
        """Refuse new calls, give those under way `grace_s` seconds, then return."""
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.stop(grace_s).wait()

    def _say(self, state: Any) -> None:
        self._health.set("", state)
        self._health.set(SERVICE, state)


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.so_reuseport", 0),
        # Clients that ping every 10 s are not sent away.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _bind(server: grpc.Server, address: str) -> int:
    host, wanted = split_address(address)
    # Tried with a plain socket first: grpc prints a page of its own when an address is taken.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError as exc:
            raise OSError(f"cannot listen on {address}: {exc.strerror}") from exc
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        raise OSError(f"cannot listen on {address}")
    return int(port)


def _export_with(receiver: Receiver) -> Any:
    def export(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            accepted = receiver.export(request, Encoding.PROTOBUF, "grpc", context.peer())
        except Exception as exc:  # noqa: BLE001 - every error has an answer
            if not isinstance(exc, Unavailable):
                _LOG.debug("export refused", exc_info=True)
            _abort(context, failure(exc))
        return success_body(Encoding.PROTOBUF, accepted)

    return export


def _abort(context: grpc.ServicerContext, failed: Failure) -> NoReturn:
    """End the call before any message (Trailers-Only), with the retry hint in both places where clients look."""
    trailers = [("grpc-status-details-bin", status(failed).SerializeToString())]
    if failed.retryable:
        trailers.append(("google.rpc.retryinfo-bin", retry_info().SerializeToString()))
    context.set_trailing_metadata(tuple(trailers))
    context.abort(_CODES[failed.grpc_code], failed.message)
    raise AssertionError("abort does not return")
