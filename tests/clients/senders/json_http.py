"""A small traced program over the Python exporter of OTLP/JSON: `json_http.py <endpoint> <compression>`.

It runs in an environment of its own, so it imports nothing of this project. It prints the spans it made, one JSON
object per line, in the words of tests/support/dump.py.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry.exporter.otlp.common.http import Compression
from opentelemetry.exporter.otlp.json.http.trace_exporter import (  # type: ignore[import-not-found]  # of its own env
    OTLPSpanExporter,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode


def main(endpoint: str, compression: str) -> None:
    remembered = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "json-app", "numbers": (1, 2), "ratio": 1.0}))
    provider.add_span_processor(SimpleSpanProcessor(remembered))
    exporter = OTLPSpanExporter(endpoint, compression=Compression(compression))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    make_spans(provider)
    provider.shutdown()
    for item in remembered.get_finished_spans():
        sys.stdout.write(json.dumps(as_dump(item)) + "\n")


def make_spans(provider: TracerProvider) -> None:
    tracer = provider.get_tracer("my.tracer", "1.2", "https://example.com/schema", {"scope.attribute": True})
    with tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER) as root:
        root.set_attributes({"text": "보험 \U0001f600", "flag": False, "count": 2**62, "whole": 1.0, "list": ["a"]})
        root.set_attributes({"large": 1e300, "tiny": 5e-324, "negative": -(2**63), "nothing": ""})
        root.add_event("evalvault.asset.used", {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"})
        with tracer.start_as_current_span("retrieve", attributes={"evalvault.stage.type": "retrieval"}) as inner:
            inner.set_attribute("evalvault.retrieval.scores", [1.0, 0.25])
            inner.set_status(Status(StatusCode.ERROR, "no index"))
        with tracer.start_as_current_span("answer", attributes={"evalvault.stage.type": "output"}) as last:
            last.record_exception(KeyError("k"))
            last.set_status(StatusCode.OK)


def as_dump(item: ReadableSpan) -> dict[str, Any]:
    scope, context = item.instrumentation_scope, item.context
    assert scope is not None
    return {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent_span_id": f"{item.parent.span_id:016x}" if item.parent else "",
        "trace_state": "",
        "flags": 0x100,
        "name": item.name,
        "kind": item.kind.value + 1,
        "start_ns": item.start_time,
        "end_ns": item.end_time,
        "status_code": item.status.status_code.value,
        "status_message": item.status.description or "",
        "attributes": plain(item.attributes),
        "events": [{"time_ns": e.timestamp, "name": e.name, "attributes": plain(e.attributes)} for e in item.events],
        "links": [],
        "resource": {"attributes": plain(item.resource.attributes), "schema_url": item.resource.schema_url},
        "scope": {
            "name": scope.name,
            "version": scope.version,
            "attributes": plain(scope.attributes),
            "schema_url": scope.schema_url,
        },
    }


def plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(attributes or {})


if __name__ == "__main__":
    main(*sys.argv[1:])
