"""The exact texts of applied assets, with the structured list always beside them."""

from typing import Any

import pytest

from evalvault_otel.analysis.applied import applied_assets, stage_inputs, trace_assets
from evalvault_otel.model import AssetUse
from tests.support.stages import stage, use


def uses(*said: dict[str, Any]) -> list[AssetUse]:
    return [use(1, 1, item.pop("kind"), item.pop("name"), ordinal=n, **item) for n, item in enumerate(map(dict, said))]


@pytest.mark.parametrize("kind", ["prompt", "policy", "mapping", "source", "schema", "catalog", "resolver"])
def test_a_single_kind_is_one_text_under_its_own_name(kind: str) -> None:
    assert applied_assets(uses({"kind": kind, "name": "n", "version": "2"})) == {kind: "n (v2)"}


@pytest.mark.parametrize("kind, plural", [("query", "queries"), ("screen", "screens"), ("tool", "tools")])
def test_a_list_kind_is_a_list_under_its_plural_also_with_one(kind: str, plural: str) -> None:
    assert applied_assets(uses({"kind": kind, "name": "n", "version": "2"})) == {plural: ["n (v2)"]}


@pytest.mark.parametrize(
    "said, text",
    [
        ({"version": "2"}, "n (v2)"),
        ({"version": "0"}, "n (v0)"),
        ({}, "n"),
        ({"version": "2026-09-01"}, "n (v2026-09-01)"),
        ({"version": "v7"}, "n (v7)"),
        ({"version": "vega"}, "n (vvega)"),
        ({"version": "2", "origin": "registry"}, "n (v2)"),
        ({"version": "2", "fallback": True}, "n (fallback)"),
        ({"version": "2", "origin": "fallback"}, "n (fallback)"),
        ({"version": "2", "origin": "builtin"}, "n (fallback)"),
        ({"version": "2", "origin": "file_fallback"}, "n (fallback)"),
        ({"version": "2", "origin": "override"}, "n (v2)"),
        ({"version": "2", "origin": "convention"}, "n (v2)"),
    ],
)
def test_version_and_fallback(said: dict[str, Any], text: str) -> None:
    assert applied_assets(uses({"kind": "prompt", "name": "n", **said})) == {"prompt": text}


def test_lists_never_say_fallback() -> None:
    said = {"kind": "query", "name": "find", "version": "1", "origin": "fallback"}
    assert applied_assets(uses(said)) == {"queries": ["find (v1)"]}


def test_what_was_not_used_is_absent() -> None:
    assert applied_assets([]) == {}


def test_two_versions_of_a_single_kind_in_one_stage_are_a_list_in_the_order_of_use() -> None:
    found = applied_assets(
        uses(
            {"kind": "prompt", "name": "planner", "version": "3"},
            {"kind": "prompt", "name": "compose", "version": "1"},
            {"kind": "prompt", "name": "compose", "version": "2"},
            {"kind": "policy", "name": "limits"},
        )
    )
    assert found == {"prompt": ["planner (v3)", "compose (v1)", "compose (v2)"], "policy": "limits"}


def test_the_stage_of_the_seeds_example() -> None:
    found = applied_assets(
        uses(
            {"kind": "source", "name": "primary_postgres", "version": "1", "origin": "registry"},
            {"kind": "query", "name": "query1", "version": "2", "origin": "registry"},
            {"kind": "query", "name": "query2", "version": "1", "origin": "registry"},
            {"kind": "catalog", "name": "primary", "origin": "registry"},
        )
    )
    assert found == {
        "source": "primary_postgres (v1)",
        "queries": ["query1 (v2)", "query2 (v1)"],
        "catalog": "primary",
    }


def test_stage_inputs_show_repeated_stages_each_time_in_the_order_given() -> None:
    stages = [
        stage(1, 1, "execute", 0, attributes={"query": "q", "doc_ids": ["a"], "top_k": 3}),
        stage(1, 2, "execute", 20, attempt=2, attributes={"params": {"depth": 1}}),
        stage(1, 3, "present", 40, status="skipped"),
    ]
    used = [use(1, 1, "query", "find", "1"), use(1, 2, "query", "find", "2")]
    found = stage_inputs(stages, used)
    assert [(item.stage, item.attempt, item.applied_assets, item.params) for item in found] == [
        ("execute", 1, {"queries": ["find (v1)"]}, {"query": "q", "top_k": 3}),
        ("execute", 2, {"queries": ["find (v2)"]}, {"depth": 1}),
        ("present", 1, {}, {}),
    ]
    assert [[(asset.name, asset.version) for asset in item.assets] for item in found] == [
        [("find", "1")],
        [("find", "2")],
        [],
    ]


def test_the_whole_trace_is_the_union_with_where_each_was_used() -> None:
    stages = [stage(1, 1, "route_plan"), stage(1, 2, "compose", 20, stage_name="writer")]
    used = [
        use(1, 1, "prompt", "answer", "1"),
        use(1, 2, "prompt", "answer", "1", ordinal=0),
        use(1, 2, "prompt", "answer", "1", ordinal=1),
        use(1, 2, "prompt", "answer", "2", ordinal=2),
        use(1, 9, "policy", "tone"),
    ]
    found = trace_assets(stages, used)
    assert [(item.kind, item.text, item.uses) for item in found] == [
        ("policy", "tone", 1),
        ("prompt", "answer (v1)", 3),
        ("prompt", "answer (v2)", 1),
    ]
    assert [(by.stage_type, by.stage_name, by.uses) for by in found[1].used_by] == [
        ("route_plan", None, 1),
        ("compose", "writer", 2),
    ]
    assert [(by.stage_id, by.stage_type) for by in found[0].used_by] == [("t1-s9", None)]
