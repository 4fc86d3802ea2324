"""The server, put together by plain calls in one place: `build`. No globals, no container."""

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from ..errors import Unavailable
from ..ingest import Assembler, Ingestor, IngestTelemetry
from ..settings import Settings, split_address
from ..store import Pauses, Store, open_store
from .api import create_api
from .loop import EventLoop
from .otlp_grpc import GrpcServer
from .otlp_http import create_otlp_http
from .receiver import Receiver
from .web import WebServer

_LOG = logging.getLogger(__name__)
_MIGRATION_RETRY_S = 1.0
# Of the time for a stop, what is left to the store when clients have had their answers or their time.
_STORE_SHARE = 0.3


def build(settings: Settings, *, reuse_port: bool = False, figures: CollectorRegistry | None = None) -> "Server":
    """A server that has bound its addresses and is not serving yet.

    With `reuse_port` several processes can have the same addresses and share what comes in. `figures` is what
    `/metrics` shows, by default the figures of this server alone.

    Raises:
        OSError: an address is taken.
        SettingsError, MissingExtra: the database setting cannot work.
    """
    store = open_store(settings.db, Pauses(quiet_ns=int(settings.quiet_ms * 1e6)), settings.max_rejects)
    registry = CollectorRegistry()
    telemetry = IngestTelemetry(registry)
    ingestor = Ingestor(store, settings, telemetry)
    receiver = Receiver(ingestor, settings, telemetry)
    loop = EventLoop()
    try:
        frontend = loop.run(_bind(settings, receiver, store, figures or registry, reuse_port=reuse_port))
    except BaseException:
        loop.close()
        raise
    return Server(settings, store, ingestor, Assembler(store, telemetry), receiver, loop, frontend)


@dataclass(frozen=True, slots=True)
class Frontend:
    """All that clients talk to. Its methods run in the event loop."""

    grpc: GrpcServer
    http: WebServer
    api: WebServer

    async def start(self) -> None:
        """Begin to accept."""
        await asyncio.gather(self.grpc.start(), self.http.start(), self.api.start())

    async def stop(self, grace_s: float) -> None:
        """Accept no more, give requests under way `grace_s` seconds."""
        await self.grpc.drain()
        await asyncio.gather(self.grpc.stop(grace_s), self.http.stop(grace_s), self.api.stop(grace_s))


async def _bind(
    settings: Settings, receiver: Receiver, store: Store, registry: CollectorRegistry, *, reuse_port: bool
) -> Frontend:
    """Runs in the event loop, because gRPC takes the one it finds."""
    return Frontend(
        GrpcServer(receiver, settings, reuse_port=reuse_port),
        WebServer(create_otlp_http(receiver, settings), settings.http, settings, reuse_port=reuse_port),
        WebServer(create_api(store, registry), settings.api, settings, reuse_port=reuse_port),
    )


@dataclass(slots=True)
class Server:
    """All parts, started and stopped in order."""

    settings: Settings
    store: Store
    ingestor: Ingestor
    assembler: Assembler
    receiver: Receiver
    loop: EventLoop
    frontend: Frontend
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def addresses(self) -> dict[str, str]:
        """Where it really listens, and its database."""
        host = split_address(self.settings.grpc)[0]
        grpc_address = f"{host}:{self.frontend.grpc.port}"
        web = {"http": self.frontend.http.address, "api": self.frontend.api.address}
        return {"grpc": grpc_address, **web, "db": self.settings.db}

    def start(self) -> None:
        """Serve. While storage is away, receivers answer "try again" and `/readyz` says no."""
        try:
            self.store.migrate()
        except Unavailable as exc:
            _LOG.warning("storage is away, trying again every second: %s", exc)
            threading.Thread(target=self._migrate_later, name="evalvault-migrate", daemon=True).start()
        self.ingestor.start()
        self.assembler.start()
        self.loop.run(self.frontend.start())

    def _migrate_later(self) -> None:
        while not self._stopping.wait(_MIGRATION_RETRY_S):
            try:
                self.store.migrate()
            except Unavailable:
                continue
            _LOG.warning("storage is back")
            return

    def stop(self) -> None:
        """Refuse new requests, store and answer those under way, then let go of everything: within `shutdown_s`."""
        deadline = time.monotonic() + self.settings.shutdown_s
        self._stopping.set()
        self.receiver.refuse()
        self.loop.run(self.frontend.stop(self.settings.shutdown_s * (1 - _STORE_SHARE)))
        self.receiver.stop()
        self.ingestor.stop(max(0.0, deadline - time.monotonic()))
        self.assembler.stop(max(0.0, deadline - time.monotonic()))
        self.loop.close()
        self.store.close()
