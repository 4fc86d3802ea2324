"""Spans made and sent by the unmodified OpenTelemetry SDK, and what must arrive of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from evalvault_otel.model import Span, SpanEvent, SpanLink
from evalvault_otel.wire import identity

_FAR = SpanContext(
    trace_id=0x1234567890ABCDEF1234567890ABCDEF,
    span_id=0x1234567890ABCDEF,
    is_remote=True,
    trace_flags=TraceFlags(TraceFlags.SAMPLED),
    trace_state=TraceState([("vendor", "state")]),
)


def trace_with(exporter: SpanExporter) -> Sequence[ReadableSpan]:
    """Run a small traced program over `exporter`, to the end; returns its spans as the SDK itself sees them."""
    remembered = InMemorySpanExporter()
    provider = TracerProvider(resource=SdkResource({"service.name": "sdk-app", "numbers": (1, 2), "ratio": 1.0}))
    provider.add_span_processor(SimpleSpanProcessor(remembered))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("my.tracer", "1.2", "https://example.com/schema", {"scope.attribute": True})
    with tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER, links=[Link(_FAR, {"why": "batch"})]) as root:
        root.set_attributes(
            {"text": "보험 \U0001f600", "flag": False, "count": 2**62, "share": 0.5, "list": ["a", "b"]}
        )
        root.add_event("evalvault.asset.used", {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"})
        with tracer.start_as_current_span("retrieve", attributes={"evalvault.stage.type": "retrieval"}) as inner:
            inner.set_attribute("evalvault.retrieval.scores", [1.0, 0.25])
            inner.set_status(Status(StatusCode.ERROR, "no index"))
        with tracer.start_as_current_span("answer", attributes={"evalvault.stage.type": "output"}) as last:
            last.record_exception(KeyError("k"), {"exception.escaped": "False"})
            last.set_status(StatusCode.OK)
    provider.shutdown()
    return remembered.get_finished_spans()


def as_received(sent: ReadableSpan) -> Span:
    """What must arrive of a span that the SDK sent."""
    scope, resource, parent = sent.instrumentation_scope, sent.resource, sent.parent
    assert scope is not None
    return Span(
        trace_id=f"{sent.context.trace_id:032x}",
        span_id=f"{sent.context.span_id:016x}",
        parent_span_id=f"{parent.span_id:016x}" if parent else "",
        name=sent.name,
        kind=sent.kind.value + 1,
        start_ns=sent.start_time or 0,
        end_ns=sent.end_time or 0,
        status_code=sent.status.status_code.value,
        status_message=sent.status.description or "",
        attributes=_plain(sent.attributes),
        events=tuple(SpanEvent(event.timestamp, event.name, _plain(event.attributes)) for event in sent.events),
        links=tuple(_link(link) for link in sent.links),
        dropped_attributes=0,
        dropped_events=0,
        dropped_links=0,
        flags=_flags(parent),
        trace_state=sent.context.trace_state.to_header(),
        resource=identity.resource(_plain(resource.attributes), 0, resource.schema_url),
        scope=identity.scope(scope.name, scope.version or "", _plain(scope.attributes), 0, scope.schema_url or ""),
    )


def _link(link: Link) -> SpanLink:
    context = link.context
    ids = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    # The SDK's exporters leave out the trace state of a link.
    return SpanLink(*ids, "", _plain(link.attributes), 0, _flags(context))


def _flags(context: SpanContext | None) -> int:
    """Bits 8 and 9 of OTLP's flags: whether it is known, and whether it is true, that the parent is remote."""
    return 0x300 if context is not None and context.is_remote else 0x100


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in (attributes or {}).items()}
