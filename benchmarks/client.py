"""An OTLP/gRPC client that sends ready bytes: no SDK, retry or queue, so that nothing hides what the server does."""

from types import TracebackType
from typing import Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_TIMEOUT_S = 60.0


class Refused(Exception):
    """The server did not acknowledge a request; the message says what it answered."""


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
        """Send a request and return when all of it is acknowledged.

        Raises:
            Refused: any other answer, or none within a minute.
        """
        try:
            answer = self._call(payload, timeout=_TIMEOUT_S)
        except grpc.RpcError as exc:
            raise Refused(f"{exc.code().name}: {exc.details()}") from exc
        if answer.partial_success.rejected_spans:
            raise Refused(f"rejected {answer.partial_success.rejected_spans}: {answer.partial_success.error_message}")
