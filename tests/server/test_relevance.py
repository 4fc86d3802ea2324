"""`POST /api/runs/{run}/relevance`: judged after the fact, over the API, on every database."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.support.server import Server


def _post(server: Server, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(server.url(path), body, {"content-type": "application/json", **headers})  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own server
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


def _recall(server: Server) -> float | None:
    with urllib.request.urlopen(server.url("/api/stage/metrics/team/r?limit=1"), timeout=20) as answer:  # noqa: S310 - our own server
        found = {item["metric_name"]: item["avg"] for item in json.load(answer)["aggregates"]}
    return found.get("retrieval.recall_at_k")


@pytest.fixture
def filled(server: Server) -> Server:
    """A run, with a slash in its id, of two retrievals."""
    events = [
        {
            "run_id": "team/r",
            "stage_type": "retrieval",
            "stage_id": case,
            "metadata": {"test_case_id": case},
            "attributes": {"doc_ids": ["d1"]},
        }
        for case in ("a", "b")
    ]
    assert _post(server, "/api/stage/events", json.dumps({"events": events}).encode())[0] == 200
    return server


def test_a_judgement_becomes_a_metric_and_the_same_again_changes_nothing(filled: Server) -> None:
    said = json.dumps({"a": ["d1"], "b": ["d2"]}).encode()
    expected = {"run_id": "team/r", "test_cases": 2, "retrievals": 2}

    assert _post(filled, "/api/runs/team/r/relevance", said) == (200, {**expected, "changed": 2})
    _wait_for(filled, 0.5)
    assert _post(filled, "/api/runs/team/r/relevance", said) == (200, {**expected, "changed": 0})
    changed = json.dumps({"a": ["d1"], "b": ["d1"]}).encode()
    # What was judged before is now what the stage says: only a new map for the same case would be a contradiction.
    assert _post(filled, "/api/runs/team/r/relevance", changed)[1]["changed"] == 1
    _wait_for(filled, 1.0)


def _wait_for(server: Server, recall: float) -> None:
    deadline = time.monotonic() + 15
    while _recall(server) != recall:
        assert time.monotonic() < deadline, f"recall is {_recall(server)}"
        time.sleep(0.05)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a": [{}]}', b"\xff"], ids=["nothing", "list", "objects", "bytes"])
def test_what_is_no_map_is_refused(filled: Server, body: bytes) -> None:
    status, said = _post(filled, "/api/runs/team/r/relevance", body)
    assert status == 422
    assert said["error"] == "Invalid parameter"
    assert said["details"].startswith("relevance")


def test_an_unknown_run_is_not_found(filled: Server) -> None:
    assert _post(filled, "/api/runs/nobody/relevance", b'{"a": ["d1"]}')[0] == 404
