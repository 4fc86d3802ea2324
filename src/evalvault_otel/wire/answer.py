"""What a receiver answers: one table from errors to HTTP and gRPC codes, bodies in the encoding of the request.

Source: opentelemetry-proto, docs/specification.md (responses, failures, throttling) and google.rpc.Status.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
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

from ..errors import EvalVaultError, Forbidden, InvalidInput, RateLimited, TooLarge, Unauthenticated, Unavailable
from .inflate import UnknownEncoding

# Clients give up when told to wait longer than what is left of their own deadline (10 s in all for Python).
RETRY_AFTER_S: Final = 1
# Bytes. Over gRPC a message goes out up to three times, escaped, and headers of 8 KiB are the most that clients take.
_MAX_MESSAGE: Final = 1000


class Encoding(Enum):
    """The two encodings of OTLP; the value is the exact content type of request and answer."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a request that was not refused as a whole."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """How an error looks to a client."""

    http_status: int
    grpc_code: int
    message: str
    retryable: bool = False


# The first class that fits counts.
_TABLE: tuple[tuple[type[Exception], int, int], ...] = (
    (TooLarge, 413, RESOURCE_EXHAUSTED),
    (UnknownEncoding, 415, INVALID_ARGUMENT),
    (InvalidInput, 400, INVALID_ARGUMENT),
    (Unauthenticated, 401, UNAUTHENTICATED),
    (Forbidden, 403, PERMISSION_DENIED),
    (RateLimited, 429, RESOURCE_EXHAUSTED),
    (Unavailable, 503, UNAVAILABLE),
)


def failure(error: Exception) -> Failure:
    """The failure that tells a client about `error`; anything unforeseen is a plain internal error."""
    for kind, http_status, grpc_code in _TABLE:
        if isinstance(error, kind):
            retryable = isinstance(error, EvalVaultError) and error.retryable
            return Failure(http_status, grpc_code, _bounded(str(error)), retryable)
    return Failure(500, INTERNAL, "internal error; the server's log has the details")


def success_body(encoding: Encoding, accepted: Accepted, signal: str = "traces") -> bytes:
    """An `ExportTraceServiceResponse` or `ExportLogsServiceResponse`: empty when there is nothing to say.

    Otherwise it has `partial_success`: records that were rejected, or only a message, which is a warning.
    """
    message, (response, rejected, json_rejected) = _bounded(accepted.message), _RESPONSES[signal]
    if encoding is Encoding.JSON:
        partial = {json_rejected: str(accepted.rejected)} if accepted.rejected else {}
        if message:
            partial["errorMessage"] = message
        return orjson.dumps({"partialSuccess": partial} if partial else {})
    if not accepted.rejected and not message:
        return b""
    return response(partial_success={rejected: accepted.rejected, "error_message": message}).SerializeToString()


_RESPONSES: Final[dict[str, tuple[Callable[..., Message], str, str]]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans", "rejectedSpans"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records", "rejectedLogRecords"),
}


def failure_body(encoding: Encoding, failed: Failure) -> bytes:
    """A `google.rpc.Status` with its details."""
    said = status(failed)
    return orjson.dumps(MessageToDict(said)) if encoding is Encoding.JSON else said.SerializeToString()


def status(failed: Failure) -> Status:
    """`google.rpc.Status` with RetryInfo where trying again helps, BadRequest where it does not."""
    result = Status(code=failed.grpc_code, message=failed.message)
    if failed.retryable:
        result.details.add().Pack(retry_info())
    elif failed.grpc_code == INVALID_ARGUMENT:
        violation = BadRequest.FieldViolation(field="body", description=failed.message)
        result.details.add().Pack(BadRequest(field_violations=[violation]))
    return result


def retry_info() -> RetryInfo:
    """When to try again."""
    return RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_S))


def _bounded(message: str) -> str:
    """As much of a message as an answer may have (specification: trim the message when the answer is too large)."""
    written = message.encode(errors="replace")
    return written[:_MAX_MESSAGE].decode(errors="ignore") if len(written) > _MAX_MESSAGE else written.decode()
