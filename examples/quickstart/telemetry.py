"""OpenTelemetry for the pipeline: stage spans, asset events, and an exporter that knows what it sent.

Only the plain OpenTelemetry API and SDK. The attribute names are listed in docs/attributes.md.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Span, Tracer
from opentelemetry.util.types import AttributeValue


@dataclass(frozen=True, slots=True)
class Asset:
    """Something versioned that a stage uses."""

    kind: str
    name: str
    version: str
    digest: str
    origin: str = "registry"


@contextmanager
def stage(tracer: Tracer, stage_type: str, name: str, assets: Sequence[Asset] = ()) -> Iterator[Span]:
    """A span that is one stage and used `assets`. An exception that leaves it is recorded by the SDK."""
    attributes = {"evalvault.stage.type": stage_type, "evalvault.stage.name": name}
    with tracer.start_as_current_span(name, attributes=attributes) as span:
        for asset in assets:
            span.add_event("evalvault.asset.used", asset_attributes(asset))
        yield span


def asset_attributes(asset: Asset) -> Mapping[str, AttributeValue]:
    """The attributes of an `evalvault.asset.used` event: version and digest, never the content."""
    return {
        "evalvault.asset.kind": asset.kind,
        "evalvault.asset.name": asset.name,
        "evalvault.asset.version": asset.version,
        "evalvault.asset.digest": asset.digest,
        "evalvault.asset.origin": asset.origin,
    }


class CountingExporter(SpanExporter):
    """Passes spans on and counts them: the batch processor of the SDK does not tell whether an export failed."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.sent = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export with the inner exporter; its result is returned and counted."""
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
        else:
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """Shut the inner exporter down."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the inner exporter."""
        return self._inner.force_flush(timeout_millis)


def otlp_exporter() -> SpanExporter:
    """The stock OTLP exporter: gRPC when OTEL_EXPORTER_OTLP_PROTOCOL says so, else HTTP. Both read their own variables.

    Raises:
        ImportError: the exporter for gRPC is not installed.
    """
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol != "grpc":
        return HttpExporter()
    # Imported here, because most installations have the HTTP exporter only.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - only where it is wanted
        OTLPSpanExporter as GrpcExporter,
    )

    return GrpcExporter()
