"""`instrument()`: our span processor onto a tracer provider, once."""

import atexit
import threading
from collections.abc import Iterable
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Span, SpanLimits, SpanProcessor, TracerProvider

from . import compat, guard
from .config import is_set, read_settings, sdk_disabled
from .context import stamp
from .exporter import EvalVaultSpanExporter, destination
from .processor import EvalVaultSpanProcessor

# The SDK drops the oldest attributes beyond 128, which of a long retrieval are its query and its best documents.
MAX_ATTRIBUTES: Final = 10_000

_lock: Final = threading.Lock()


class Instrumentation:
    """What `instrument` did: the way to flush it and to end it. Without a processor it does nothing."""

    def __init__(self, processor: EvalVaultSpanProcessor | None) -> None:
        self.processor = processor

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended so far; True if all of it was delivered within the time (milliseconds)."""
        return self.processor is None or self.processor.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: int | None = None) -> None:
        """Export what waits and stop, within the time (by default `shutdown_timeout_ms`). Twice is harmless.

        The provider goes on with its other processors.
        """
        if self.processor is not None:
            self.processor.shutdown(timeout_millis)


class Stamper(SpanProcessor):
    """Stamps spans with their run where something else exports them."""

    def __init__(self, *, trust_baggage: bool) -> None:
        self._trust_baggage = trust_baggage

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp a span that starts."""
        stamp(span, parent_context, trust_baggage=self._trust_baggage)


def instrument(  # noqa: PLR0913 - one parameter per setting, all but the first by name
    endpoint: str | None = None,
    *,
    db: str | None = None,
    provider: TracerProvider | None = None,
    service_name: str | None = None,
    api_key: str | None = None,
    trust_baggage: bool | None = None,
) -> Instrumentation:
    """Export spans of this process to a receiver (`endpoint`, its base URL) or into a database (`db`).

    The processor goes onto `provider` (which then also makes the spans of `stage`), else onto the current provider,
    else onto a new one, which is made the current one with `service_name` and a high limit of attributes. Called again
    for the same provider and destination, nothing is added. With `OTEL_SDK_DISABLED=true` nothing is done.

    Raises:
        MissingExtra: `db` is given and the packages of the server are not installed.
        SettingsError: the database cannot be used as it is named.
    """
    if sdk_disabled():
        return Instrumentation(None)
    with _lock:
        wanted = provider or _current(service_name)
        if not isinstance(wanted, TracerProvider):
            guard.wrong("provider", f"a {type(wanted).__name__} is no TracerProvider of the SDK: nothing is exported")
            return Instrumentation(None)
        if provider is not None:
            compat.use_provider(provider)
        there = exporting_to(wanted, destination(endpoint, db))
        if isinstance(there, EvalVaultSpanProcessor):
            return Instrumentation(there)
        if there is not None:
            add_stamper(wanted, trust_baggage=trust_baggage)
            return Instrumentation(None)
        processor = EvalVaultSpanProcessor(endpoint=endpoint, db=db, api_key=api_key, trust_baggage=trust_baggage)
        wanted.add_span_processor(processor)
        if getattr(wanted, "_atexit_handler", None) is None:
            atexit.register(processor.shutdown)  # nobody else does it for a provider with shutdown_on_exit=False
        return Instrumentation(processor)


def exporting_to(provider: TracerProvider, where: str | None) -> SpanProcessor | None:
    """The processor of a provider that exports to this destination (None: to any of ours), if there is one."""
    for processor in _processors(provider):
        if isinstance(processor, EvalVaultSpanProcessor) and processor.stopped:
            continue
        exporter = _exporter_of(processor)
        if isinstance(exporter, EvalVaultSpanExporter) and where in {None, exporter.destination}:
            return processor
    return None


def add_stamper(provider: TracerProvider, *, trust_baggage: bool | None = None) -> None:
    """Stamp the spans of a provider whose spans something else exports; once."""
    if not any(isinstance(processor, Stamper | EvalVaultSpanProcessor) for processor in _processors(provider)):
        trust = read_settings(trust_baggage=trust_baggage).trust_baggage
        provider.add_span_processor(Stamper(trust_baggage=trust))


def _processors(provider: TracerProvider) -> Iterable[SpanProcessor]:
    """The SDK has no public list of them."""
    return getattr(getattr(provider, "_active_span_processor", None), "_span_processors", ())


def _exporter_of(processor: SpanProcessor) -> Any:
    """Ours, or that of a Simple or BatchSpanProcessor."""
    return getattr(processor, "exporter", None) or getattr(processor, "span_exporter", None)


def _current(service_name: str | None) -> Any:
    """The current provider, or a new one that is made the current one."""
    current = trace.get_tracer_provider()
    if not isinstance(current, trace.ProxyTracerProvider):
        return current
    resource = Resource.create({SERVICE_NAME: service_name} if service_name else {})
    limited = is_set("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT") or is_set("OTEL_ATTRIBUTE_COUNT_LIMIT")
    limits = SpanLimits(max_span_attributes=None if limited else MAX_ATTRIBUTES)
    trace.set_tracer_provider(TracerProvider(resource=resource, span_limits=limits))
    return trace.get_tracer_provider()
