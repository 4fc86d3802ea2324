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
from ..wire import Decoded, logs_json, logs_protobuf, otlp_json, protobuf, stage_events
from ..wire.answer import Accepted, Encoding, Failure, failure
from ..wire.inflate import inflate
from .keys import Identity, Keys, Scope
from .rates import RateLimits

_LOG = logging.getLogger(__name__)
TRACES, LOGS, STAGE_EVENTS = "traces", "logs", "stage_events"
_DECODE = {
    (TRACES, Encoding.PROTOBUF): protobuf.decode,
    (TRACES, Encoding.JSON): otlp_json.decode,
    (LOGS, Encoding.PROTOBUF): logs_protobuf.decode_logs,
    (LOGS, Encoding.JSON): logs_json.decode_logs,
    (STAGE_EVENTS, Encoding.JSON): stage_events.decode,
}
NOT_SERVED = (
    "this server takes traces (/v1/traces) and, of the logs, events of spans (/v1/logs): "
    "set OTEL_METRICS_EXPORTER=none in the application, or --other-signals discard here"
)
_OTHERS = (
    "log records that are neither GenAI nor evalvault.* events are not kept: set OTEL_LOGS_EXPORTER=none in the "
    "application, or --other-signals discard here"
)
_REPAIRED = "texts that are not UTF-8, or values nested too deeply, were replaced"
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
    signal: str = TRACES


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
            stored, remarks = self._submit(request, body, deadline)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            answer.set_exception(exc)
        else:
            stored.add_done_callback(lambda done: _pass_on(done, answer, remarks))

    def _submit(self, request: Export, body: bytes, deadline: float) -> tuple[Future[Accepted], Accepted]:
        """The answer to come, and what is to be said besides."""
        self._ingestor.wait_for_room(deadline - time.monotonic())
        plain = inflate(body, request.content_encoding, self._settings.max_request_bytes)
        decoded = _DECODE[request.signal, request.encoding](plain)
        remarks = _remarks(decoded, discard=self._settings.other_signals == "discard")
        if decoded.spans or decoded.logs or decoded.rejects:
            return self._ingestor.submit(_with_sender(decoded, request), len(plain)), remarks
        self._telemetry.log_events.labels("other").inc(decoded.others)
        nothing: Future[Accepted] = Future()
        nothing.set_result(Accepted())
        return nothing, remarks


def _remarks(decoded: Decoded, *, discard: bool) -> Accepted:
    """What a client should know beside the rejects: records that are not for us, and what was repaired."""
    others = 0 if discard else decoded.others
    said = [_OTHERS] if others else []
    if decoded.remark:
        said.append(decoded.remark)
    if decoded.repaired:
        said.append(f"{decoded.repaired} {_REPAIRED}")
    return Accepted(others, "; ".join(said))


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


def _pass_on(done: Future[Accepted], answer: Future[Accepted], remarks: Accepted) -> None:
    error = done.exception()
    if error is not None:
        answer.set_exception(error)
        return
    found = done.result()
    message = "; ".join(filter(None, (found.message, remarks.message)))
    answer.set_result(Accepted(found.rejected + remarks.rejected, message))
