"""The one function behind both OTLP receivers: bytes in, answer out, after the commit."""

import logging
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
        self._ingestor.admit(size)
        try:
            decoded = _DECODE[encoding](body)
            if not decoded.spans and not decoded.rejects:
                return Accepted()
            rejects = [replace(reject, transport=transport, peer=peer) for reject in decoded.rejects]
            answer = self._ingestor.submit(Decoded(decoded.spans, rejects), size)
            return answer.result(self._timeout_s)
        except FutureTimeoutError as exc:
            raise Unavailable(f"not stored within {self._timeout_s:g} s") from exc
        finally:
            self._ingestor.release(size)
