"""`POST /api/stage/events`: StageEvents of EvalVault's SDK, stored as spans by the way of every other request."""

from dataclasses import dataclass
from typing import Any, Final

import orjson
from fastapi import APIRouter, FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ..errors import InvalidStageEvent, TooLarge, Undecodable
from ..ingest import Room
from ..settings import Settings, join_address
from ..wire.answer import Encoding
from ..wire.inflate import inflate
from ..wire.stage_events import events_of, stage_id_of
from .keys import presented_key
from .otlp_http import TooSlow, read_body
from .receiver import STAGE_EVENTS, Export, Receiver

_INVALID: Final = "Invalid stage event"


@dataclass(frozen=True, slots=True)
class StoredEvents:
    """What was stored: of one run (`run_id`), or of several (`run_ids`)."""

    stored: int
    stage_ids: list[str]
    run_id: str | None = None
    run_ids: list[str] | None = None


@dataclass(frozen=True, slots=True)
class StageEventError:
    """Why nothing was stored; `index` is the place of the event that is wrong, from 0."""

    error: str
    details: str
    index: int | None = None


_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": StageEventError, "description": "It is no JSON"},
    408: {"model": StageEventError, "description": "The body did not come in time"},
    413: {"model": StageEventError, "description": "The body is too large"},
    422: {"model": StageEventError, "description": "An event is wrong: `index` says which"},
}
_EXAMPLE: Final = {"run_id": "rag-001", "stage_type": "retrieval", "duration_ms": 45.2}
_BODY: Final = {
    "required": True,
    "content": {
        "application/json": {"schema": {"type": ["object", "array"]}, "example": {"events": [_EXAMPLE]}},
        "application/jsonl": {"schema": {"type": "string"}, "example": orjson.dumps(_EXAMPLE).decode()},
    },
}


def add_stage_events(app: FastAPI, receiver: Receiver, settings: Settings) -> None:
    """Let `app` take StageEvents. Who sends needs a key with the scope `ingest`, where there are keys."""
    router = APIRouter(prefix="/api")

    @router.post(
        "/stage/events",
        summary="Store StageEvents, all or none",
        response_model=StoredEvents,
        responses=_RESPONSES,
        openapi_extra={"requestBody": _BODY},
    )
    async def post_events(request: Request) -> Response:
        """One StageEvent, `{"events": [...]}`, or one event per line. Answered after the commit."""
        return await _stored(request, receiver, settings)

    app.include_router(router)


async def _stored(request: Request, receiver: Receiver, settings: Settings) -> Response:
    peer = join_address(request.client.host, request.client.port) if request.client else ""
    encoded = request.headers.get("content-encoding", "")
    export = Export("api", peer, Encoding.JSON, encoded, presented_key(request.headers.raw), STAGE_EVENTS)
    bodies: list[bytes] = []

    async def read(room: Room) -> bytes:
        bodies.append(await read_body(request, room, settings))
        return bodies[0]

    try:
        await receiver.export(export, read)
    except InvalidStageEvent as exc:
        return _answer(422, {"error": _INVALID, "details": str(exc), "index": exc.index})
    except Undecodable as exc:
        return _answer(400, {"error": _INVALID, "details": str(exc)})
    except TooLarge as exc:
        return _answer(413, {"error": "Too large", "details": str(exc)})
    except (ClientDisconnect, TooSlow) as exc:
        return _answer(408, {"error": "Too slow", "details": str(exc)})
    return _answer(200, _told(inflate(bodies[0], encoded, settings.max_request_bytes)))


def _told(body: bytes) -> dict[str, object]:
    """What was stored: the run, or the runs if there are several."""
    events = events_of(body)
    runs = list(dict.fromkeys(event["run_id"].strip() for event in events))
    about: dict[str, object] = {"run_id": runs[0]} if len(runs) == 1 else {"run_ids": runs}
    return {"stored": len(events), **about, "stage_ids": [stage_id_of(event) for event in events]}


def _answer(status: int, said: dict[str, object]) -> Response:
    return Response(orjson.dumps(said), status, media_type="application/json")
