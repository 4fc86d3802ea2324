"""`POST /api/runs/{run_id}/relevance`: which documents are relevant for a test case, said after the fact.

A judgement goes the way of every log event: through the receiver, committed before the answer, assembled with the trace
that it is about.
"""

import time
from dataclasses import dataclass
from itertools import islice

import orjson
from fastapi import APIRouter, FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ..analysis.relevance import events, judged, parse_relevance
from ..errors import TooLarge
from ..ingest import Room
from ..settings import Settings, join_address
from ..store import Store
from ..wire.answer import Encoding
from ..wire.logs_json_encode import encode_logs
from .api_models import ApiError
from .keys import presented_key
from .otlp_http import TooSlow, read_body
from .receiver import LOGS, Export, Receiver

_BATCH = 5_000
_EXAMPLE = {"tc-1": ["doc-1", "doc-7"], "tc-2": ["doc-3"]}


@dataclass(frozen=True, slots=True)
class Judged:
    """What a relevance map did: for how many retrievals it says something, and how many that changed."""

    run_id: str
    test_cases: int
    retrievals: int
    changed: int


def add_relevance(app: FastAPI, receiver: Receiver, settings: Settings) -> None:
    """Let `app` take relevance maps. Who sends needs a key with the scope `ingest`, where there are keys."""
    router = APIRouter(prefix="/api")
    body = {"content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}}, "required": True}

    @router.post(
        "/runs/{run_id:path}/relevance",
        summary="Say which documents are relevant",
        response_model=Judged,
        responses={code: {"model": ApiError} for code in (408, 413)},
        openapi_extra={"requestBody": body},
    )
    async def post_relevance(request: Request, run_id: str) -> Response:
        """A JSON object of test case ids, each with the ids of its relevant documents. Answered after the commit.

        Precision, recall and their like follow when the traces are assembled again, a moment later.
        """
        return await _stored(request, run_id, receiver, settings)

    app.include_router(router)


async def _stored(request: Request, run_id: str, receiver: Receiver, settings: Settings) -> Response:
    peer = join_address(request.client.host, request.client.port) if request.client else ""
    export = Export("api", peer, Encoding.JSON, "", presented_key(request.headers.raw), LOGS)
    store: Store = request.app.state.store
    batches: list[bytes] = []
    made: list[Judged] = []

    async def first(room: Room) -> bytes:
        said = await read_body(request, room, settings)
        judgement, found = await run_in_threadpool(_judge, store, run_id, said)
        made.append(judgement)
        batches.extend(found)
        return batches.pop(0) if batches else b"{}"

    async def following(_: Room) -> bytes:
        return batches.pop(0)

    try:
        await receiver.export(export, first)
        while batches:
            await receiver.export(export, following)
    except (ClientDisconnect, TooSlow) as exc:
        return Response(orjson.dumps(ApiError("Too slow", str(exc))), 408, media_type="application/json")
    except TooLarge as exc:
        return Response(orjson.dumps(ApiError("Too large", str(exc))), 413, media_type="application/json")
    return Response(orjson.dumps(made[0]), media_type="application/json")


def _judge(store: Store, run_id: str, said: bytes) -> tuple[Judged, list[bytes]]:
    """What a map says of the retrievals of a run, as export requests of log events."""
    relevance, now_ns = parse_relevance(said), time.time_ns()
    found = judged(store, run_id, relevance)
    retrievals = changed = 0
    bodies = []
    while batch := list(islice(found, _BATCH)):
        news = events(batch, now_ns)
        retrievals, changed = retrievals + len(batch), changed + len(news)
        if news:
            bodies.append(encode_logs(news))
    return Judged(run_id, len(relevance), retrievals, changed), bodies
