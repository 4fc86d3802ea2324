"""The routes about assets over a real socket, on every store."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter

from evalvault_otel.analysis.asset_graph import AssetGraph
from evalvault_otel.analysis.ledger import AssetLedger, AssetPage
from evalvault_otel.analysis.run_assets import RunAssets
from evalvault_otel.server.api_models import TraceJson
from evalvault_otel.store import Store
from tests.server.test_api import Api, serving
from tests.support.stages import RUN, assembly, planted_run, save, stage, tid, use


@pytest.fixture
def api(store: Store) -> Iterator[Api]:
    with serving(store, CollectorRegistry()) as running:
        yield running


def test_answers_have_the_shape_that_is_described(api: Api, store: Store) -> None:
    save(store, *planted_run()[:8])
    shapes: dict[str, type] = {
        f"/api/runs/{RUN}/assets?limit=3": RunAssets,
        "/api/assets": AssetPage,
        "/api/assets/prompt/answer": AssetLedger,
        f"/api/assets/graph?run_id={RUN}": AssetGraph,
        f"/api/traces/{tid(1)}": TraceJson,
    }
    for path, shape in shapes.items():
        answer = api.get(path)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), path
        read: Any = TypeAdapter(shape).validate_json(answer.body)
        assert orjson.loads(TypeAdapter(shape).dump_json(read)) == answer.json, path


def test_a_trace_shows_texts_records_inputs_and_the_union(api: Api, store: Store) -> None:
    stages = [
        stage(1, 1, "execute", 0, 5, attributes={"query": "q"}),
        stage(1, 2, "execute", 10, 5, attempt=2),
        stage(1, 3, "compose", 20, 5),
    ]
    uses = [
        use(1, 1, "query", "find", "1"),
        use(1, 1, "query", "count", "3", ordinal=1),
        use(1, 2, "query", "find", "2"),
        use(1, 3, "prompt", "answer", "1", origin="fallback"),
        use(1, 3, "prompt", "tone", "4", ordinal=1, load_ms=2.5, cache_hit=False),
    ]
    save(store, assembly(stages, uses))
    found = api.get(f"/api/traces/{tid(1)}").json
    texts = [
        {"queries": ["find (v1)", "count (v3)"]},
        {"queries": ["find (v2)"]},
        {"prompt": ["answer (fallback)", "tone (v4)"]},
    ]
    assert [item["applied_assets"] for item in found["stage_inputs"]] == texts
    assert [item["stage"]["applied_assets"] for item in found["stages"]] == texts
    assert [(item["stage"], item["attempt"], item["params"]) for item in found["stage_inputs"]] == [
        ("execute", 1, {"query": "q"}),
        ("execute", 2, {}),
        ("compose", 1, {}),
    ]
    assert found["stage_inputs"][2]["assets"][1]["version"] == "4"
    assert [(item["load_ms"], item["cache_hit"]) for item in found["assets"][-2:]] == [(None, None), (2.5, False)]
    assert [(item["text"], [by["stage_id"] for by in item["used_by"]]) for item in found["applied_assets"]] == [
        ("answer (fallback)", ["t1-s3"]),
        ("tone (v4)", ["t1-s3"]),
        ("count (v3)", ["t1-s1"]),
        ("find (v1)", ["t1-s1"]),
        ("find (v2)", ["t1-s2"]),
    ]
    events = api.get(f"/api/stage/events/{RUN}").json["events"]
    assert [event["applied_assets"] for event in events] == texts


def test_the_assets_of_a_run_in_pages(api: Api, store: Store) -> None:
    save(store, *planted_run())
    seen: list[str] = []
    cursor: str | None = ""
    rate = None
    while cursor is not None:
        page = api.get(
            f"/api/runs/{RUN}/assets?stage_type=output&limit=15" + (f"&cursor={cursor}" if cursor else "")
        ).json
        seen += [item["applied_assets"]["prompt"] for item in page["stages"]]
        rate = page["completeness"]["rate"] if page["completeness"] else rate
        cursor = page["next_cursor"]
    assert seen == ["answer (v1)"] * 20 + ["answer (v2)"] * 20
    assert rate == 1.0


@pytest.mark.parametrize("run_id", ["rag-api@2026-01-01", "team/nightly/7", "läuft?", "odd/assets"])
def test_run_ids_may_hold_anything(api: Api, store: Store, run_id: str) -> None:
    save(store, assembly([stage(1, 1, "output", run_id=run_id)], [use(1, 1, "prompt", "p", run_id=run_id)]))
    found = api.get(f"/api/runs/{quote(run_id)}/assets").json
    assert (found["run_id"], len(found["stages"])) == (run_id, 1)
    assert api.get(f"/api/runs/{quote(run_id)}").json["run_id"] == run_id
    assert api.get(f"/api/assets/graph?run_id={quote(run_id)}").json["run_id"] == run_id


def test_names_of_assets_may_hold_anything(api: Api, store: Store) -> None:
    names = ["ops/answer_compose", "läuft?", "a b", "graph"]
    for n, name in enumerate(names):
        save(store, assembly([stage(n, 1, "output")], [use(n, 1, "prompt", name)]))
    for name in names:
        assert api.get(f"/api/assets/prompt/{quote(name)}").json["name"] == name


def test_filters_of_the_list(api: Api, store: Store) -> None:
    save(store, *(assembly([stage(n, 1, "output")], [use(n, 1, "prompt", f"p{n}", "1")]) for n in (1, 2, 3)))
    expected = {
        "q=P2": ["p2"],
        "kind=query": [],
        "since=2026-01-01T00:00:03Z": ["p3"],
        "until=2026-01-01T00:00:02Z": ["p1"],
        "since=2026-01-01T00:00:01Z&until=2026-01-01T00:00:03Z": ["p1", "p2"],
    }
    found = {query: [item["name"] for item in api.get(f"/api/assets?{query}").json["assets"]] for query in expected}
    assert found == expected


def test_the_graph_as_mermaid(api: Api, store: Store) -> None:
    save(store, *planted_run()[:3])
    answer = api.get(f"/api/assets/graph?run_id={RUN}&format=mermaid")
    assert answer.headers["content-type"] == "text/vnd.mermaid; charset=utf-8"
    assert answer.body.decode().startswith("flowchart LR\n")


def test_what_is_unknown_or_wrong(api: Api, store: Store) -> None:
    save(store, *planted_run()[:3])
    for path, status in {
        "/api/runs/nothing/assets": 404,
        "/api/assets/prompt/nothing": 404,
        "/api/assets/graph?run_id=nothing": 404,
        "/api/assets/graph": 422,
        f"/api/assets/graph?run_id={RUN}&format=svg": 422,
        "/api/assets?cursor=nonsense": 422,
        "/api/assets?limit=0": 422,
        "/api/assets/prompt/answer?before=1": 422,
        "/api/assets/prompt/answer?before=1&after=9": 422,
    }.items():
        answer = api.get(path)
        assert (answer.status, sorted(answer.json)) == (status, ["details", "error"]), path


def test_two_versions_of_choice_are_compared(api: Api, store: Store) -> None:
    save(store, *planted_run())
    found = api.get("/api/assets/prompt/answer?before=2&after=1").json["comparison"]
    assert (found["before"], found["after"], found["level"]) == ("2", "1", 0.95)
    moved = {item["metric_name"]: item["verdict"] for item in found["differences"]}
    assert moved["output.citation_count"] == "better"
