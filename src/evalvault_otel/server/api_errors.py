"""Every error of the query API as one shape: `{"error": …, "details": …}`."""

import logging
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..errors import (
    EvalVaultError,
    Forbidden,
    InvalidInput,
    NotFound,
    SettingsError,
    TooManyReaders,
    Unauthenticated,
    Unavailable,
)
from ..wire.answer import RETRY_AFTER_S
from .api_models import ApiError

_LOG = logging.getLogger(__name__)

# The first that fits counts.
_STATUS: Final[tuple[tuple[type[EvalVaultError], int, str], ...]] = (
    (NotFound, 404, "Not found"),
    (InvalidInput, 422, "Invalid parameter"),
    (SettingsError, 422, "Invalid parameter"),
    (Unauthenticated, 401, "Unauthenticated"),
    (Forbidden, 403, "Forbidden"),
    (TooManyReaders, 503, "Too many readers"),
    (Unavailable, 503, "Storage unavailable"),
)
_HEADERS: Final[dict[int, dict[str, str]]] = {
    401: {"WWW-Authenticate": "Bearer"},
    503: {"Retry-After": str(RETRY_AFTER_S)},
}

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": ApiError, "description": "The server asks for an API key, and this is none that it knows"},
    403: {"model": ApiError, "description": "The API key lacks the scope `read`"},
    404: {"model": ApiError, "description": "No such run, trace or page"},
    422: {"model": ApiError, "description": "A parameter is wrong"},
    503: {"model": ApiError, "description": "Storage cannot be reached; `Retry-After` says when to try again"},
}


def answer_errors(app: FastAPI) -> None:
    """Let `app` answer every error in the one shape."""
    app.add_exception_handler(EvalVaultError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _defect)


def _answer(status: int, error: str, details: str, headers: dict[str, str] | None = None) -> Response:
    body = orjson.dumps(ApiError(error, details))
    return Response(body, status, headers, media_type="application/json")


async def _ours(_: Request, exc: Exception) -> Response:
    return answer_of(exc)


def answer_of(exc: Exception) -> Response:
    """The answer to a request that ended in one of our errors."""
    status, error = next(
        ((code, text) for kind, code, text in _STATUS if isinstance(exc, kind)), (500, "Internal error")
    )
    return _answer(status, error, str(exc), _HEADERS.get(status))


async def _invalid(_: Request, exc: Exception) -> Response:
    problems = exc.errors() if isinstance(exc, RequestValidationError) else []
    details = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in problems)
    return _answer(422, "Invalid parameter", details)


async def _http(request: Request, exc: Exception) -> Response:
    status, said = (exc.status_code, str(exc.detail)) if isinstance(exc, HTTPException) else (500, "")
    details = _no_page(request.url.path) if status == 404 else said  # noqa: PLR2004 - HTTP's number
    return _answer(status, {404: "Not found", 405: "Method not allowed"}.get(status, "Error"), details)


def _no_page(path: str) -> str:
    if path.startswith("/v1"):
        return "this is the query API: OTLP goes to the address of --http (by default port 4318)"
    return "no such page: see /docs"


async def _defect(_: Request, exc: Exception) -> Response:
    """A defect of ours: the log has it, the client learns nothing of our inside."""
    _LOG.error("request failed", exc_info=exc)
    return _answer(500, "Internal error", "see the server's log")
