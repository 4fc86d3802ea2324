"""Uvicorn as we need it: on addresses bound beforehand, on our event loop, and with bounded patience for clients."""

import asyncio
import math
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from ..settings import Settings, join_address, split_address

HAS_WEBSOCKETS = find_spec("websockets") is not None
"""Whether the package is there that uvicorn leaves the protocol of WebSockets to (extra `websocket`)."""

_BACKLOG = 2048
# Longer than the usual pause between two exports (5 s), so that clients can keep their connection.
_KEEP_ALIVE_S = 75
# Bytes of requests that a client may send, on one connection, ahead of the answer to the one before.
_MAX_AHEAD = 64 * 1024
# Clients of a WebSocket have nothing to say.
_MAX_MESSAGE = 64 * 1024


class WebServer:
    """An ASGI application on an address. `address` is the one really bound."""

    def __init__(  # noqa: PLR0913 - what it serves, and how
        self,
        app: ASGIApp,
        address: str,
        settings: Settings,
        tls: Mapping[str, Any] | None = None,
        *,
        reuse_port: bool = False,
        websockets: bool = False,
    ) -> None:
        self._listener = _listen(address, reuse_port=reuse_port)
        self.address = join_address(split_address(address)[0], self._listener.getsockname()[1])
        config = uvicorn.Config(
            app,
            http=_patient(settings.read_timeout_s),
            lifespan="off",
            access_log=False,
            log_level="warning",
            ws="websockets-sansio" if websockets and HAS_WEBSOCKETS else "none",
            ws_max_size=_MAX_MESSAGE,
            ws_per_message_deflate=False,
            server_header=False,
            # Else anybody on this machine could say with a header that a reject came from somebody else.
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            **(tls or {}),
        )
        self._server = uvicorn.Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to accept, in the running event loop."""
        self._serving = asyncio.create_task(self._server.serve([self._listener]))

    async def stop(self, grace_s: float) -> None:
        """Accept no more, give requests under way `grace_s` seconds, then return."""
        if self._serving is None:
            self._listener.close()
            return
        self._server.config.timeout_graceful_shutdown = max(1, math.ceil(grace_s))
        self._server.should_exit = True
        await self._serving


def _listen(address: str, *, reuse_port: bool) -> socket.socket:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        raise OSError(f"cannot listen on {address}: {exc.strerror}") from exc
    return listener


def _patient(head_timeout_s: float) -> type[H11Protocol]:
    """HTTP/1.1 that cuts off a client whose request line and headers do not come in time (uvicorn would wait)."""

    class PatientProtocol(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            # For streams: what is closed in peace waits until the client has read it, which may be for ever.
            self.app_state = {**self.app_state, "abort": transport.abort}
            self.flow = _Flow(transport, self.conn)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if _is_answering(self):
                self._wait_no_more()
            elif self._waiting is None:
                self._wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.flow.resume_reading()

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait_no_more()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._waiting = self.loop.call_later(head_timeout_s, self.transport.close)

        def _wait_no_more(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return PatientProtocol


def _is_answering(protocol: H11Protocol) -> bool:
    """Whether the client has said what it wants, and has not got all of it; a WebSocket never has."""
    cycle: RequestResponseCycle | None = protocol.cycle
    is_web_socket = protocol.transport.get_protocol() is not protocol
    return is_web_socket or (cycle is not None and not cycle.response_complete)


class _Flow(FlowControl):
    """Reads on only while little waits: uvicorn would read 256 KiB with each answer, for a request of any size."""

    def __init__(self, transport: asyncio.Transport, conn: h11.Connection) -> None:
        super().__init__(transport)
        self._conn = conn

    def resume_reading(self) -> None:
        if len(self._conn.trailing_data[0]) <= _MAX_AHEAD:
            super().resume_reading()
