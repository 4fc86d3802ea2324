"""Spans of a pipeline as OTLP/JSON lines, one line a trace, without anything that tells of the machine.

This runs in a framework's own environment: it needs the OpenTelemetry SDK and its protobuf encoder, nothing of ours.
"""

import base64
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Instrument = Callable[[], None]

_IDS = ("traceId", "spanId", "parentSpanId")
# Folders of the machine in tracebacks and reprs: what is left names the package and the file.
_FOLDERS = re.compile(r"(?:/[\w.@+-]+)+/(?=site-packages/|tests/|lib/python)")
# Where a fake happened to be in memory.
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b")
_PORT = re.compile(r"(127\.0\.0\.1:)\d{4,5}")


def record(instrumentations: Mapping[str, Instrument], pipeline: Callable[[], None]) -> None:
    """Run `pipeline` under the instrumentation that the command line names, and write its spans to the file it names.

    No limit of the SDK drops attributes here, so that the recordings show what an instrumentation says, not the limits.
    """
    name, path = sys.argv[1:]
    finished = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=10_000, max_events=10_000)
    provider = TracerProvider(resource=Resource({"service.name": "interop"}), span_limits=limits)
    provider.add_span_processor(SimpleSpanProcessor(finished))
    trace.set_tracer_provider(provider)
    instrumentations[name]()
    pipeline()
    provider.shutdown()
    Path(path).write_text("".join(_lines(finished.get_finished_spans())))


def _lines(spans: Sequence[ReadableSpan]) -> Iterable[str]:
    ordered = sorted(spans, key=lambda span: span.start_time or 0)
    traces: dict[int, list[ReadableSpan]] = {}
    for span in ordered:
        context = span.get_span_context()
        traces.setdefault(context.trace_id if context else 0, []).append(span)
    for items in traces.values():
        document = MessageToDict(encode_spans(items), use_integers_for_enums=True)
        yield _scrubbed(json.dumps(_as_otlp(document), ensure_ascii=False)) + "\n"


def _as_otlp(value: Any) -> Any:
    """Protobuf's JSON with ids in hex, as OTLP wants them."""
    if isinstance(value, list):
        return [_as_otlp(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _hex(inner) if key in _IDS else _as_otlp(inner) for key, inner in value.items()}


def _hex(encoded: str) -> str:
    return base64.b64decode(encoded).hex()


def _scrubbed(line: str) -> str:
    return _PORT.sub(r"\g<1>4010", _ADDRESS.sub("0x0", _FOLDERS.sub("", line)))
