"""Rejects from end to end: a bad span sent over a real socket is shown by the query API and by the command line."""

import subprocess
import sys
from typing import Any

import orjson
import pytest
import requests

from evalvault_otel.model import Span
from tests.support.clients import body_of
from tests.support.otlp import otlp_document
from tests.support.server import Server
from tests.support.traces import new_trace_id, span

SECRET = "not-to-be-kept"  # noqa: S105 - nothing takes it


def bad_and_good() -> list[Span]:
    trace_id = new_trace_id()
    return [span(1, trace_id=trace_id), span(2, 1, trace_id=trace_id, span_id="0" * 16, name="the bad one")]


def send(server: Server, content_type: str) -> None:
    spans = bad_and_good()
    body = body_of(spans) if content_type == "application/x-protobuf" else orjson.dumps(otlp_document(spans))
    headers = {"Content-Type": content_type, "Authorization": f"Bearer {SECRET}", "x-secret": SECRET}
    assert requests.post(f"http://{server.http}/v1/traces", body, headers=headers, timeout=20).status_code == 200


def get(server: Server, path: str) -> Any:
    return requests.get(server.url(path), timeout=20).json()


def evalvault(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evalvault_otel", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("content_type", ["application/x-protobuf", "application/json"])
def test_a_bad_span_is_shown_by_the_api_and_by_the_command(server: Server, content_type: str) -> None:
    # Given a server without rejects
    assert get(server, "/api/rejects") == {"rejects": [], "returned": 0, "next_cursor": None}
    none = evalvault("rejects", "--db", server.db)
    assert (none.returncode, none.stdout) == (1, "")
    assert none.stderr.startswith("error: no rejects found")

    # When a request with one bad span comes
    send(server, content_type)

    # Then the API lists it and shows its payload
    listed = get(server, "/api/rejects?q=span_id&signal=traces&since=2026-01-01T00:00:00Z")
    (shown,) = listed["rejects"]
    assert (listed["returned"], listed["next_cursor"]) == (1, None)
    assert (shown["transport"], shown["signal"], shown["count"]) == ("http", "traces", 1)
    assert (shown["reason"], shown["peer"][:10]) == ("span_id is all zeros", "127.0.0.1:")
    assert "the bad one" in shown["payload_preview"]
    detail = get(server, f"/api/rejects/{shown['id']}")
    assert (detail["complete"], detail["reason"]) == (True, shown["reason"])
    assert detail["payload"]
    if detail["payload_form"] != "base64":
        assert "the bad one" in str(detail["payload"])

    # And the command shows the same; no header is kept
    said = evalvault("rejects", "--since", "1h", "-q", "ZEROS", "--db", server.db)
    header, line = said.stdout.splitlines()
    assert header.split() == ["ID", "TIME", "TRANSPORT", "PEER", "SIGNAL", "COUNT", "REASON"]
    assert line.split()[2:] == ["http", shown["peer"], "traces", "1", "span_id", "is", "all", "zeros"]
    assert orjson.loads(evalvault("rejects", "--json", "--db", server.db).stdout) == [shown]
    one = evalvault("rejects", "show", str(shown["id"]), "--db", server.db)
    assert (
        orjson.loads(one.stdout) == orjson.loads(evalvault("rejects", "--db", server.db, "show", "1").stdout) == detail
    )
    assert SECRET not in str(detail) + said.stdout


def test_pages_and_errors_of_the_api(server: Server) -> None:
    for _ in range(3):
        send(server, "application/json")

    first = get(server, "/api/rejects?limit=2")
    second = get(server, f"/api/rejects?limit=2&cursor={first['next_cursor']}")
    assert [item["id"] for item in (*first["rejects"], *second["rejects"])] == [3, 2, 1]
    assert second["next_cursor"] is None
    for path, status in {
        "/api/rejects/99": 404,
        "/api/rejects/x": 422,
        "/api/rejects?signal=metrics": 422,
        f"/api/rejects/{2**70}": 404,
    }.items():
        answer = requests.get(server.url(path), timeout=20)
        assert (answer.status_code, set(answer.json())) == (status, {"error", "details"}), path


def test_what_the_command_cannot_find_or_read(server: Server) -> None:
    for arguments, code, said in (
        (("rejects", "show", "99"), 1, "no reject 99"),
        (("rejects", "--since", "soon"), 2, "'soon' is not a time"),
        (("rejects", "--signal", "metrics"), 2, "'--signal'"),
        (("rejects", "--signal", "logs"), 1, "no rejects found that fit"),
        (("rejects",), 1, "no rejects found: everything that came in was stored"),
    ):
        done = evalvault(*arguments, "--db", server.db)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr
