"""OTLP clients that send ready bytes: no SDK, retry or queue, so that nothing hides what the server does."""

import http.client
from types import TracebackType
from typing import Protocol, Self

import grpc
import orjson
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_TIMEOUT_S = 60.0
_SHOWN = 200
_RETRY_INFO = "google.rpc.retryinfo-bin"
CONTENT_TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}


class Refused(Exception):
    """The server did not acknowledge a request; the message says what it answered.

    `hinted` is whether the answer says when to send again.
    """

    def __init__(self, message: str, *, hinted: bool = False) -> None:
        super().__init__(message)
        self.hinted = hinted


class Client(Protocol):
    """A connection over which requests are sent one after the other."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def export(self, payload: bytes) -> None:
        """Send a request and return when all of it is acknowledged.

        Raises:
            Refused: any other answer, or none within a minute.
        """


class Connection:
    """One TCP connection of its own: gRPC shares connections between channels unless told otherwise."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        self._call = self._channel.unary_unary(
            _METHOD, request_serializer=None, response_deserializer=ExportTraceServiceResponse.FromString
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._channel.close()

    def export(self, payload: bytes) -> None:
        """See `Client.export`."""
        try:
            answer = self._call(payload, timeout=_TIMEOUT_S)
        except grpc.RpcError as exc:
            hinted = any(key == _RETRY_INFO for key, _ in exc.trailing_metadata() or ())
            raise Refused(f"{exc.code().name}: {exc.details()}", hinted=hinted) from exc
        if answer.partial_success.rejected_spans:
            raise Refused(f"rejected {answer.partial_success.rejected_spans}: {answer.partial_success.error_message}")


class HttpConnection:
    """One connection of HTTP/1.1 that is kept; opened anew when the server closed it after an answer."""

    def __init__(self, target: str, encoding: str = "protobuf") -> None:
        self._connection = http.client.HTTPConnection(target, timeout=_TIMEOUT_S)
        self._headers = {"Content-Type": CONTENT_TYPES[encoding]}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._connection.close()

    def export(self, payload: bytes) -> None:
        """See `Client.export`."""
        try:
            self._connection.request("POST", "/v1/traces", payload, self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            self._connection.close()
            raise Refused(f"connection lost: {exc!r}") from exc
        if answer.status != http.HTTPStatus.OK:
            raise Refused(f"HTTP {answer.status}: {_said(body, answer)}", hinted="Retry-After" in answer.headers)
        if _rejected(body, self._headers["Content-Type"]):
            raise Refused(f"rejected some: {body[:200]!r}")


def _said(body: bytes, answer: http.client.HTTPResponse) -> str:
    """The message of a refusal."""
    if answer.getheader("Content-Type") != CONTENT_TYPES["protobuf"]:
        return body[:_SHOWN].decode(errors="replace")
    return str(Status.FromString(body).message)


def _rejected(body: bytes, content_type: str) -> bool:
    if content_type == CONTENT_TYPES["json"]:
        return bool(orjson.loads(body).get("partialSuccess"))
    return bool(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)


def connect(target: str, transport: str, encoding: str) -> Client:
    """A connection of its own; gRPC knows protobuf only."""
    return Connection(target) if transport == "grpc" else HttpConnection(target, encoding)
