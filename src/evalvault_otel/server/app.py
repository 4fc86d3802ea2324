"""The server, put together by plain calls in one place: `build`. No globals, no container."""

import asyncio
import logging
import socket
import threading
from dataclasses import dataclass, field

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from ..errors import Unavailable
from ..ingest import Assembler, Ingestor, IngestTelemetry
from ..settings import Settings, split_address
from ..store import Pauses, RejectBounds, Store, open_store
from .api import create_api
from .otlp_grpc import GrpcServer
from .otlp_http import create_otlp_http
from .receiver import Receiver

_LOG = logging.getLogger(__name__)
_MIGRATION_RETRY_S = 1.0
_BACKLOG = 2048


def build(settings: Settings) -> "Server":
    """A server that has bound its addresses and is not serving yet.

    Raises:
        OSError: an address is taken.
        SettingsError, MissingExtra: the database setting cannot work.
    """
    bounds = RejectBounds(settings.max_rejects, settings.max_reject_bytes)
    store = open_store(settings.db, Pauses(quiet_ns=int(settings.quiet_ms * 1e6)), bounds)
    registry = CollectorRegistry()
    telemetry = IngestTelemetry(registry)
    ingestor = Ingestor(store, settings, telemetry)
    receiver = Receiver(ingestor, settings, telemetry)
    web = WebServers()
    http = web.add(create_otlp_http(receiver, settings), settings.http)
    api = web.add(create_api(store, registry), settings.api)
    grpc_server = GrpcServer(receiver, settings)
    host = split_address(settings.grpc)[0]
    addresses = {"grpc": f"{host}:{grpc_server.port}", "http": http, "api": api, "db": settings.db}
    return Server(settings, store, ingestor, Assembler(store, telemetry), grpc_server, web, addresses)


@dataclass(slots=True)
class Server:
    """All parts, started and stopped in order."""

    settings: Settings
    store: Store
    ingestor: Ingestor
    assembler: Assembler
    grpc: GrpcServer
    web: "WebServers"
    addresses: dict[str, str]
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Serve. While storage is away, receivers answer "try again" and `/readyz` says no."""
        try:
            self.store.migrate()
        except Unavailable as exc:
            _LOG.warning("storage is away, trying again every second: %s", exc)
            threading.Thread(target=self._migrate_later, name="evalvault-migrate", daemon=True).start()
        self.ingestor.start()
        self.assembler.start()
        self.web.start()
        self.grpc.start()

    def _migrate_later(self) -> None:
        while not self._stopping.wait(_MIGRATION_RETRY_S):
            try:
                self.store.migrate()
            except Unavailable:
                continue
            _LOG.warning("storage is back")
            return

    def stop(self) -> None:
        """Refuse new requests, store and answer those under way, then let go of everything."""
        self._stopping.set()
        self.grpc.stop(self.settings.shutdown_s)
        self.web.stop(self.settings.shutdown_s)
        self.ingestor.stop()
        self.assembler.stop()
        self.store.close()


class WebServers:
    """Some ASGI applications on one event loop in a thread of its own."""

    def __init__(self) -> None:
        self._servers: list[tuple[uvicorn.Server, socket.socket]] = []
        self._thread = threading.Thread(target=self._run, name="evalvault-web", daemon=True)

    def add(self, app: ASGIApp, address: str) -> str:
        """Bind `address` for `app`; returns the address really bound."""
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as exc:
            listener.close()
            raise OSError(f"cannot listen on {address}: {exc.strerror}") from exc
        config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning", ws="none")
        self._servers.append((uvicorn.Server(config), listener))
        return f"{host}:{listener.getsockname()[1]}"

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        await asyncio.gather(*(server.serve([listener]) for server, listener in self._servers))

    def stop(self, grace_s: float) -> None:
        """Finish requests under way within `grace_s` seconds."""
        for server, _ in self._servers:
            server.config.timeout_graceful_shutdown = max(1, int(grace_s))
            server.should_exit = True
        self._thread.join(grace_s + 5)
