"""StageEvents, each as JSON text, in; to a server's `POST /api/stage/events` or into a database out."""

import time
from collections.abc import Sequence

from opentelemetry.sdk.trace.export import SpanExportResult

from ..errors import MissingExtra
from .config import SdkSettings
from .exporter import Transport
from .http import Sender
from .suppression import untraced

PATH = "/api/stage/events"


class EventsExporter:
    """What `Worker` needs of an exporter. Events that are refused cost no others: then each is sent alone."""

    def __init__(self, settings: SdkSettings, api_url: str | None, db: str | None) -> None:
        self._timeout_s = settings.export_timeout_ms / 1000
        self._transport = _transport(settings, api_url, db)

    @property
    def retryable(self) -> bool:
        """Whether what the last export failed for may be over later."""
        return self._transport.retryable

    def export(self, batch: Sequence[bytes]) -> SpanExportResult:
        """Store events; success if all of them are."""
        with untraced():
            stored = self._send(batch)
            if not stored and not self.retryable and len(batch) > 1:
                for event in batch:
                    self._send([event])
        return SpanExportResult.SUCCESS if stored else SpanExportResult.FAILURE

    def _send(self, batch: Sequence[bytes]) -> bool:
        return self._transport.send(b'{"events":[' + b",".join(batch) + b"]}", self._timeout_s)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - as exporters have it
        """Nothing waits here."""
        return True

    def hurry(self, deadline: float) -> None:
        """Everything is to be over at `deadline` (of the monotonic clock): the program ends."""
        self._transport.hurry(deadline)

    def shutdown(self, timeout_millis: int = 5_000) -> None:
        """Let go of connections."""
        self._transport.hurry(time.monotonic() + timeout_millis / 1000)
        self._transport.stop()


def _transport(settings: SdkSettings, api_url: str | None, db: str | None) -> Transport:
    """What is given goes before the environment, where a database goes before the address that is there by default."""
    database = "" if api_url else db or settings.db
    if not database:
        return Sender(settings.api_url.rstrip("/") + PATH, settings, content_type="application/json")
    try:
        from .direct import open_events  # noqa: PLC0415 - the server's packages are for this way only
    except ImportError as error:
        said = f"db= needs the packages of the server ({error}): pip install 'evalvault-otel[server]'"
        raise MissingExtra(said) from error
    return open_events(database)
