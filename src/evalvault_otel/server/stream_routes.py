"""`GET /api/stream` (server-sent events) and `WS /api/stream/ws`: the live stream, read by clients at their own pace.

Source of the form of events: WHATWG HTML, "Server-sent events".
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, WebSocket
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from ..errors import EvalVaultError, Forbidden
from ..store.changes import Position
from .api_errors import answer_of
from .api_models import ApiError
from .keys import Keys, presented_key
from .keys import Scope as KeyScope
from .stream_events import Event, Wanted, kinds_of
from .stream_feed import Feed
from .web import HAS_WEBSOCKETS

Write = Callable[[Event], Awaitable[None]]

router = APIRouter(prefix="/api")
socket_router = APIRouter(prefix="/api")

# A reader that takes nothing for so long is cut off: it can come back and go on where it was.
_PATIENCE_S: Final = 60.0
# What a reader has to take what is on its way when its stream ends.
_LAST_WORDS_S: Final = 0.5
_RETRY_MS: Final = 1000
# Until the connection is gone, uvicorn would report a handler that ends now as one that never answered.
_DENIED_S: Final = 0.1
_GOING_AWAY: Final = 1012


def _wanted(
    run_id: Annotated[str | None, Query(description="only this run")] = None,
    service: Annotated[str | None, Query(description="only this service")] = None,
    stage_type: Annotated[str | None, Query(description="of stages only this type")] = None,
    status: Annotated[str | None, Query(description="of stages only this status")] = None,
    events: Annotated[str | None, Query(description="kinds of events: `stage,trace,run`, or some of them")] = None,
) -> Wanted:
    return Wanted(kinds_of(events), run_id, service, stage_type, status)


After = Annotated[
    str | None, Query(description="id of the last event that was seen: go on behind it; `0`: from the beginning")
]


class EventStream(Response):
    """Server-sent events, until the client leaves, the server stops or, if the stream is not `endless`, all is told."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, after: Position | None, wanted: Wanted, *, endless: bool) -> None:
        # A proxy that gathers an answer would hold the stream back.
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no", "connection": "close"}
        super().__init__(None, headers=headers)
        del self.headers["content-length"]
        self._feed, self._after, self._wanted, self._endless = feed, after, wanted, endless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request.

        Raises:
            Unavailable: there is no place or the database cannot be reached; nothing was sent then.
        """

        async def write(event: Event) -> None:
            await send({"type": "http.response.body", "body": _frame(event), "more_body": True})

        async def leave() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        with self._feed.place():
            position, first = await self._feed.start(self._after)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b"retry: %d\n" % _RETRY_MS, "more_body": True})
            await write(first)
            events = self._feed.follow(position, self._wanted, endless=self._endless)
            await _deliver(self._feed, events, write, leave)
            _abort_soon(scope)
            # A reader that takes nothing is not waited for.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})


@router.get(
    "/stream",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "events"}},
    summary="Stages as they are stored, and changes of traces and runs, as server-sent events",
)
async def stream(
    request: Request,
    wanted: Annotated[Wanted, Depends(_wanted)],
    after: After = None,
    last_event_id: Annotated[str | None, Header(description="the same as `after`; a browser sends it")] = None,
    follow: Annotated[bool, Query(description="false: end when all is told that is there")] = True,  # noqa: FBT002 - a query parameter
) -> Response:
    """At least once and in the order of their commits; each trace ends in an event with an id to go on behind."""
    # A browser that connects again repeats the address of the first time, with an older `after`.
    text = last_event_id or after
    return EventStream(request.app.state.feed, Position.of(text) if text else None, wanted, endless=follow)


@socket_router.get("/stream/ws", include_in_schema=False)
async def no_socket() -> Response:
    """For those who do not ask for a WebSocket, or whose server has none."""
    ask = (
        "connect to it as a WebSocket"
        if HAS_WEBSOCKETS
        else "this server needs: pip install 'evalvault-otel[websocket]'"
    )
    said = ApiError("Upgrade required", f"{ask}; GET /api/stream tells the same")
    return Response(orjson.dumps(said), 426, {"Upgrade": "websocket"}, media_type="application/json")


@socket_router.websocket("/stream/ws")
async def stream_socket(socket: WebSocket) -> None:
    """The same as JSON messages: `{"event": …, "id": …, "data": …}`. What the client sends is not read."""
    feed: Feed = socket.app.state.feed
    try:
        _refuse_strangers(socket)
        asked = {name: socket.query_params.get(name) for name in ("run_id", "service", "stage_type", "status")}
        wanted = Wanted(kinds_of(socket.query_params.get("events")), **asked)
        after = socket.query_params.get("after")
        with feed.place():
            position, first = await feed.start(Position.of(after) if after else None)
            await socket.accept()
            await _talk(socket, feed, first, feed.follow(position, wanted))
    except EvalVaultError as exc:
        await socket.send_denial_response(answer_of(exc))
        await asyncio.sleep(_DENIED_S)


async def _talk(socket: WebSocket, feed: Feed, first: Event, events: AsyncIterator[Event]) -> None:
    async def write(event: Event) -> None:
        await socket.send_text(_message(event))

    async def leave() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    await write(first)
    await _deliver(feed, events, write, leave)
    _abort_soon(socket.scope)
    # It may be gone already, or take nothing.
    with suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
        async with asyncio.timeout(_LAST_WORDS_S):
            await socket.close(_GOING_AWAY)


def _refuse_strangers(socket: WebSocket) -> None:
    """Check the key; and the page, for a browser lets every page of the web open a WebSocket to this machine.

    Raises:
        Unauthenticated, Forbidden, Unavailable: as `Keys.check`, or the page is of another origin.
    """
    origin, settings = socket.headers.get("origin"), socket.app.state.settings
    allowed = {part.strip() for part in settings.cors_origins.split(",")}
    if origin and origin not in allowed and urlsplit(origin).netloc != socket.headers.get("host"):
        raise Forbidden(f"pages of {origin} may not read the stream (--cors-origins)")
    keys: Keys = socket.app.state.keys
    keys.check(presented_key(socket.headers.raw), KeyScope.READ)


async def _deliver(
    feed: Feed,
    events: AsyncIterator[Event],
    write: Write,
    leave: Callable[[], Awaitable[None]],
) -> None:
    """Write events until there are no more, nobody takes them, the reader leaves or the server stops."""
    parts = [asyncio.ensure_future(part) for part in (_pump(events, write), leave(), feed.stopping.wait())]
    try:
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)


async def _pump(events: AsyncIterator[Event], write: Write) -> None:
    async for event in events:
        async with asyncio.timeout(_PATIENCE_S):
            await write(event)


def _abort_soon(scope: Scope) -> None:
    """What was written to a reader that takes nothing would wait for it, and hold a stop of the server."""
    abort: Callable[[], None] | None = scope.get("state", {}).get("abort")
    if abort:
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, abort)


def _frame(event: Event) -> bytes:
    """An event as a browser's EventSource reads it."""
    position = b"id: %b\n" % str(event.position).encode() if event.position else b""
    return b"%bevent: %b\ndata: %b\n\n" % (position, event.kind.encode(), event.data)


def _message(event: Event) -> str:
    said: dict[str, Any] = {"event": event.kind, "id": str(event.position) if event.position else None}
    return orjson.dumps({**said, "data": orjson.Fragment(event.data)}).decode()
