"""Answers to clients: one table of errors, bodies in both encodings, hints in the places where clients look."""

import orjson
import pytest
from google.rpc.code_pb2 import (
    INTERNAL,
    INVALID_ARGUMENT,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
)
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from evalvault_otel.errors import (
    Forbidden,
    InvalidInput,
    Overloaded,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Undecodable,
)
from evalvault_otel.wire.answer import Accepted, Encoding, Failure, failure, failure_body, status, success_body
from evalvault_otel.wire.inflate import UnknownEncoding

_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


@pytest.mark.parametrize(
    "error, expected",
    [
        (Undecodable("why"), Failure(400, INVALID_ARGUMENT, "why")),
        (InvalidInput("why"), Failure(400, INVALID_ARGUMENT, "why")),
        (TooLarge("why"), Failure(413, RESOURCE_EXHAUSTED, "why")),
        (UnknownEncoding("why"), Failure(415, INVALID_ARGUMENT, "why")),
        (Unauthenticated("why"), Failure(401, UNAUTHENTICATED, "why")),
        (Forbidden("why"), Failure(403, PERMISSION_DENIED, "why")),
        (RateLimited("why"), Failure(429, RESOURCE_EXHAUSTED, "why", retryable=True)),
        (Unavailable("why"), Failure(503, UNAVAILABLE, "why", retryable=True)),
        (Overloaded("why"), Failure(503, UNAVAILABLE, "why", retryable=True)),
        (KeyError("a secret"), Failure(500, INTERNAL, "internal error; the server's log has the details")),
    ],
)
def test_every_error_has_one_answer(error: Exception, expected: Failure) -> None:
    assert failure(error) == expected


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_full_success_leaves_partial_success_unset(signal: str) -> None:
    assert success_body(Encoding.PROTOBUF, Accepted(), signal) == b""
    assert success_body(Encoding.JSON, Accepted(), signal) == b"{}"


def test_partial_success_says_how_many_and_why() -> None:
    accepted = Accepted(2, "trace_id is all zeros")

    response = ExportTraceServiceResponse.FromString(success_body(Encoding.PROTOBUF, accepted))
    document = orjson.loads(success_body(Encoding.JSON, accepted))

    assert response.partial_success.rejected_spans == 2
    assert response.partial_success.error_message == "trace_id is all zeros"
    assert document == {"partialSuccess": {"rejectedSpans": "2", "errorMessage": "trace_id is all zeros"}}


def test_partial_success_of_logs_names_log_records() -> None:
    accepted = Accepted(2, "span_id is all zeros")

    response = ExportLogsServiceResponse.FromString(success_body(Encoding.PROTOBUF, accepted, "logs"))
    document = orjson.loads(success_body(Encoding.JSON, accepted, "logs"))

    assert response.partial_success.rejected_log_records == 2
    assert response.partial_success.error_message == "span_id is all zeros"
    assert document == {"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "span_id is all zeros"}}


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_a_warning_is_a_message_and_nothing_rejected(signal: str) -> None:
    warning = Accepted(0, "metrics are discarded")

    response = ExportTraceServiceResponse.FromString(success_body(Encoding.PROTOBUF, warning, signal))

    assert response.partial_success.rejected_spans == 0
    assert response.partial_success.error_message == "metrics are discarded"
    assert (
        success_body(Encoding.JSON, warning, signal) == b'{"partialSuccess":{"errorMessage":"metrics are discarded"}}'
    )


@pytest.mark.parametrize("long", ["x" * 100_000, "보험" * 50_000, "\0" * 100_000, "\ud800" * 100_000])
def test_messages_are_bounded_in_bytes(long: str) -> None:
    failed = failure(Undecodable(long))
    # What gRPC sends: the message with each odd byte as %XX, the details in base64.
    headers = 3 * len(failed.message.encode()) + len(status(failed).SerializeToString()) * 4 / 3

    assert len(success_body(Encoding.PROTOBUF, Accepted(1, long))) < 2048
    assert len(success_body(Encoding.JSON, Accepted(1, long))) < 8192
    assert len(failure_body(Encoding.JSON, failed)) < 16384
    assert headers < 8192 - 1024


def test_a_failure_is_a_status_with_details() -> None:
    bad = Status.FromString(failure_body(Encoding.PROTOBUF, failure(Undecodable("not JSON"))))
    away = Status.FromString(failure_body(Encoding.PROTOBUF, failure(Unavailable("away"))))
    large = Status.FromString(failure_body(Encoding.PROTOBUF, failure(TooLarge("large"))))

    request = BadRequest()
    assert bad.details[0].Unpack(request)
    assert request.field_violations[0].description == "not JSON"
    hint = RetryInfo()
    assert away.details[0].Unpack(hint)
    assert hint.retry_delay.ToTimedelta().total_seconds() == 1
    # Too large comes back as it is: a retry hint would make the client try again.
    assert list(large.details) == []


@pytest.mark.parametrize(
    "error, document",
    [
        (
            Unavailable("away"),
            {"code": UNAVAILABLE, "message": "away", "details": [{"@type": _RETRY_INFO, "retryDelay": "1s"}]},
        ),
        (
            RateLimited("slower"),
            {"code": RESOURCE_EXHAUSTED, "message": "slower", "details": [{"@type": _RETRY_INFO, "retryDelay": "1s"}]},
        ),
        (
            Undecodable("no JSON"),
            {
                "code": INVALID_ARGUMENT,
                "message": "no JSON",
                "details": [{"@type": _BAD_REQUEST, "fieldViolations": [{"field": "body", "description": "no JSON"}]}],
            },
        ),
        (TooLarge("large"), {"code": RESOURCE_EXHAUSTED, "message": "large"}),
        (Unauthenticated("who?"), {"code": UNAUTHENTICATED, "message": "who?"}),
    ],
)
def test_a_failure_in_json_is_the_same_status(error: Exception, document: object) -> None:
    assert orjson.loads(failure_body(Encoding.JSON, failure(error))) == document
