"""OTLP protobuf: what is refused, what is ignored."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from evalvault_otel.errors import Undecodable
from evalvault_otel.model import SpanEvent, SpanLink
from evalvault_otel.wire import Decoded, identity, protobuf
from evalvault_otel.wire.fields import with_length
from tests.support.otlp import otlp_message
from tests.support.traces import TRACE_ID, exact, span


def _message() -> tuple[ExportTraceServiceRequest, SpanMessage]:
    """A request with one span, and that span to change."""
    request = otlp_message([span(1)])
    return request, request.resource_spans[0].scope_spans[0].spans[0]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"hello, this is text",
        b'{"resourceSpans": []}',
        otlp_message([span(1)]).SerializeToString()[:-5],
    ],
)
def test_what_is_no_export_request_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable, match="not an OTLP ExportTraceServiceRequest"):
        protobuf.decode(body)


def test_an_empty_request_has_no_spans() -> None:
    assert protobuf.decode(b"") == Decoded([], [])


@pytest.mark.parametrize(
    "trace_id, span_id, reason",
    [
        (b"", b"", "trace_id has 0 bytes instead of 16 (was this a metrics or logs request sent to /v1/traces?)"),
        (bytes(15), b"\1" * 8, "trace_id has 15 bytes instead of 16"),
        (bytes(16), b"\1" * 8, "trace_id is all zeros"),
        (b"\1" * 16, b"\1" * 16, "span_id has 16 bytes instead of 8"),
        (b"\1" * 16, b"", "span_id has 0 bytes instead of 8"),
        (b"\1" * 16, bytes(8), "span_id is all zeros"),
    ],
)
def test_a_bad_id_rejects_the_span_and_keeps_its_bytes(trace_id: bytes, span_id: bytes, reason: str) -> None:
    # Given a good span and one with a bad id
    request, good = _message()
    request.resource_spans[0].scope_spans[0].spans.add(name="bad", trace_id=trace_id, span_id=span_id)

    decoded = protobuf.decode(request.SerializeToString())

    # Then the good one is read, and the other is a reject that still says all
    assert [found.name for found in decoded.spans] == [good.name]
    (reject,) = decoded.rejects
    assert reject.reason.startswith(reason)
    request.resource_spans[0].scope_spans[0].spans.remove(good)
    assert ExportTraceServiceRequest.FromString(reject.payload) == request
    assert (reject.encoding, reject.signal, reject.count) == ("protobuf", "traces", 1)


def test_unknown_fields_are_ignored() -> None:
    request, _ = _message()
    unknown = b"\xfa\x3e\x03abc"  # field 1007, three bytes

    assert protobuf.decode(request.SerializeToString() + unknown).spans == [span(1)]


def test_a_string_table_index_counts_as_absent() -> None:
    request, message = _message()
    message.attributes.append(KeyValue(key="k", value=AnyValue(string_value_strindex=3)))

    assert protobuf.decode(request.SerializeToString()).spans == [span(1, attributes={"k": None})]


def test_a_key_in_a_string_table_counts_as_absent() -> None:
    request, message = _message()
    message.attributes.append(KeyValue(key_strindex=7, value=AnyValue(int_value=3)))

    assert protobuf.decode(request.SerializeToString()).spans == [span(1, attributes={"": 3})]


def test_entity_references_of_a_resource_are_ignored() -> None:
    request, _ = _message()
    # Field 3 of Resource, in development: EntityRef{type: "service", id_keys: "service.name"}.
    entity = with_length(3, with_length(2, b"service") + with_length(3, b"service.name"))
    group = request.resource_spans[0]
    group.resource.MergeFromString(entity)

    assert protobuf.decode(request.SerializeToString()).spans == [span(1)]


@pytest.mark.parametrize("flags", [0, 1, 0x100, 0x300, 0x101, 0xFFFFFFFF])
def test_flags_are_kept_with_all_their_bits(flags: int) -> None:
    request, message = _message()
    message.flags = flags

    assert protobuf.decode(request.SerializeToString()).spans == [span(1, flags=flags)]


def test_a_span_without_kind_name_and_times_is_kept() -> None:
    body = with_length(1, bytes.fromhex(TRACE_ID)) + with_length(2, bytes.fromhex(span(1).span_id))

    (found,) = protobuf.decode(with_length(1, with_length(2, with_length(2, body)))).spans

    assert (found.kind, found.name, found.start_ns, found.end_ns, found.status_code) == (0, "", 0, 0, 0)


def test_every_form_of_value_is_kept_in_attributes_of_everything() -> None:
    value: dict[str, object] = {
        "empty": None,
        "list": [1, 1.5, "a", b"b", True, None, [], {}, [[1]]],
        "map": {"a": {"b": [{}]}},
        "": b"",
    }
    sent = span(
        1,
        attributes=value,
        events=(SpanEvent(1, "e", value),),
        links=(SpanLink(TRACE_ID, "", "", value),),
        resource=identity.resource(value, 0, ""),
        scope=identity.scope("s", "", value, 0, ""),
    )

    assert exact(protobuf.decode(otlp_message([sent]).SerializeToString()).spans) == exact([sent])


def test_of_a_key_given_twice_the_last_value_wins() -> None:
    request, message = _message()
    message.attributes.extend([KeyValue(key="k", value=AnyValue(int_value=number)) for number in (1, 2)])

    assert protobuf.decode(request.SerializeToString()).spans == [span(1, attributes={"k": 2})]


@pytest.mark.parametrize(
    "body",
    [
        # ExportMetricsServiceRequest{resource_metrics{scope_metrics{metrics{name: "m"}}}}
        b"\x0a\x07\x12\x05\x12\x03\x0a\x01m",
        # ExportLogsServiceRequest{resource_logs{scope_logs{log_records{time_unix_nano: 1}}}}
        b"\x0a\x0d\x12\x0b\x12\x09\x09\x01\0\0\0\0\0\0\0",
    ],
)
def test_another_signal_on_the_traces_path_is_recognized(body: bytes) -> None:
    decoded = protobuf.decode(body)

    assert decoded.spans == []
    assert "was this a metrics or logs request sent to /v1/traces?" in decoded.rejects[0].reason


def test_equal_resources_and_scopes_have_equal_ids_and_different_ones_differ() -> None:
    request = otlp_message([span(1), span(2), span(3)])
    request.resource_spans[2].resource.attributes.add(key="n", value=AnyValue(int_value=1))
    changed = ExportTraceServiceRequest.FromString(request.SerializeToString())
    changed.resource_spans[2].resource.attributes[-1].value.double_value = 1.0

    first, second, third = protobuf.decode(request.SerializeToString()).spans
    other = protobuf.decode(changed.SerializeToString()).spans[2]

    assert first.trace_id == TRACE_ID
    assert first.resource == second.resource
    assert first.scope == second.scope == third.scope
    assert len({first.resource.id, third.resource.id, other.resource.id}) == 3
