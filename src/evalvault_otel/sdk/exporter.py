"""`EvalVaultSpanExporter`: ended spans in, to a receiver over OTLP/HTTP or straight into a database out.

Usable by every span processor; without arguments everything comes from the environment, as the entry point
`OTEL_TRACES_EXPORTER=evalvault` needs it.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final, Protocol

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ..errors import MissingExtra
from . import content
from .config import DEFAULT_ENDPOINT, SdkSettings, read_settings
from .http import Sender, traces_url
from .redaction import redacted
from .suppression import untraced
from .telling import Seldom

_LOG: Final = logging.getLogger(__name__)


class Transport(Protocol):
    """Where encoded spans go. `retryable`: the last failure may be over later."""

    retryable: bool

    def send(self, body: bytes, timeout_s: float) -> bool:
        """Deliver an OTLP request within so many seconds; whether it was taken."""

    def hurry(self, deadline: float) -> None:
        """Everything is to be over at `deadline` (of the monotonic clock)."""

    def stop(self) -> None:
        """Let go of everything; sends under way end soon."""


class EvalVaultSpanExporter(SpanExporter):
    """Exports spans to `endpoint` (the base URL of an OTLP/HTTP receiver) or into `db` (a path or `postgresql://…`).

    An export, all its attempts included, takes at most `export_timeout_ms`. What is not given comes from the
    environment (see `SdkSettings`).

    Raises:
        MissingExtra: a database is asked for, and the packages of the server are not installed.
        SettingsError: the database cannot be used as it is named.
    """

    def __init__(  # noqa: PLR0913 - one parameter per setting, all but the first by name
        self,
        endpoint: str | None = None,
        *,
        db: str | None = None,
        api_key: str | None = None,
        export_timeout_ms: int | None = None,
        compression: str | None = None,
        certificate: str | None = None,
    ) -> None:
        settings = read_settings(
            api_key=api_key, export_timeout_ms=export_timeout_ms, compression=compression, certificate=certificate
        )
        self._timeout_s = settings.export_timeout_ms / 1000
        self._transport = _transport(settings, endpoint, db)
        self._stopped = False
        self._seldom = Seldom()

    @property
    def retryable(self) -> bool:
        """Whether what the last export failed for may be over later."""
        return self._transport.retryable

    @property
    def destination(self) -> str:
        """Where spans go."""
        return str(self._transport)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver spans. Never raises; after a shutdown it fails."""
        if self._stopped:
            return SpanExportResult.FAILURE
        if not spans:
            return SpanExportResult.SUCCESS
        try:
            with untraced():
                shown = redacted(spans, content.current())
                body = encode_spans(shown).SerializePartialToString()
                taken = self._transport.send(body, self._timeout_s)
        except Exception as error:  # noqa: BLE001 - called by processors that may be in the program's thread
            self._seldom.warn(_LOG, "export", "spans could not be exported: %s: %s", type(error).__name__, error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the specification's signature
        """Nothing waits here: an export that has returned is done."""
        return True

    def hurry(self, deadline: float) -> None:
        """Everything is to be over at `deadline` (of the monotonic clock): the program ends."""
        self._transport.hurry(deadline)

    def shutdown(self, timeout_millis: int = 5_000) -> None:
        """Let go of connections. Exports under way end soon, later ones fail; the second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self._transport.hurry(time.monotonic() + timeout_millis / 1000)
        self._transport.stop()


def destination(endpoint: str | None = None, db: str | None = None) -> str:
    """Where an exporter with these arguments would send: an address that takes spans, or a database."""
    settings = read_settings()
    return _database(settings, endpoint, db) or _url(settings, endpoint)


def _database(settings: SdkSettings, endpoint: str | None, db: str | None) -> str:
    """What is given goes before the environment, and there an endpoint before a database."""
    return "" if endpoint else db or (settings.db if not settings.endpoint else "")


def _url(settings: SdkSettings, endpoint: str | None) -> str:
    return traces_url(endpoint or settings.endpoint or DEFAULT_ENDPOINT)


def _transport(settings: SdkSettings, endpoint: str | None, db: str | None) -> Transport:
    database = _database(settings, endpoint, db)
    if not database:
        return Sender(_url(settings, endpoint), settings)
    try:
        from .direct import open_direct  # noqa: PLC0415 - the server's packages are for this way only
    except ImportError as error:
        said = f"db= needs the packages of the server ({error}): pip install 'evalvault-otel[server]'"
        raise MissingExtra(said) from error
    return open_direct(database)
