"""OTLP/gRPC: `TraceService/Export`, `LogsService/Export` and the health service.

The request is taken as raw bytes, so that a bad one is answered with INVALID_ARGUMENT instead of grpc's own INTERNAL;
and as a stream (of one message, on the wire the same), so that nothing is read before there is room for it.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ..errors import EvalVaultError, InvalidInput, Unavailable
from ..ingest import Room
from ..settings import Settings, join_address, split_address
from ..wire.answer import Encoding, Failure, retry_info, status, success_body
from .keys import presented_key
from .receiver import LOGS, NOT_SERVED, TRACES, Export, Receiver
from .tls import Tls

SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_SERVED: Final = {SERVICE: TRACES, "opentelemetry.proto.collector.logs.v1.LogsService": LOGS}
_UNSERVED: Final = (
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "opentelemetry.proto.collector.profiles.v1development.ProfilesService",
)
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

_LOG = logging.getLogger(__name__)
_LOOK_S: Final = 0.1
_AGAIN_S: Final = 0.02
_Handler = Callable[[object, Any], Awaitable[bytes]]


class GrpcServer:
    """The gRPC receiver. To be made in the event loop that it will use; `port` is the one really bound."""

    def __init__(
        self, receiver: Receiver, settings: Settings, tls: Tls | None = None, *, reuse_port: bool = False
    ) -> None:
        self._health = health.aio.HealthServicer()
        self._options = _options(settings, reuse_port=reuse_port)
        self._handlers = {service: _export_with(receiver, settings, signal) for service, signal in _SERVED.items()}
        self._handlers |= dict.fromkeys(_UNSERVED, _unserved_with(receiver, settings))
        self._bound = partial(_bind, tls=tls, reuse_port=reuse_port)
        self._server = self._made()
        self.port = self._bound(self._server, settings.grpc)
        self._address = join_address(split_address(settings.grpc)[0], self.port)
        self._stopping = False
        self._grace_s = settings.shutdown_s
        self._tasks: set[asyncio.Task[None]] = set()

    def _made(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._options)
        for service, export in self._handlers.items():
            handler = grpc.stream_unary_rpc_method_handler(export)
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return server

    async def start(self) -> None:
        """Begin to accept."""
        await self._server.start()
        await self._say(health_pb2.HealthCheckResponse.SERVING)
        self._keep(self._replace())

    async def _replace(self) -> None:
        """Put a new server in the place of one that gave up.

        After one call whose path is not UTF-8, grpc.aio accepts no connections (grpcio 1.85). Calls under way go on.
        """
        while not self._stopping:
            try:
                # With a timeout: without one it says nothing as long as the guilty connection is kept open.
                await self._server.wait_for_termination(_LOOK_S)
            except Exception as exc:  # noqa: BLE001 - whatever ended it, clients need one
                _LOG.warning("the gRPC server gave up, a new one takes its place: %s", exc)
                self._keep(self._server.stop(self._grace_s))
                await self._serve_again()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run some work beside, as long as it takes."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_again(self) -> None:
        while not self._stopping:
            self._server = self._made()
            try:
                self._bound(self._server, self._address)
            except OSError:  # the old one is not quite gone
                await asyncio.sleep(_AGAIN_S)
            else:
                await self._server.start()
                return

    async def drain(self) -> None:
        """Tell those who ask that this server is about to go."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, give those under way `grace_s` seconds, then return."""
        self._stopping = True
        await self._server.stop(grace_s)

    async def _say(self, state: Any) -> None:
        for service in ("", *_SERVED):
            await self._health.set(service, state)


def _options(settings: Settings, *, reuse_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.so_reuseport", int(reuse_port)),
        # A connection that says nothing at all is no client; left alone, grpc keeps it for two minutes.
        ("grpc.server_handshake_timeout_ms", min(round(1000 * settings.read_timeout_s), 120_000)),
        # Clients that ping every 10 s are not sent away; those that vanished are found out.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # So that load balancers spread clients anew from time to time.
        ("grpc.max_connection_age_ms", 300_000),
        ("grpc.max_connection_age_grace_ms", 60_000),
    ]


def _bind(server: grpc.aio.Server, address: str, tls: Tls | None, *, reuse_port: bool) -> int:
    host, wanted = split_address(address)
    address = join_address(host, wanted)  # grpc knows no default host
    # Tried with a plain socket first: grpc prints a page of its own when an address is taken.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if reuse_port else socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError as exc:
            raise OSError(f"cannot listen on {address}: {exc.strerror}") from exc
    try:
        port = server.add_secure_port(address, tls.grpc_credentials()) if tls else server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        raise OSError(f"cannot listen on {address}")
    return int(port)


def _export_with(receiver: Receiver, settings: Settings, signal: str) -> _Handler:
    async def export(_: object, context: Any) -> bytes:
        async def read(room: Room) -> bytes:
            body = await _message(context, settings.read_timeout_s)
            room.fit(len(body))
            return body

        request = _request(context, signal)
        try:
            return success_body(Encoding.PROTOBUF, await receiver.export(request, read))
        except Exception as exc:  # noqa: BLE001 - every error has an answer
            failed = receiver.failed(request, exc)
        await _abort(context, failed)
        raise AssertionError("abort does not return")

    return export


def _request(context: Any, signal: str = TRACES) -> Export:
    key = presented_key(context.invocation_metadata() or ())
    return Export("grpc", _peer(context.peer()), Encoding.PROTOBUF, key=key, signal=signal)


def _peer(said: str) -> str:
    """`host:port`, as over HTTP; grpc says `ipv4:127.0.0.1:80` and `ipv6:%5B::1%5D:80`."""
    kind, _, address = said.partition(":")
    return unquote(address) if kind in {"ipv4", "ipv6"} else said


async def _message(context: Any, timeout_s: float) -> bytes:
    """The one message of a call. Not by its iterator, which would hold on to the message when it is left early.

    Raises:
        InvalidInput: there is none.
        Unavailable: it did not come in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            body: bytes | object = await context.read()
    except TimeoutError as exc:
        raise Unavailable(f"the request did not come within {timeout_s:g} s") from exc
    if isinstance(body, bytes):
        return body
    raise InvalidInput("the call holds no request")


def _unserved_with(receiver: Receiver, settings: Settings) -> _Handler:
    async def unserved(_: object, context: Any) -> bytes:
        request = _request(context)
        try:
            receiver.sender(request)
        except EvalVaultError as exc:
            await _abort(context, receiver.failed(request, exc))
        if settings.other_signals != "discard":
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, NOT_SERVED)
        return b""

    return unserved


async def _abort(context: Any, failed: Failure) -> None:
    """End the call before any message (Trailers-Only), with the retry hint in both places where clients look."""
    trailers = [("grpc-status-details-bin", status(failed).SerializeToString())]
    if failed.retryable:
        trailers.append(("google.rpc.retryinfo-bin", retry_info().SerializeToString()))
    await context.abort(_CODES[failed.grpc_code], failed.message, tuple(trailers))
