"""The one function behind both OTLP receivers: bytes in, answer out, after the commit."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ..errors import EvalVaultError, Forbidden, InvalidInput, Overloaded, RateLimited, Unauthenticated, Unavailable
from ..ingest import Admission, Ingestor, IngestTelemetry, Room
from ..settings import Settings
from ..wire import Decoded, otlp_json, protobuf
from ..wire.answer import Accepted, Encoding, Failure, failure
from ..wire.inflate import inflate
from .keys import Identity, Keys, Scope
from .rates import RateLimits

_LOG = logging.getLogger(__name__)
_DECODE = {Encoding.PROTOBUF: protobuf.decode, Encoding.JSON: otlp_json.decode}
_STOPPING = "the server is shutting down"
# How errors are called in our figures; the first class that fits counts.
_RESULTS: tuple[tuple[type[Exception], str], ...] = (
    (Unauthenticated, "unauthorized"),
    (Forbidden, "unauthorized"),
    (RateLimited, "rate_limited"),
    (Overloaded, "overloaded"),
    (Unavailable, "unavailable"),
    (InvalidInput, "invalid"),
    (EvalVaultError, "refused"),
)


@dataclass(frozen=True, slots=True)
class Export:
    """What is known of an export request before its body is."""

    transport: str
    peer: str
    encoding: Encoding
    content_encoding: str = ""
    key: str | None = field(default=None, repr=False)


class Receiver:
    """Reads, decodes, submits, waits for the commit. `export` runs in the event loop, `stop` anywhere."""

    def __init__(self, ingestor: Ingestor, settings: Settings, telemetry: IngestTelemetry, keys: Keys) -> None:
        self._ingestor = ingestor
        self._keys = keys
        self._rates = RateLimits.of(settings)
        self._admission = Admission(settings.max_queue_bytes, telemetry)
        # One at a time: side by side, requests would share the interpreter and all be ready late and at once. In a row,
        # the first is being written while the next is prepared.
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="evalvault-prepare")
        self._settings = settings
        self._telemetry = telemetry
        self._stopping = False
        self._waiting: set[asyncio.Future[Accepted]] = set()

    async def export(self, request: Export, read: Callable[[Room], Awaitable[bytes]]) -> Accepted:
        """Store what one export request holds. When this returns, it is durable and can be queried.

        `read` gives the body, once there is room for it; it lets the room grow while it reads.

        Raises:
            Unauthenticated, Forbidden: the sender may not; nothing was read.
            RateLimited: the sender has sent too much; nothing was read.
            Undecodable: the body is not an export request; nothing is stored.
            Unavailable: storage is away or too slow, or too much is waiting; the client should send again.
        """
        sender = self.sender(request)
        room = self._enter(sender)
        try:
            body = await read(room)
            self._rates.charge(sender.name, len(body))
        except BaseException:
            room.leave()
            raise
        answer: Future[Accepted] = Future()
        # Also when nobody waits for the answer any more, the request is in memory until it is stored.
        answer.add_done_callback(lambda _: room.leave())
        accepted = await self._answered(request, body, answer)
        self._telemetry.requests.labels(request.transport, "partial" if accepted.rejected else "ok").inc()
        return accepted

    def sender(self, request: Export) -> Identity:
        """Who sends a request.

        Raises:
            Unauthenticated, Forbidden, Unavailable: as `Keys.check`.
        """
        return self._keys.check(request.key, Scope.INGEST)

    def failed(self, request: Export, error: Exception) -> Failure:
        """What to tell the client about an error, counted."""
        result = next((name for kind, name in _RESULTS if isinstance(error, kind)), "error")
        self._telemetry.requests.labels(request.transport, result).inc()
        if result == "error":
            _LOG.error("export over %s failed", request.transport, exc_info=error)
        return failure(error)

    def refuse(self) -> None:
        """Take no new requests; those under way go on."""
        self._stopping = True

    def give_up(self) -> None:
        """Tell all who still wait to try again. To be called in the event loop."""
        for waiting in self._waiting:
            _refuse(waiting, Unavailable(_STOPPING))

    def stop(self) -> None:
        """Begin to prepare no further request."""
        self.refuse()
        self._preparing.shutdown(wait=False, cancel_futures=True)

    def _enter(self, sender: Identity) -> Room:
        if self._stopping:
            raise Unavailable(_STOPPING)
        self._rates.admit(sender.name)
        return self._admission.enter()

    async def _answered(self, request: Export, body: bytes, answer: Future[Accepted]) -> Accepted:
        deadline = time.monotonic() + self._settings.ack_timeout_s
        try:
            self._preparing.submit(self._prepare, request, body, answer, deadline)
        except RuntimeError as exc:  # it has been shut down meanwhile
            answer.set_exception(Unavailable(_STOPPING))
            raise Unavailable(_STOPPING) from exc
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Accepted] = loop.create_future()
        answer.add_done_callback(lambda done: loop.call_soon_threadsafe(_settle, waiting, done))
        late = Unavailable(f"not stored within {self._settings.ack_timeout_s:g} s")
        timer = loop.call_later(self._settings.ack_timeout_s, _refuse, waiting, late)
        self._waiting.add(waiting)
        try:
            return await waiting
        finally:
            timer.cancel()
            self._waiting.discard(waiting)

    def _prepare(self, request: Export, body: bytes, answer: Future[Accepted], deadline: float) -> None:
        """Decode and submit; every way out gives an answer."""
        try:
            stored = self._submit(request, body, deadline)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            answer.set_exception(exc)
        else:
            stored.add_done_callback(lambda done: _pass_on(done, answer))

    def _submit(self, request: Export, body: bytes, deadline: float) -> Future[Accepted]:
        self._ingestor.wait_for_room(deadline - time.monotonic())
        plain = inflate(body, request.content_encoding, self._settings.max_request_bytes)
        decoded = _DECODE[request.encoding](plain)
        if decoded.spans or decoded.logs or decoded.rejects or decoded.others:
            return self._ingestor.submit(_with_sender(decoded, request), len(plain))
        nothing: Future[Accepted] = Future()
        nothing.set_result(Accepted())
        return nothing


def _with_sender(decoded: Decoded, request: Export) -> Decoded:
    transport, peer = request.transport, request.peer
    rejects = [replace(reject, transport=transport, peer=peer) for reject in decoded.rejects]
    return replace(decoded, rejects=rejects, transport=transport, peer=peer)


def _settle(waiting: asyncio.Future[Accepted], done: Future[Accepted]) -> None:
    """Wake the one who waits, in the event loop, unless that one has been told something else meanwhile."""
    if not waiting.done():
        error = done.exception()
        if error is None:
            waiting.set_result(done.result())
        else:
            waiting.set_exception(error)


def _refuse(waiting: asyncio.Future[Accepted], error: Unavailable) -> None:
    if not waiting.done():
        waiting.set_exception(error)


def _pass_on(done: Future[Accepted], answer: Future[Accepted]) -> None:
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
