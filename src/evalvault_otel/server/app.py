"""The server, put together by plain calls in one place: `build`. No globals, no container."""

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, field

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from ..analysis.thresholds import limits_of
from ..errors import SettingsError, Unavailable
from ..ingest import Assembler, Ingestor, IngestTelemetry
from ..ingest.mapping import Mapping
from ..settings import Settings, join_address, split_address
from ..store import Pauses, RejectBounds, Store, open_store
from .api import create_api
from .keys import Keys
from .loop import EventLoop
from .otlp_grpc import GrpcServer
from .otlp_http import create_otlp_http
from .receiver import Receiver
from .relevance_routes import add_relevance
from .stage_events import add_stage_events
from .stream_feed import Feed
from .tls import Tls
from .web import WebServer

_LOG = logging.getLogger(__name__)
_MIGRATION_RETRY_S = 1.0
# Of the time for a stop, what clients have for their answers; the rest is for what waits to be stored.
_CLIENTS_SHARE = 0.5
_LAST_WORDS_S = 0.5
# What a listener may take beyond what it was given, before the stop goes on without it.
_SLACK_S = 1.0


def build(settings: Settings, *, reuse_port: bool = False, figures: CollectorRegistry | None = None) -> "Server":
    """A server that has bound its addresses and is not serving yet.

    With `reuse_port` several processes can have the same addresses and share what comes in. `figures` is what
    `/metrics` shows, by default the figures of this server alone.

    Raises:
        OSError: an address is taken.
        SettingsError, MissingExtra: the database, the keys, the certificate, the rules or the thresholds of the
            settings cannot work.
    """
    keys, tls = Keys.of(settings), Tls.of(settings)
    bounds = RejectBounds(settings.max_rejects, settings.max_reject_bytes)
    store = open_store(settings.db, Pauses(quiet_ns=int(settings.quiet_ms * 1e6)), bounds)
    registry = CollectorRegistry()
    telemetry = IngestTelemetry(registry, settings.expected_kinds)
    mapping = Mapping.of(settings)
    ingestor = Ingestor(store, settings, telemetry, mapping)
    receiver = Receiver(ingestor, settings, telemetry, keys)
    limits_of(settings)  # whether the file of thresholds can be used is said at the start
    shown_by = (mapping.conventions, mapping.options, settings.expected_kinds, settings)
    api = create_api(store, figures or registry, keys, *shown_by)
    add_stage_events(api, receiver, settings)
    add_relevance(api, receiver, settings)
    loop = EventLoop()
    try:
        frontend = loop.run(_bind(settings, receiver, api, tls, reuse_port=reuse_port))
    except BaseException:
        loop.close()
        raise
    return Server(settings, store, ingestor, Assembler(store, telemetry, mapping), receiver, loop, frontend)


@dataclass(frozen=True, slots=True)
class Frontend:
    """All that clients talk to. Its methods run in the event loop."""

    receiver: Receiver
    grpc: GrpcServer
    http: WebServer
    api: WebServer
    feed: Feed

    async def start(self) -> None:
        """Begin to accept."""
        await asyncio.gather(self.grpc.start(), self.http.start(), self.api.start())

    async def stop(self, grace_s: float) -> None:
        """Accept no more, give requests under way `grace_s` seconds, then a moment to hear that it was not enough."""
        self.feed.stop()
        await self.grpc.drain()
        asyncio.get_running_loop().call_later(grace_s, self.receiver.give_up)
        end_s = grace_s + _LAST_WORDS_S
        await asyncio.gather(self.grpc.stop(end_s), self.http.stop(end_s), self.api.stop(end_s))


async def _bind(settings: Settings, receiver: Receiver, api: FastAPI, tls: Tls | None, *, reuse_port: bool) -> Frontend:
    """Runs in the event loop, because gRPC takes the one it finds."""
    otlp_http = create_otlp_http(receiver, settings)
    # Clients of the API are people and scrapers: a certificate of their own is asked of those who send.
    of_receiver, of_api = (tls.uvicorn_options(client_certificates=asked) if tls else None for asked in (True, False))
    return Frontend(
        receiver,
        GrpcServer(receiver, settings, tls, reuse_port=reuse_port),
        WebServer(otlp_http, settings.http, settings, of_receiver, reuse_port=reuse_port),
        WebServer(api, settings.api, settings, of_api, reuse_port=reuse_port, websockets=True),
        api.state.feed,
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
        grpc_address = join_address(split_address(self.settings.grpc)[0], self.frontend.grpc.port)
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
            except SettingsError as exc:
                _LOG.error("%s", exc)
                return
            _LOG.warning("storage is back")
            return

    def stop(self) -> None:
        """Refuse new requests, store and answer those under way, then let go of everything: within `shutdown_s`."""
        deadline = time.monotonic() + self.settings.shutdown_s
        self._stopping.set()
        self.receiver.refuse()
        patience_s = self.settings.shutdown_s * _CLIENTS_SHARE
        try:
            self.loop.run(self.frontend.stop(patience_s), patience_s + _LAST_WORDS_S + _SLACK_S)
        except TimeoutError:
            _LOG.warning("some connections did not end in time: they are cut off")
        self.receiver.stop()
        self.ingestor.stop(max(0.0, deadline - time.monotonic()))
        self.assembler.stop(max(0.0, deadline - time.monotonic()))
        self.loop.close()
        self.store.close()
