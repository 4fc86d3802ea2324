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
from evalvault_otel.wire.answer import Accepted, Encoding, Failure, failure, failure_body, success_body


@pytest.mark.parametrize(
    "error, expected",
    [
        (Undecodable("why"), Failure(400, INVALID_ARGUMENT, "why")),
        (InvalidInput("why"), Failure(400, INVALID_ARGUMENT, "why")),
        (TooLarge("why"), Failure(413, RESOURCE_EXHAUSTED, "why")),
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


def test_full_success_leaves_partial_success_unset() -> None:
    assert success_body(Encoding.PROTOBUF, Accepted()) == b""
    assert success_body(Encoding.JSON, Accepted()) == b"{}"


def test_partial_success_says_how_many_and_why() -> None:
    accepted = Accepted(2, "trace_id is all zeros")

    response = ExportTraceServiceResponse.FromString(success_body(Encoding.PROTOBUF, accepted))
    document = orjson.loads(success_body(Encoding.JSON, accepted))

    assert response.partial_success.rejected_spans == 2
    assert response.partial_success.error_message == "trace_id is all zeros"
    assert document == {"partialSuccess": {"rejectedSpans": "2", "errorMessage": "trace_id is all zeros"}}


def test_messages_are_bounded() -> None:
    long = "x" * 100_000

    assert len(success_body(Encoding.PROTOBUF, Accepted(1, long))) < 4096
    assert len(success_body(Encoding.JSON, Accepted(1, long))) < 4096
    assert len(failure_body(Encoding.PROTOBUF, failure(Undecodable(long)))) < 8192


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
    assert orjson.loads(failure_body(Encoding.JSON, failure(Unavailable("away")))) == {
        "code": UNAVAILABLE,
        "message": "away",
    }
