"""`POST /api/stage/events`: StageEvents as EvalVault's SDK sends them become stages, all of a request or none."""

import gzip
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import requests

from benchmarks.database import of_url
from tests.support.server import Server

EVENT = {
    "run_id": "rag-001",
    "stage_type": "Retrieval",
    "stage_id": "s1",
    "stage_name": "bm25",
    "attempt": 2,
    "started_at": "2026-01-31T12:00:00Z",
    "duration_ms": 45.2,
    "attributes": {"query": "q", "doc_ids": ["a", "b"], "scores": [0.9, 0.5], "top_k": 5, "mine": {"a": 1}},
    "metadata": {"test_case_id": "tc-1", "dataset_name": "d", "relevant_doc_ids": ["a"]},
    "unknown": "is ignored",
}
OUTPUT = {"run_id": "rag-001", "stage_type": "output", "stage_id": "s2", "parent_stage_id": "s1", "status": "error"}


def post(server: Server, body: object, **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return requests.post(server.url("/api/stage/events"), data, headers=headers, timeout=20)


def stages(server: Server, run_id: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 15
    while of_url(server.db).unassembled():
        assert time.monotonic() < deadline, "not assembled in time"
        time.sleep(0.05)
    answer = requests.get(server.url(f"/api/stage/events/{run_id}"), timeout=20)
    if answer.status_code == 404:
        return []
    events: list[dict[str, Any]] = [event for event in answer.json()["events"] if not event["derived"]]
    return sorted(events, key=lambda event: str(event["stage_id"]))


def test_an_event_becomes_the_stage_that_it_says(server: Server) -> None:
    answer = post(server, EVENT)

    assert answer.json() == {"stored": 1, "run_id": "rag-001", "stage_ids": ["s1"]}
    (stage,) = stages(server, "rag-001")
    assert {key: stage[key] for key in ("stage_type", "stage_name", "attempt", "status", "duration_ms")} == {
        "stage_type": "retrieval",
        "stage_name": "bm25",
        "attempt": 2,
        "status": "success",
        "duration_ms": 45.2,
    }
    assert stage["attributes"]["doc_ids"] == ["a", "b"]
    assert stage["attributes"]["mine"] in ({"a": 1}, '{"a": 1}')
    assert stage["metadata"]["test_case_id"] == "tc-1"
    assert stage["metrics"]["retrieval.precision_at_k"] > 0


@pytest.mark.parametrize("form", ["one", "events", "list", "lines"])
def test_several_events_in_every_form(form: str, server: Server) -> None:
    events = [EVENT, {**OUTPUT, "metadata": {"test_case_id": "tc-1"}}]
    bodies: dict[str, object] = {
        "one": events,
        "events": {"events": events},
        "list": events,
        "lines": b"\n".join(map(orjson.dumps, events)) + b"\n",
    }
    assert post(server, bodies[form]).json() == {"stored": 2, "run_id": "rag-001", "stage_ids": ["s1", "s2"]}

    first, second = stages(server, "rag-001")
    assert (first["stage_id"], second["stage_id"]) == ("s1", "s2")
    assert (second["parent_stage_id"], second["status"]) == ("s1", "error")
    assert first["trace_id"] == second["trace_id"]


def test_events_of_several_runs_say_so(server: Server) -> None:
    answer = post(server, [EVENT, {**OUTPUT, "run_id": "rag-002"}])
    assert answer.json() == {"stored": 2, "run_ids": ["rag-001", "rag-002"], "stage_ids": ["s1", "s2"]}


def test_an_event_that_is_sent_again_is_stored_once(server: Server) -> None:
    nameless = {key: value for key, value in EVENT.items() if key != "stage_id"}
    for event in (EVENT, nameless):
        assert post(server, event).json() == post(server, event).json()
    assert len(stages(server, "rag-001")) == 2


def test_trace_and_span_ids_are_read_at_both_places(server: Server) -> None:
    ids = {"trace_id": "ab" * 16, "span_id": "cd" * 8}
    post(server, {**EVENT, **ids})
    post(server, {**OUTPUT, "parent_stage_id": None, "trace": {**ids, "span_id": "ef" * 8}})
    assert [(stage["trace_id"], stage["span_id"]) for stage in stages(server, "rag-001")] == [
        ("ab" * 16, "cd" * 8),
        ("ab" * 16, "ef" * 8),
    ]


@pytest.mark.parametrize(
    "change, details",
    [
        ({"stage_type": None}, "stage_type is required"),
        ({"stage_type": " "}, "stage_type is required"),
        ({"run_id": None}, "run_id is required"),
        ({"run_id": 7}, "run_id must be text of at most 128 characters"),
        ({"attempt": 0}, "attempt must be an integer of at least 1"),
        ({"attempt": 2.9}, "attempt must be an integer of at least 1"),
        ({"duration_ms": -1}, "duration_ms must be a number of milliseconds, not below 0"),
        ({"duration_ms": True}, "duration_ms must be a number of milliseconds, not below 0"),
        ({"started_at": "soon"}, "started_at must be a time such as 2026-01-31T12:00:00Z"),
        ({"finished_at": "2020-01-01T00:00:00"}, "finished_at is before started_at"),
        ({"attributes": [1]}, "attributes must be an object"),
        ({"metadata": "text"}, "metadata must be an object"),
        ({"input_ref": {"store": "s3"}}, "input_ref needs store and id"),
    ],
)
def test_of_a_request_with_one_bad_event_nothing_is_stored(
    change: dict[str, object], details: str, server: Server
) -> None:
    answer = post(server, {"events": [OUTPUT, {**EVENT, **change}]})

    assert answer.status_code == 422
    assert answer.json() == {"error": "Invalid stage event", "details": details, "index": 1}
    assert stages(server, "rag-001") == []


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense\nmore", b"\xff"])
def test_what_is_no_json_is_told_so(body: bytes, server: Server) -> None:
    answer = post(server, body)
    assert answer.status_code == 400
    assert answer.json()["error"] == "Invalid stage event"


@pytest.mark.parametrize("body", ["text", 7, [7], {"events": [None]}])
def test_what_is_no_event_is_told_so(body: object, server: Server) -> None:
    answer = post(server, body)
    assert (answer.status_code, answer.json()["details"]) == (422, "an event is an object")


def test_bodies_may_be_compressed(server: Server) -> None:
    assert post(server, gzip.compress(orjson.dumps(EVENT)), **{"Content-Encoding": "gzip"}).json()["stored"] == 1


def test_who_sends_needs_a_key_that_may(serve: Callable[..., Server], db_url: str) -> None:
    server = serve(db_url, env={"EVALVAULT_API_KEYS": "ingest:in,read:out"})
    assert post(server, EVENT).status_code == 401
    assert post(server, EVENT, **{"x-api-key": "out"}).status_code == 403
    assert post(server, EVENT, **{"x-api-key": "in"}).status_code == 200


def test_a_body_that_is_too_large_is_refused(serve: Callable[..., Server], db_url: str) -> None:
    server = serve(db_url, env={"EVALVAULT_MAX_REQUEST_BYTES": "100"})
    assert post(server, EVENT).status_code == 413
