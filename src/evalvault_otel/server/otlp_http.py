"""OTLP/HTTP: `POST /v1/traces` in protobuf and JSON. Never redirects: clients take a redirect for success."""

import logging

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import EvalVaultError, TooLarge
from ..settings import Settings
from ..wire.answer import RETRY_AFTER_S, Encoding, Failure, failure, failure_body, success_body
from ..wire.inflate import UnknownEncoding, inflate
from .receiver import Receiver

_LOG = logging.getLogger(__name__)
_WORKERS = 64
_ENCODINGS = {encoding.value: encoding for encoding in Encoding}
_NOT_SERVED = (
    "this server takes traces only: POST /v1/traces (set OTEL_METRICS_EXPORTER=none and OTEL_LOGS_EXPORTER=none)"
)


def create_otlp_http(receiver: Receiver, settings: Settings) -> Starlette:
    """The ASGI application of the OTLP/HTTP receiver."""
    limiter = CapacityLimiter(_WORKERS)

    async def traces(request: Request) -> Response:
        encoding = _encoding(request)
        if encoding is None:
            message = "Content-Type must be application/x-protobuf or application/json"
            return Response(message, 415, media_type="text/plain")
        try:
            body = await _read(request, settings.max_request_bytes)
        except EvalVaultError as exc:
            return _refusal(encoding, failure(exc))
        except ClientDisconnect:
            return Response(status_code=400)
        content_encoding = request.headers.get("content-encoding", "")
        peer = f"{request.client.host}:{request.client.port}" if request.client else ""
        return await to_thread.run_sync(_answer, body, encoding, content_encoding, peer, limiter=limiter)

    def _answer(body: bytes, encoding: Encoding, content_encoding: str, peer: str) -> Response:
        try:
            plain = inflate(body, content_encoding, settings.max_request_bytes)
            accepted = receiver.export(plain, encoding, "http", peer)
        except UnknownEncoding as exc:
            return _refusal(encoding, Failure(415, failure(exc).grpc_code, str(exc)))
        except EvalVaultError as exc:
            return _refusal(encoding, failure(exc))
        except Exception as exc:  # noqa: BLE001 - every error has an answer
            _LOG.exception("export failed")
            return _refusal(encoding, failure(exc))
        return _response(success_body(encoding, accepted), encoding, 200)

    # A client given only host and port posts to "/"; a trailing slash is as good as none.
    routes = [Route(path, traces, methods=["POST"]) for path in ("/v1/traces", "/v1/traces/", "/")]
    app = Starlette(routes=[*routes, Route("/{path:path}", _elsewhere, methods=["GET", "POST", "PUT", "DELETE"])])
    app.router.redirect_slashes = False
    return app


def _encoding(request: Request) -> Encoding | None:
    """The encoding by content type, whatever its case and parameters."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return _ENCODINGS.get(media_type)


async def _read(request: Request, limit: int) -> bytes:
    """The body, counted while it arrives: clients may send it in chunks without a length.

    Raises:
        TooLarge: it is larger than `limit` bytes.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def _refusal(encoding: Encoding, failed: Failure) -> Response:
    response = _response(failure_body(encoding, failed), encoding, failed.http_status)
    if failed.retryable:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _response(body: bytes, encoding: Encoding, status_code: int) -> Response:
    # The Collector compares the content type exactly, so no charset may be added.
    return Response(body, status_code, headers={"Content-Type": encoding.value})


async def _elsewhere(request: Request) -> Response:
    if request.url.path.rstrip("/") in {"/v1/traces", ""}:
        return Response("use POST", 405, headers={"Allow": "POST"}, media_type="text/plain")
    return Response(_NOT_SERVED, 404, media_type="text/plain")
