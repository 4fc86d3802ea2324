"""What the SDK under test records, by the whole way: OpenTelemetry SDK, stock OTLP encoder, our decoder, assembly."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from evalvault_otel.assembly.assemble import assemble
from evalvault_otel.model import Assembly, AssetUse, Span, StageEvent
from evalvault_otel.sdk import compat, content, guard
from evalvault_otel.wire import protobuf


class Recording:
    """A tracer provider that remembers, and what a server makes of it."""

    def __init__(self, limits: SpanLimits | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(span_limits=limits)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def tracer(self) -> Tracer:
        return self.provider.get_tracer("somebody.else")

    def sent(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def received(self) -> list[Span]:
        return protobuf.decode(encode_spans(self.sent()).SerializeToString()).spans

    def assembly(self) -> Assembly:
        """Of the one trace that was recorded."""
        return assemble(self.received())

    def stage(self, stage_type: str) -> StageEvent:
        (found,) = [stage for stage in self.assembly().stages if stage.stage_type == stage_type]
        return found

    def assets(self) -> dict[str, list[str]]:
        """Stage type -> what it used, as `kind name vN`, in order; uses of no stage under the empty name."""
        assembly = self.assembly()
        types = {stage.stage_id: stage.stage_type for stage in assembly.stages}
        found: dict[str, list[str]] = {}
        for use in assembly.asset_uses:
            found.setdefault(types.get(use.stage_id, ""), []).append(shown(use))
        return found


def shown(use: AssetUse) -> str:
    return f"{use.kind} {use.name}" + (f" v{use.version}" if use.version else "")


@contextmanager
def recording(limits: SpanLimits | None = None, *, strict: bool = True) -> Iterator[Recording]:
    """Stages of this block go to a provider of its own; what goes wrong raises unless `strict` is off."""
    before = guard.strict(enabled=strict)
    guard.forget()
    made = Recording(limits)
    compat.use_provider(made.provider)
    try:
        yield made
    finally:
        compat.use_provider(None)
        content.use_content_policy(None)
        guard.forget()
        guard.strict(enabled=before)
        made.provider.shutdown()
