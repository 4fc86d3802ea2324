"""Clocks that are wrong: every time a span can carry is stored as it came, and no answer suffers from it."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import requests
from typer.testing import CliRunner

from benchmarks.client import Connection
from benchmarks.database import of_url
from benchmarks.driver import wait_assembled
from evalvault_otel.cli.commands import app
from evalvault_otel.model import Span, SpanEvent
from tests.support.clients import body_of, post
from tests.support.otlp import otlp_document
from tests.support.server import Server
from tests.support.traces import MS, T0_NS, asset, new_trace_id, sid, stage

LAST = 2**63 - 1  # 2262-04-11, the last moment in 64 bits with a sign
MAX = 2**64 - 1  # the last that OTLP can say: the year 2554
FUTURE = 4_102_444_800 * 1_000_000_000  # 2100-01-01

# What is sent: start, end; what is to be known of it: duration in ms or None, and the finding if there is one.
TIMES: dict[str, tuple[int, int, float | None, str | None]] = {
    "as usual": (T0_NS, T0_NS + 100 * MS, 100.0, None),
    "no time at all": (T0_NS, T0_NS, 0.0, None),
    "no clock": (0, 0, None, "has no valid start time"),
    "no start": (0, T0_NS, None, "has no valid start time"),
    "no end": (T0_NS, 0, None, "has no valid end time"),
    "1970": (1, 1 + 20 * MS, 20.0, None),
    "1970 until now": (5 * MS, T0_NS, (T0_NS - 5 * MS) / MS, None),
    "the future": (FUTURE, FUTURE + 30 * MS, 30.0, None),
    "2262": (LAST - 40 * MS, LAST, 40.0, None),
    "into 2262": (LAST, LAST + 1, None, "has no valid end time"),
    "beyond 2262": (LAST + 1, LAST + 50 * MS, None, "has no valid start time"),
    "2554": (MAX, MAX, None, "has no valid start time"),
    "all of time": (1, MAX, None, "has no valid end time"),
    "backwards": (T0_NS + 50 * MS, T0_NS, None, "ends before it starts"),
    "backwards by all of time": (LAST, 1, None, "ends before it starts"),
}
NUMBERS = dict(enumerate(TIMES, start=1))


def spans_of(trace_id: str, top: int) -> list[Span]:
    """One stage per kind of time, all below number `top`, each with an event and a used asset at odd times."""
    return [
        stage(
            number,
            0 if number == top else top,
            "output" if number == top else "retrieval",
            trace_id=trace_id,
            name=name,
            start_ns=TIMES[name][0],
            end_ns=TIMES[name][1],
            events=(
                SpanEvent(TIMES[name][0], "at the start", {}),
                SpanEvent(TIMES[name][1], "at the end", {}),
                SpanEvent(TIMES[name][1], "evalvault.asset.used", asset(kind="prompt", name=name).attributes),
            ),
        )
        for number, name in NUMBERS.items()
    ]


@pytest.fixture
def traces(server: Server) -> dict[str, list[Span]]:
    """Traces with all kinds of time in them, each with another one at its top; sent in turn over every way in."""
    made = {trace_id: spans_of(trace_id, top) for top in NUMBERS for trace_id in [new_trace_id()]}
    with Connection(server.grpc) as connection:
        for number, spans in enumerate(made.values()):
            if number % 3 == 0:
                connection.export(body_of(spans))
            elif number % 3 == 1:
                answer = post(server.http, body_of(spans))
                assert (answer.status_code, answer.content) == (200, b"")
            else:
                answer = requests.post(f"http://{server.http}/v1/traces", json=otlp_document(spans), timeout=15)
                assert (answer.status_code, answer.json()) == (200, {})
    wait_assembled(of_url(server.db))
    return made


def get(server: Server, path: str, **params: str) -> Any:
    """What the API answers."""
    answer = requests.get(server.url(path), params, timeout=15)
    assert answer.status_code == 200, answer.text
    return orjson.loads(answer.content)


def numbers(answer: Any) -> Iterator[float]:
    """All numbers in an answer."""
    if isinstance(answer, dict | list):
        for item in answer.values() if isinstance(answer, dict) else answer:
            yield from numbers(item)
    elif isinstance(answer, int | float):
        yield answer


def test_times_are_stored_as_they_came(server: Server, traces: dict[str, list[Span]]) -> None:
    for trace_id, sent in traces.items():
        found = get(server, f"/api/traces/{trace_id}", spans="true")["spans"]
        scopes = [of_scope for of_resource in found["resourceSpans"] for of_scope in of_resource["scopeSpans"]]
        stored = {span["name"]: span for of_scope in scopes for span in of_scope["spans"]}
        assert stored.keys() == TIMES.keys()
        for span in sent:
            said = stored[span.name]
            assert (int(said["startTimeUnixNano"]), int(said["endTimeUnixNano"])) == (span.start_ns, span.end_ns)
            assert [int(event["timeUnixNano"]) for event in said["events"]] == [event.time_ns for event in span.events]
    assert of_url(server.db).query("SELECT count(*) FROM reject") == [(0,)]


def test_durations_are_right_or_unknown_and_findings_say_why(server: Server, traces: dict[str, list[Span]]) -> None:
    for trace_id in traces:
        trace = get(server, f"/api/traces/{trace_id}")
        stages = {item["stage"]["stage_id"]: item["stage"] for item in trace["stages"]}
        # Given each kind of time: the duration is what it says, or not known; never below zero
        for number, name in NUMBERS.items():
            said = stages[sid(number)]
            assert said["duration_ms"] == TIMES[name][2], name
            if said["duration_ms"] is None:
                assert (said["self_ms"], said["critical_ms"]) == (None, None), name
            else:
                assert 0 <= said["self_ms"] <= said["duration_ms"], name
                assert 0 <= said["critical_ms"] <= said["duration_ms"], name
        # And whatever cannot be true is said to be so
        bad = [item["detail"] for item in trace["findings"] if item["code"] == "bad_time"]
        for number, name in NUMBERS.items():
            wrong = [detail for detail in bad if sid(number) in detail]
            assert (len(wrong) == 1 and TIMES[name][3] in wrong[0]) if TIMES[name][3] else wrong == [], name
        assert len(trace["assets"]) == len(TIMES)


def test_every_answer_about_them_comes(server: Server, traces: dict[str, list[Span]]) -> None:
    (run,) = get(server, "/api/runs")["runs"]
    assert (run["traces"], run["stages"]) == (len(TIMES), len(TIMES) ** 2)
    run_id = run["run_id"]
    assert run_id == "rag-api@1970-01-01"
    for kind in ("events", "metrics", "summary", "debug"):
        assert [number for number in numbers(get(server, f"/api/stage/{kind}/{run_id}")) if number < 0] == []
    report = requests.get(server.url(f"/api/stage/debug/{run_id}"), {"format": "markdown"}, timeout=15)
    assert report.status_code == 200
    for since, until in (("0001-01-01", "9999-12-31"), ("1969-12-31", "1970-01-02"), ("2262-04-11", "2262-04-12")):
        get(server, "/api/runs", since=f"{since}T00:00:00Z", until=f"{until}T00:00:00Z")
    # Also page by page
    cursor, shown = None, 0
    while cursor or not shown:
        page = get(server, f"/api/stage/events/{run_id}", limit="7", **({"cursor": cursor} if cursor else {}))
        shown, cursor = shown + page["returned"], page["next_cursor"]
    assert shown == len(TIMES) ** 2
    # And on the command line
    trace_id = next(iter(traces))
    for words in (["runs"], ["trace", trace_id], ["stage", "summary", run_id], ["debug", "report", run_id]):
        said = CliRunner().invoke(app, [*words, "--db", server.db])
        assert (said.exit_code, said.exception) == (0, None), words
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log


def test_log_events_keep_their_times_too(server: Server) -> None:
    # Given a stage, and an evaluation of it at each odd time
    trace_id, moments = new_trace_id(), (0, 1, T0_NS, LAST, LAST + 1, MAX)
    assert post(server.http, body_of([stage(1, 0, "output", trace_id=trace_id)])).status_code == 200
    records = [
        {
            "timeUnixNano": str(moment),
            "observedTimeUnixNano": str(moments[-1 - number]),
            "eventName": "gen_ai.evaluation.result",
            "traceId": trace_id,
            "spanId": sid(1),
            "attributes": [{"key": "gen_ai.evaluation.name", "value": {"stringValue": f"score {number}"}}],
        }
        for number, moment in enumerate(moments)
    ]
    # When they are sent
    document = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}
    answer = requests.post(f"http://{server.http}/v1/logs", json=document, timeout=15)
    assert (answer.status_code, answer.json()) == (200, {})
    wait_assembled(of_url(server.db))

    # Then all are stored as they came, and the trace can be shown
    stored = of_url(server.db).query("SELECT time_ns, observed_ns FROM log_event")
    assert {(time % 2**64, seen % 2**64) for time, seen in stored} == set(zip(moments, moments[::-1], strict=True))
    assert get(server, f"/api/traces/{trace_id}")["stages"][0]["stage"]["duration_ms"] == 100
    assert "Traceback" not in server.log
