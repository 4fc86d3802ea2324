"""OTLP/HTTP: `/v1/traces` and `/v1/logs`, protobuf and JSON. Never redirects: clients take a redirect for success."""

import asyncio
from typing import Final

from google.rpc.code_pb2 import INVALID_ARGUMENT, NOT_FOUND, UNAUTHENTICATED, UNIMPLEMENTED
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import EvalVaultError, TooLarge
from ..ingest import Room
from ..settings import Settings, join_address
from ..wire.answer import RETRY_AFTER_S, Accepted, Encoding, Failure, failure_body, success_body
from .keys import presented_key
from .receiver import LOGS, NOT_SERVED, TRACES, Export, Receiver

_ENCODINGS: Final = {encoding.value: encoding for encoding in Encoding}
# A client that set only host and port posts to "/". Whatever stands before the path is some proxy's affair.
_SIGNALS: Final = {
    "/v1/traces": TRACES,
    "/v1/logs": LOGS,
    "/v1/metrics": "metrics",
    "/v1development/profiles": "profiles",
}
_SERVED: Final = frozenset({TRACES, LOGS})
_NO_PATH: Final = "OTLP is taken at /v1/traces: set OTEL_EXPORTER_OTLP_ENDPOINT to http://host:port"
_CORS_HEADERS: Final = (
    *("content-type", "content-encoding", "traceparent", "tracestate"),
    *("authorization", "x-api-key", "api-key"),
)
_CORS_MAX_AGE_S: Final = 7200
# A client may take longer than the timeout as long as it sends this many bytes a second.
_LEAST_RATE: Final = 64 * 1024


class TooSlow(Exception):
    """A body that did not come in time."""


def create_otlp_http(receiver: Receiver, settings: Settings) -> ASGIApp:
    """The ASGI application of the OTLP/HTTP receiver."""
    endpoint = _Endpoint(receiver, settings)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint.answer(Request(scope, receive))
        await response(scope, receive, send)

    origins = [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["POST"],
        allow_headers=_CORS_HEADERS,
        expose_headers=["Retry-After"],
        max_age=_CORS_MAX_AGE_S,
    )


class _Endpoint:
    """One request in, one response out."""

    def __init__(self, receiver: Receiver, settings: Settings) -> None:
        self._receiver = receiver
        self._settings = settings

    async def answer(self, request: Request) -> Response:
        encoding = _encoding(request)
        signal = _signal(request.url.path)
        if signal is None:
            return _refusal(encoding, Failure(404, NOT_FOUND, _NO_PATH))
        if request.method != "POST":
            return _refusal(encoding, Failure(405, UNIMPLEMENTED, "use POST"), Allow="POST")
        if encoding is None:
            message = "Content-Type must be application/x-protobuf or application/json"
            return _refusal(None, Failure(415, INVALID_ARGUMENT, message))
        export = _export(request, encoding, signal)
        if signal in _SERVED:
            return await self._export(request, export)
        try:
            self._receiver.sender(export)
        except EvalVaultError as exc:
            return _refusal(encoding, self._receiver.failed(export, exc))
        if self._settings.other_signals == "discard":
            return _response(success_body(encoding, Accepted()), encoding, 200)
        return _refusal(encoding, Failure(404, UNIMPLEMENTED, NOT_SERVED))

    async def _export(self, request: Request, export: Export) -> Response:
        encoding = export.encoding

        async def read(room: Room) -> bytes:
            return await read_body(request, room, self._settings)

        try:
            accepted = await self._receiver.export(export, read)
        except ClientDisconnect:
            return Response(status_code=400)
        except TooSlow as exc:
            return _refusal(encoding, Failure(408, INVALID_ARGUMENT, str(exc)), Connection="close")
        except Exception as exc:  # noqa: BLE001 - every error has an answer
            return _refusal(encoding, self._receiver.failed(export, exc))
        return _response(success_body(encoding, accepted, export.signal), encoding, 200)


def _export(request: Request, encoding: Encoding, signal: str) -> Export:
    peer = join_address(request.client.host, request.client.port) if request.client else ""
    content_encoding = request.headers.get("content-encoding", "")
    return Export("http", peer, encoding, content_encoding, presented_key(request.headers.raw), signal)


def _encoding(request: Request) -> Encoding | None:
    """The encoding by content type, whatever its case and parameters."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return _ENCODINGS.get(media_type)


def _signal(path: str) -> str | None:
    path = path.rstrip("/")
    if not path:
        return "traces"
    return next((signal for end, signal in _SIGNALS.items() if path.endswith(end)), None)


async def read_body(request: Request, room: Room, settings: Settings) -> bytes:
    """The body, counted while it arrives: clients may send it in chunks without a length.

    Raises:
        TooLarge: it is larger than a request may be.
        TooSlow: it does not come in time.
        Overloaded: there is no room for it.
    """
    limit, patience_s = settings.max_request_bytes, settings.read_timeout_s
    said = request.headers.get("content-length", "")
    if said.isdigit():
        _check_size(int(said), limit)
        room.fit(int(said))
    parts: list[bytes] = []
    size = 0
    started = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(started + patience_s) as timeout:
            async for part in request.stream():
                size += len(part)
                _check_size(size, limit)
                room.fit(size)
                parts.append(part)
                timeout.reschedule(started + patience_s + size / _LEAST_RATE)
    except TimeoutError as exc:
        raise TooSlow(f"only {size} bytes of the body came in time") from exc
    return b"".join(parts)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")


def _refusal(encoding: Encoding | None, failed: Failure, **headers: str) -> Response:
    # Whoever sends neither of the two types is most likely a person with curl.
    encoding = encoding or Encoding.JSON
    response = _response(failure_body(encoding, failed), encoding, failed.http_status)
    response.headers.update(headers)
    if failed.grpc_code == UNAUTHENTICATED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if failed.retryable:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _response(body: bytes, encoding: Encoding, status_code: int) -> Response:
    # The Collector compares the content type exactly, so no charset may be added.
    return Response(body, status_code, headers={"Content-Type": encoding.value})
