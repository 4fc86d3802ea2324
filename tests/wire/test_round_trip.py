"""What came in can be written out again: over protobuf, over JSON, and through the archive of every store."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from evalvault_otel.model import Span
from evalvault_otel.store import Store
from evalvault_otel.wire import otlp_json, protobuf
from tests.support.otlp import otlp_document, otlp_message
from tests.support.strategies import bounded, spans
from tests.support.traces import archived, batches, distinct, exact, golden_names, golden_spans, new_trace_id

requests = st.lists(spans, max_size=4)


def _in_message(message: ExportTraceServiceRequest) -> list[tuple[bytes, ...]]:
    """What a protobuf request says of each span, however it groups them."""
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


def _in_document(document: dict[str, Any]) -> list[bytes]:
    """What a JSON request says of each span, however it groups them; the bytes tell 1 from 1.0."""
    return [orjson.dumps(said, option=orjson.OPT_SORT_KEYS) for said in _singles(document)]


def _singles(document: dict[str, Any]) -> Iterator[list[Any]]:
    for of_resource in document["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for item in of_scope["spans"]:
                schemas = [of_resource["schemaUrl"], of_scope["schemaUrl"]]
                yield [of_resource["resource"], of_scope["scope"], schemas, item]


@settings(bounded, max_examples=150)
@given(sent=requests)
def test_protobuf_and_json_of_the_same_spans_are_read_alike(sent: list[Span]) -> None:
    by_protobuf = protobuf.decode(otlp_message(sent).SerializeToString())
    by_json = otlp_json.decode(orjson.dumps(otlp_document(sent)))

    assert exact(by_protobuf.spans) == exact(sent)
    assert exact(by_json.spans) == exact(sent)
    assert by_protobuf.rejects == by_json.rejects == []


@settings(bounded, max_examples=100)
@given(sent=requests)
def test_protobuf_written_out_is_the_message_that_came(sent: list[Span]) -> None:
    message = otlp_message(sent)

    written = protobuf.encode(protobuf.decode(message.SerializeToString()).spans)

    assert _in_message(ExportTraceServiceRequest.FromString(written)) == _in_message(message)


@settings(bounded, max_examples=100)
@given(sent=requests)
def test_json_written_out_is_the_document_that_came(sent: list[Span]) -> None:
    document = otlp_document(sent)

    written = otlp_json.encode(otlp_json.decode(orjson.dumps(document)).spans)

    assert _in_document(orjson.loads(written)) == _in_document(document)


def test_spans_of_one_resource_and_scope_are_written_as_one_group() -> None:
    sent = golden_spans("langchain")

    message = ExportTraceServiceRequest.FromString(protobuf.encode(sent))
    document = orjson.loads(otlp_json.encode(sent))

    assert [[len(s.spans) for s in r.scope_spans] for r in message.resource_spans] == [[len(sent)]]
    assert [[len(s["spans"]) for s in r["scopeSpans"]] for r in document["resourceSpans"]] == [[len(sent)]]


def _archived(store: Store, sent: list[Span]) -> tuple[list[Span], list[Span]]:
    """What the archive gives back of a trace with these spans, and what it should."""
    trace_id = new_trace_id()
    trace = [replace(item, trace_id=trace_id) for item in distinct(sent)]
    store.write(batches(*trace), [], 1)
    return sorted(store.spans(trace_id), key=_id), sorted(map(archived, trace), key=_id)


def _id(item: Span) -> str:
    return item.span_id


def test_the_archive_gives_back_what_came(store: Store) -> None:
    @settings(bounded, max_examples=60)
    @given(sent=st.lists(spans, min_size=1, max_size=3))
    def check(sent: list[Span]) -> None:
        found, expected = _archived(store, sent)

        assert exact(found) == exact(expected)
        assert _in_message(ExportTraceServiceRequest.FromString(protobuf.encode(found))) == _in_message(
            otlp_message(expected)
        )
        assert _in_document(orjson.loads(otlp_json.encode(found))) == _in_document(otlp_document(expected))

    check()


def test_golden_traces_leave_the_archive_as_they_came(store: Store) -> None:
    for name in golden_names():
        found, expected = _archived(store, golden_spans(name))

        assert exact(found) == exact(expected), name
