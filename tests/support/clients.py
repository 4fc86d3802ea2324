"""Senders as users have them: the unmodified SDK, and bare HTTP and gRPC calls where every byte counts."""

import gzip
from collections.abc import Sequence
from typing import Any

import grpc
import requests
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, StatusCode, format_span_id, format_trace_id
from opentelemetry.trace import Status as SpanStatus

from evalvault_otel.model import Span, Value
from evalvault_otel.server.otlp_grpc import SERVICE
from tests.support.otlp import otlp_message

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
EXPORT = f"/{SERVICE}/Export"
TIMEOUT_S = 15


def traced(exporter: SpanExporter) -> Sequence[ReadableSpan]:
    """Make two traces that use all an SDK offers, send them with `exporter`, and return what was sent."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "shop", "replicas": 3, "zones": ["a", "b"]}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("my.library", "1.2", "https://opentelemetry.io/schemas/1.30.0", {"tier": "gold"})
    with tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER) as root:
        root.set_attributes({"text": "보험금", "yes": True, "int": -(2**63), "double": 0.1, "texts": ["a", ""]})
        with tracer.start_as_current_span("retrieval", attributes={"evalvault.stage.type": "retrieval"}) as child:
            child.add_event("evalvault.asset.used", {"evalvault.asset.kind": "index", "evalvault.asset.name": "docs"})
        failing(tracer)
    with tracer.start_as_current_span("job", links=[Link(root.get_span_context(), {"why": "follows"})]) as job:
        job.set_status(SpanStatus(StatusCode.OK))
    assert provider.force_flush(TIMEOUT_S * 1000)
    provider.shutdown()
    return memory.get_finished_spans()


def failing(tracer: Any) -> None:
    """A span that ends by an exception, recorded by the SDK."""
    try:
        with tracer.start_as_current_span("rewrite", kind=SpanKind.CLIENT):
            raise ValueError("no closing quote")  # noqa: TRY301 - raised inside the span on purpose
    except ValueError:
        pass


def as_sent(item: ReadableSpan) -> dict[str, Any]:
    """What the SDK holds of a span, in the words of the archive."""
    context, scope = item.get_span_context(), item.instrumentation_scope
    assert context is not None
    assert scope is not None
    return {
        "ids": (
            format_trace_id(context.trace_id),
            format_span_id(context.span_id),
            format_span_id(item.parent.span_id) if item.parent else "",
        ),
        "name": item.name,
        "kind": item.kind.value + 1,
        "times": (item.start_time, item.end_time),
        "status": (item.status.status_code.value, item.status.description or ""),
        "attributes": _plain(item.attributes),
        "events": [(event.timestamp, event.name, _plain(event.attributes)) for event in item.events],
        "links": [(format_trace_id(link.context.trace_id), _plain(link.attributes)) for link in item.links],
        "resource": _plain(item.resource.attributes),
        "scope": (scope.name, scope.version, scope.schema_url, _plain(scope.attributes)),
    }


def as_stored(item: Span) -> dict[str, Any]:
    """The same of a stored span."""
    return {
        "ids": (item.trace_id, item.span_id, item.parent_span_id),
        "name": item.name,
        "kind": item.kind,
        "times": (item.start_ns, item.end_ns),
        "status": (item.status_code, item.status_message),
        "attributes": _plain(item.attributes),
        "events": [(event.time_ns, event.name, _plain(event.attributes)) for event in item.events],
        "links": [(link.trace_id, _plain(link.attributes)) for link in item.links],
        "resource": _plain(item.resource.attributes),
        "scope": (item.scope.name, item.scope.version, item.scope.schema_url, _plain(item.scope.attributes)),
    }


def _plain(attributes: Any) -> dict[str, Value]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in (attributes or {}).items()}


def body_of(spans: Sequence[Span]) -> bytes:
    """A protobuf request."""
    return otlp_message(spans).SerializeToString()


def post(http: str, body: Any, content_type: str = PROTOBUF, path: str = "/v1/traces", **headers: str) -> Any:
    """`POST` without following redirects; `_` in names of headers stands for `-`."""
    said = {"Content-Type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    url = f"http://{http}{path}"
    return requests.post(url, data=body, headers=said, timeout=TIMEOUT_S, allow_redirects=False)


def call(address: str, body: bytes, method: str = EXPORT, *, compress: bool = False) -> bytes:
    """A gRPC call with these bytes.

    Raises:
        grpc.RpcError: as the server answered.
    """
    compression = grpc.Compression.Gzip if compress else grpc.Compression.NoCompression
    with grpc.insecure_channel(address) as channel:
        answer: bytes = channel.unary_unary(method)(body, timeout=TIMEOUT_S, compression=compression)
        return answer


def refused(address: str, body: bytes, method: str = EXPORT, *, compress: bool = False) -> Any:
    """The error that a gRPC call gets."""
    try:
        answer = call(address, body, method, compress=compress)
    except grpc.RpcError as exc:
        return exc
    raise AssertionError(f"answered with {answer!r}")


def trailers(error: Any) -> dict[str, Any]:
    """The trailing metadata of an error."""
    return {item.key: item.value for item in error.trailing_metadata()}


def details(status: Status, kind: Any) -> list[Any]:
    """The details of this kind in a status."""
    found = []
    for item in status.details:
        message = kind()
        if item.Unpack(message):
            found.append(message)
    return found


def retry_delay_s(status: Status) -> float:
    """When to try again, by the one RetryInfo in a status."""
    (info,) = details(status, RetryInfo)
    return float(info.retry_delay.ToTimedelta().total_seconds())


def gzipped(body: bytes) -> bytes:
    """As `Content-Encoding: gzip` wants it."""
    return gzip.compress(body)
