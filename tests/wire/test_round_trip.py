"""What came in can be written out again: over protobuf, over JSON, and through the archive of every store."""

from dataclasses import replace

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from evalvault_otel.model import Span
from evalvault_otel.store import Store
from evalvault_otel.wire import otlp_json, protobuf
from tests.support.otlp import otlp_document, otlp_message
from tests.support.strategies import bounded, spans
from tests.support.traces import archived, batches, distinct, exact, new_trace_id, sid, span

requests = st.lists(spans, max_size=4)


def _said(message: ExportTraceServiceRequest) -> list[tuple[bytes, ...]]:
    """What a request says of each span, however it groups them."""
    return [
        (
            of_resource.resource.SerializeToString(deterministic=True),
            of_resource.schema_url.encode(),
            of_scope.scope.SerializeToString(deterministic=True),
            of_scope.schema_url.encode(),
            item.SerializeToString(deterministic=True),
        )
        for of_resource in message.resource_spans
        for of_scope in of_resource.scope_spans
        for item in of_scope.spans
    ]


@settings(bounded, max_examples=150)
@given(sent=requests)
def test_protobuf_and_json_of_the_same_spans_are_read_alike(sent: list[Span]) -> None:
    by_protobuf = protobuf.decode(otlp_message(sent).SerializeToString())
    by_json = otlp_json.decode(orjson.dumps(otlp_document(sent)))

    assert exact(by_protobuf.spans) == exact(sent)
    assert exact(by_json.spans) == exact(sent)
    assert by_protobuf.rejects == by_json.rejects == []


@settings(bounded, max_examples=150)
@given(sent=requests)
def test_what_is_written_as_protobuf_is_the_message_that_came(sent: list[Span]) -> None:
    message = otlp_message(sent)

    written = ExportTraceServiceRequest.FromString(protobuf.encode(protobuf.decode(message.SerializeToString()).spans))

    assert _said(written) == _said(message)


@settings(bounded, max_examples=150)
@given(sent=requests)
def test_what_is_written_as_json_is_the_document_that_came(sent: list[Span]) -> None:
    written = otlp_json.encode(otlp_json.decode(orjson.dumps(otlp_document(sent))).spans)

    assert _each(orjson.loads(written)) == [exact(item) for item in orjson.loads(orjson.dumps(_documents(sent)))]


def _documents(sent: list[Span]) -> list[dict[str, object]]:
    return [_single(*parts) for parts in _parts(otlp_document(sent))]


def _each(document: dict[str, object]) -> list[str]:
    return [exact(_single(*parts)) for parts in _parts(document)]


def _parts(document: dict[str, object]):  # type: ignore[no-untyped-def]  # nested plain JSON
    for of_resource in document["resourceSpans"]:  # type: ignore[attr-defined]  # as above
        for of_scope in of_resource["scopeSpans"]:
            for item in of_scope["spans"]:
                yield of_resource, of_scope, item
