"""The one function behind both OTLP receivers: bytes in, answer out, after the commit."""

import logging
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace

from ..errors import EvalVaultError, Unavailable
from ..ingest import Ingestor, IngestTelemetry
from ..settings import Settings
from ..wire import Decoded, otlp_json, protobuf
from ..wire.answer import Accepted, Encoding

_LOG = logging.getLogger(__name__)
_DECODE = {Encoding.PROTOBUF: protobuf.decode, Encoding.JSON: otlp_json.decode}


class Receiver:
    """Decodes, submits, waits for the commit. Safe for many threads; both transports are skins of `export`."""

    def __init__(self, ingestor: Ingestor, settings: Settings, telemetry: IngestTelemetry) -> None:
        self._ingestor = ingestor
        # One at a time: side by side, requests would share the interpreter and all be ready late and at once. In a row,
        # the first is being written while the next is prepared.
        self._preparing = threading.Lock()
        self._timeout_s = settings.ack_timeout_s
        self._telemetry = telemetry

    def export(self, body: bytes, encoding: Encoding, transport: str, peer: str) -> Accepted:
        """Store the spans of one export request. When this returns, they are durable and can be queried.

        Raises:
            Undecodable: the body is not an export request; nothing is stored.
            Unavailable: storage is away or too slow, or too much is waiting; the client should send again.
        """
        try:
            accepted = self._export(body, encoding, transport, peer)
        except EvalVaultError as exc:
            self._telemetry.requests.labels(transport, type(exc).__name__).inc()
            raise
        self._telemetry.requests.labels(transport, "partial" if accepted.rejected else "ok").inc()
        return accepted

    def _export(self, body: bytes, encoding: Encoding, transport: str, peer: str) -> Accepted:
        size = len(body)
        deadline = time.monotonic() + self._timeout_s
        self._ingestor.admit(size)
        try:
            answer = self._prepare(body, encoding, transport, peer)
        except BaseException:
            self._ingestor.release(size)
            raise
        # Also when nobody waits for the answer any more, the request is in memory until it is stored.
        answer.add_done_callback(lambda _: self._ingestor.release(size))
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except FutureTimeoutError as exc:
            raise Unavailable(f"not stored within {self._timeout_s:g} s") from exc

    def _prepare(self, body: bytes, encoding: Encoding, transport: str, peer: str) -> Future[Accepted]:
        if not self._preparing.acquire(timeout=self._timeout_s):
            raise Unavailable(f"not begun within {self._timeout_s:g} s: other requests are being read")
        try:
            decoded = _DECODE[encoding](body)
            rejects = [replace(reject, transport=transport, peer=peer) for reject in decoded.rejects]
            if decoded.spans or rejects:
                return self._ingestor.submit(Decoded(decoded.spans, rejects), len(body))
        finally:
            self._preparing.release()
        nothing: Future[Accepted] = Future()
        nothing.set_result(Accepted())
        return nothing
