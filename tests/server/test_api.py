"""The query API over a real socket, on every store."""

import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import orjson
import pytest
import uvicorn
from prometheus_client import CollectorRegistry, Counter
from pydantic import TypeAdapter

from evalvault_otel.analysis.metrics import RunMetrics
from evalvault_otel.analysis.report_model import DebugReport
from evalvault_otel.analysis.summary import Summary
from evalvault_otel.model import Finding
from evalvault_otel.server.api import create_api
from evalvault_otel.server.api_models import ApiError, EventList, Index, RunJson, RunList, TraceJson
from evalvault_otel.store import Store, TraceBatch, open_store
from evalvault_otel.wire import otlp_json
from tests.support.stages import RUN, assembly, planted_run, save, stage, tid, use
from tests.support.traces import batches, log, sid, span


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True)
class Api:
    address: str

    def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        request = Request(f"http://{self.address}{path}", method=method, headers=dict(headers or {}))
        try:
            with urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
                return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except HTTPError as exc:
            return Answer(exc.code, {k.lower(): v for k, v in exc.headers.items()}, exc.read())


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@contextmanager
def serving(store: Store, registry: CollectorRegistry) -> Iterator[Api]:
    """The API on a free port, in a thread."""
    server = uvicorn.Server(uvicorn.Config(create_api(store, registry), port=0, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Api(f"127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def api(store: Store, registry: CollectorRegistry) -> Iterator[Api]:
    with serving(store, registry) as running:
        yield running


class TestAnswers:
    """Each route, and that its answer has the shape that the OpenAPI document promises."""

    def test_shapes(self, api: Api, store: Store) -> None:
        save(store, *planted_run()[:8])
        shapes: dict[str, type] = {
            "/": Index,
            "/api/runs": RunList,
            f"/api/runs/{RUN}": RunJson,
            f"/api/stage/events/{RUN}": EventList,
            f"/api/stage/metrics/{RUN}": RunMetrics,
            f"/api/stage/summary/{RUN}": Summary,
            f"/api/stage/debug/{RUN}": DebugReport,
            f"/api/stage/debug/{RUN}?format=json&profile=prod": DebugReport,
            f"/api/traces/{tid(1)}": TraceJson,
        }
        for path, shape in shapes.items():
            answer = api.get(path)
            assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), path
            read: Any = TypeAdapter(shape).validate_json(answer.body)
            assert orjson.loads(TypeAdapter(shape).dump_json(read)) == answer.json, path

    def test_runs(self, api: Api, store: Store) -> None:
        save(store, *(assembly([stage(n, 1, "output", n * 1000, run_id=f"run-{n}")]) for n in (1, 2, 3)))
        first = api.get("/api/runs?limit=2").json
        assert [run["run_id"] for run in first["runs"]] == ["run-3", "run-2"]
        assert (first["total"], first["returned"]) == (3, 2)
        second = api.get(f"/api/runs?limit=2&cursor={first['next_cursor']}").json
        assert [run["run_id"] for run in second["runs"]] == ["run-1"]
        assert second["next_cursor"] is None

    def test_runs_by_filter(self, api: Api, store: Store) -> None:
        save(store, *(assembly([stage(n, 1, "output", n * 1000, run_id=f"run-{n}")]) for n in (1, 2)))
        expected = {
            "since=2026-01-01T00:00:02Z": ["run-2"],
            "since=2026-01-01T00:00:02": ["run-2"],
            "since=2026-01-01T01:00:02%2B01:00": ["run-2"],
            "until=2026-01-01T00:00:02Z": ["run-1"],
            "service=nobody": [],
            "q=RUN-1": ["run-1"],
        }
        found = {query: [run["run_id"] for run in api.get(f"/api/runs?{query}").json["runs"]] for query in expected}
        assert found == expected

    def test_run_ids_may_hold_anything(self, api: Api, store: Store) -> None:
        run_ids = ["rag-api@2026-01-01", "team/nightly/7", "nightly 42", "läuft?", "a%2Fb"]
        save(store, *(assembly([stage(n, 1, "output", run_id=run_id)]) for n, run_id in enumerate(run_ids)))
        for run_id in run_ids:
            assert api.get(f"/api/runs/{quote(run_id)}").json["run_id"] == run_id
            for route in ("events", "metrics", "summary", "debug"):
                assert api.get(f"/api/stage/{route}/{quote(run_id)}").status == 200, (route, run_id)

    def test_events_are_evalvaults_stage_events(self, api: Api, store: Store) -> None:
        save(store, *planted_run()[:3])
        page = api.get(f"/api/stage/events/{RUN}?stage_type=rerank&limit=2").json
        assert (page["total"], page["returned"]) == (3, 2)
        event = page["events"][0]
        assert event["trace"] == {"trace_id": event["trace_id"], "span_id": event["span_id"]}
        assert event["started_at"] == "2026-01-01T00:00:01.015000Z"
        rest = api.get(f"/api/stage/events/{RUN}?stage_type=rerank&limit=2&cursor={page['next_cursor']}").json
        assert len(rest["events"]) == 1
        assert api.get(f"/api/stage/events/{RUN}?trace_id={tid(2)}&status=success").json["total"] == 5

    def test_metrics(self, api: Api, store: Store) -> None:
        save(store, *planted_run()[:10])
        found = api.get(f"/api/stage/metrics/{RUN}?failing=true").json
        assert [(item["metric_name"], item["passed"]) for item in found["metrics"]] == [
            ("retrieval.result_count", False)
        ]
        assert "retrieval.latency_ms" in {item["metric_name"] for item in found["aggregates"]}
        one = api.get(f"/api/stage/metrics/{RUN}?stage_id=t9-s2&metric_name=retrieval.result_count").json["metrics"]
        assert [(item["score"], item["threshold"], item["evidence"]) for item in one] == [(0.0, 1.0, {"doc_ids": []})]

    def test_who_has_the_answer_already_is_told_so(self, api: Api, store: Store) -> None:
        save(store, *planted_run()[:8])
        for path in (f"/api/stage/summary/{RUN}", "/api/runs", f"/api/traces/{tid(1)}", f"/api/stage/debug/{RUN}"):
            first = api.get(path)
            tag = first.headers["etag"]
            again = api.get(path, headers={"If-None-Match": f'W/"other", W/{tag}'})
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
            assert api.get(path, headers={"If-None-Match": '"other"'}).body == first.body
        tag = api.get("/api/runs").headers["etag"]
        save(store, assembly([stage(99, 1, "output", run_id="another")]))
        assert api.get("/api/runs", headers={"If-None-Match": tag}).status == 200
        assert "etag" not in api.get("/api/runs/nobody").headers
        assert "etag" not in api.get("/livez").headers

    def test_debug_as_a_page(self, api: Api, store: Store) -> None:
        save(store, *planted_run())
        answer = api.get(f"/api/stage/debug/{RUN}?format=html")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.body.startswith(b"<!DOCTYPE html>")

    def test_links_from_elsewhere_lead_to_the_trace(self, api: Api, store: Store) -> None:
        save(store, *planted_run())
        dashed = str(uuid.UUID(tid(1))).upper()
        assert api.get(f"/trace?trace_id={dashed}").json["trace_id"] == tid(1)
        assert api.get(f"/trace?trace_id={'f' * 32}").status == 404
        assert api.get("/trace").status == 422

    def test_debug_as_markdown(self, api: Api, store: Store) -> None:
        save(store, *planted_run())
        answer = api.get(f"/api/stage/debug/{RUN}?format=markdown")
        assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
        assert answer.body.decode().startswith(f"# Debug report: {RUN}\n")
        assert api.get(f"/api/stage/debug/{RUN}?format=markdown").body == answer.body

    def test_a_trace_with_its_tree_assets_and_findings(self, api: Api, store: Store) -> None:
        stages = [stage(1, 1, "workflow", 0, 50), stage(1, 2, "retrieval", 5, 10, parent_stage_id="t1-s1")]
        found = Finding(tid(1), 0, RUN, "no_root", "warning", "no root", "t1-s1")
        save(store, assembly(stages, [use(1, 2, "index", "docs", "7")], [found]))
        trace = api.get(f"/api/traces/{tid(1)}").json
        assert (trace["run_id"], trace["run_ids"], trace["assembled"]) == (RUN, [RUN], True)
        assert [(item["depth"], item["stage"]["stage_type"]) for item in trace["stages"]] == [
            (0, "workflow"),
            (1, "retrieval"),
        ]
        assert [(asset["stage_id"], asset["name"], asset["version"]) for asset in trace["assets"]] == [
            ("t1-s2", "docs", "7")
        ]
        (said,) = trace["findings"]
        (meant,) = [item for item in api.get("/api/findings/codes").json["codes"] if item["code"] == "no_root"]
        assert said["code"] == "no_root"
        assert (said["unknown"], said["fix"]) == (meant["unknown"], meant["fix"])
        assert "parentbased_always_on" in said["fix"]
        assert trace["why"] is None
        assert (trace["spans"], trace["log_events"]) == (None, None)

    def test_why_a_stage_is_what_it_is(self, api: Api, store: Store) -> None:
        spans = [span(1, 0, {"evalvault.stage.type": "tool", "evalvault.run.id": RUN}, trace_id=tid(9))]
        store.write(batches(*spans), [], 1)
        (why,) = api.get(f"/api/traces/{tid(9)}?why=true").json["why"]
        assert (why["attribute"], why["value"]) == ("evalvault.stage.type", '"tool"')
        assert (why["run_id"], why["run_source"]) == (RUN, "evalvault.run.id of this span")

    def test_log_events_are_shown_beside_the_archived_spans(self, api: Api, store: Store) -> None:
        said = {"evalvault.asset.kind": "prompt", "nan": float("nan")}
        event = log(7, "evalvault.asset.used", said, trace_id=tid(77), body=b"\x00\xff")
        store.write([TraceBatch(tid(77), (), None, missing_root=True, missing_parent=True, logs=(event,))], [], 1)

        trace = api.get(f"/api/traces/{tid(77)}?spans=true").json

        assert (trace["span_count"], trace["assembled"], trace["stages"]) == (0, False, [])
        assert trace["log_events"] == [
            {
                "span_id": sid(7),
                "name": "evalvault.asset.used",
                "time": "2026-01-01T00:00:00.001000Z",
                "severity": 9,
                "severity_text": "INFO",
                "body": "AP8=",
                "attributes": {"evalvault.asset.kind": "prompt", "nan": "NaN"},
                "dropped_attributes": 0,
                "service": "rag-api",
                "scope": "my.library",
            }
        ]

    def test_the_archived_spans_of_a_trace_can_be_read_as_otlp(self, api: Api, store: Store) -> None:
        sent = span(1, trace_id=tid(1), attributes={"bytes": b"\x00\xff", "n": 2**62, "nan": float("nan")})
        store.write([TraceBatch(tid(1), (sent,), None, missing_root=False, missing_parent=False)], [], 1)
        trace = api.get(f"/api/traces/{tid(1)}?spans=true").json
        assert (trace["run_id"], trace["assembled"], trace["stages"], trace["span_count"]) == (None, False, [], 1)
        (read,) = otlp_json.decode(orjson.dumps(trace["spans"])).spans
        assert repr(read) == repr(sent), "equal, NaN included"

    def test_prometheus(self, api: Api, registry: CollectorRegistry) -> None:
        Counter("evalvault_things", "Things", registry=registry).inc(3)
        answer = api.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert b"evalvault_things_total 3.0" in answer.body

    def test_health(self, api: Api) -> None:
        assert api.get("/livez").json == {"status": "ok"}
        assert api.get("/readyz").json == {"status": "ok"}


class TestErrors:
    def test_unknown_is_404(self, api: Api) -> None:
        stages = [f"/api/stage/{route}/x" for route in ("events", "metrics", "summary", "debug")]
        for path in (*stages, "/api/runs/x", "/api/runs/", "/api/traces/x", "/nothing"):
            answer = api.get(path)
            assert answer.status == 404, path
            assert TypeAdapter(ApiError).validate_json(answer.body).error == "Not found"

    def test_otlp_at_the_wrong_address_is_told_the_right_one(self, api: Api) -> None:
        assert "--http" in TypeAdapter(ApiError).validate_json(api.get("/v1/traces").body).details

    def test_a_wrong_parameter_is_422_and_named(self, api: Api, store: Store) -> None:
        save(store, assembly([stage(1, 1, "output")]))
        wrong = {
            f"/api/stage/events/{RUN}?limit=0": "limit: ",
            f"/api/stage/events/{RUN}?limit=many": "limit: ",
            f"/api/stage/events/{RUN}?cursor=x": "cursor: ",
            f"/api/stage/metrics/{RUN}?failing=perhaps": "failing: ",
            f"/api/stage/debug/{RUN}?format=pdf": "format: ",
            f"/api/stage/debug/{RUN}?profile=staging": "no thresholds profile 'staging': use one of dev, prod",
            "/api/runs?since=yesterday": "since: ",
        }
        for path, details in wrong.items():
            answer = api.get(path)
            assert (answer.status, answer.json["error"]) == (422, "Invalid parameter"), path
            assert answer.json["details"].startswith(details)

    def test_storage_away_is_503_with_a_time_to_try_again(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "never-migrated.db"))
        with serving(store, CollectorRegistry()) as api:
            for path in ("/readyz", "/api/runs", "/api/stage/debug/x"):
                answer = api.get(path)
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert answer.json["error"] == "Storage unavailable"
            assert api.get("/livez").status == 200
        store.close()

    def test_only_reading_is_allowed(self, api: Api) -> None:
        answer = api.get("/api/runs", method="DELETE")
        assert answer.status == 405
        assert answer.json["error"] == "Method not allowed"


def test_openapi_describes_every_answer(api: Api) -> None:
    document = api.get("/openapi.json").json
    assert {path.replace("{run_id}", "R") for path in document["paths"]} == {
        "/", "/livez", "/readyz", "/metrics", "/api/runs", "/api/runs/R", "/api/runs/R/assets", "/api/stage/events/R",
        "/api/stage/metrics/R",
        "/api/stage/summary/R", "/api/stage/debug/R", "/api/findings/codes", "/api/traces/{trace_id}", "/api/rejects",
        "/api/rejects/{reject_id}", "/api/assets", "/api/assets/graph", "/api/assets/{kind}/{name}",
        "/api/compare", "/api/stream", "/trace",
    }  # fmt: skip
    for path, methods in document["paths"].items():
        assert set(methods) == {"get"}, path
        responses = methods["get"]["responses"]
        assert {"404", "422", "503"} <= set(responses)
        if path not in {"/metrics", "/trace", "/api/stream"}:
            assert responses["200"]["content"]["application/json"]["schema"]["$ref"], path
        error = responses["422"]["content"]["application/json"]["schema"]["$ref"]
        assert error.endswith("/ApiError")
