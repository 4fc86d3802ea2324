"""`If-None-Match`: who has the answer already is told so with 304 and no body.

The tag is a hash of the answer itself. So the work of making it is done (answers about a run are kept, so that is
little), and 304 can never be said of an answer that would differ. Answers that stream, and those that are large, have
no tag. Source: RFC 9110, 8.8.3 and 13.1.2.
"""

import hashlib
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LARGEST: Final = 4 << 20
_TAGGED: Final = ("/api/",)
_STREAMS: Final = "/api/stream"


class ETags:
    """ASGI middleware for the GETs of the API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tag the answer, or say that it is the same."""
        path = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"} or not _is_tagged(path):
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Tagging(Headers(scope=scope).get("if-none-match", ""), send))


def _is_tagged(path: str) -> bool:
    return path.startswith(_TAGGED) and not path.startswith(_STREAMS)


class _Tagging:
    """Holds the beginning of an answer back until its body is there."""

    def __init__(self, known: str, send: Send) -> None:
        self._known = known
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is None:  # a further part of an answer that has no tag
            await self._send(message)
            return
        body = message.get("body", b"")
        if start["status"] == 200 and not message.get("more_body") and len(body) <= _LARGEST:  # noqa: PLR2004 - HTTP's number
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            headers = MutableHeaders(raw=start["headers"])
            headers["etag"] = tag
            headers.setdefault("cache-control", "no-cache")
            if _matches(self._known, tag):
                del headers["content-length"]
                start = {**start, "status": 304}
                message = {**message, "body": b""}
        await self._send(start)
        await self._send(message)


def _matches(known: str, tag: str) -> bool:
    """Whether a list of tags has this one: compared weakly, as this header wants it."""
    tags = {one.strip().removeprefix("W/") for one in known.split(",")}
    return tag in tags or "*" in tags
