"""The functions that apps of the OPS orchestrator call, where its own ones lost assets."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

import evalvault_otel as ev
from evalvault_otel.sdk import tracking
from tests.support.recording import Recording

_PLANNER = {"asset_id": "7b3c", "name": "planner", "version": 3, "source": "asset_registry", "scope": "ops"}


def test_what_is_tracked_comes_back_and_is_recorded(recorded: Recording) -> None:
    with ev.stage("route_plan"):
        ev.begin_stage_asset_tracking()
        ev.track_prompt_asset_to_stage(_PLANNER)
        ev.track_query_asset_to_stage({"name": "find", "version": 1})
        ev.track_screen_asset_to_stage({"screen_id": "overview", "name": "Overview"})
        ev.track_tool_asset_to_stage({"tool_name": "sql", "source": "tool_execution"})
        during = ev.get_stage_assets()
        after = ev.end_stage_asset_tracking()

    assert during == after
    assert after == {
        "prompt": _PLANNER,
        "queries": [{"name": "find", "version": 1}],
        "screens": [{"screen_id": "overview", "name": "Overview"}],
        "tools": [{"tool_name": "sql", "source": "tool_execution"}],
    }
    assert recorded.assets() == {"route_plan": ["prompt planner v3", "query find v1", "screen overview", "tool sql"]}
    (first, *_) = recorded.assembly().asset_uses
    assert (first.asset_id, first.origin, first.fallback) == ("7b3c", "registry", False)


@pytest.mark.parametrize("source", ["file_fallback", "seed_file", "legacy_file"])
def test_what_did_not_come_from_the_registry_is_a_fallback(recorded: Recording, source: str) -> None:
    with ev.stage("validate"):
        ev.track_policy_asset_to_stage({"name": "plan_budget", "source": source, "policy_type": "budget"})

    (use,) = recorded.assembly().asset_uses
    assert (use.origin, use.fallback, use.subtype) == ("fallback", True, "budget")


def test_an_unused_kind_does_not_appear(recorded: Recording) -> None:
    with ev.stage("validate"):
        ev.begin_stage_asset_tracking()
        assert ev.end_stage_asset_tracking() == {}
    assert recorded.assets() == {}


def test_a_single_kind_used_twice_is_a_list(recorded: Recording) -> None:
    with ev.stage("compose"):
        ev.begin_stage_asset_tracking()
        for version in (1, 2, 3):
            ev.track_prompt_asset_to_stage({"name": "answer", "version": version})
        assert [info["version"] for info in ev.end_stage_asset_tracking()["prompt"]] == [1, 2, 3]
    assert recorded.assets() == {"compose": [f"prompt answer v{version}" for version in (1, 2, 3)]}


def test_an_inner_collection_takes_nothing_from_the_outer_one(recorded: Recording) -> None:
    with ev.stage("execute"):
        ev.begin_stage_asset_tracking()
        ev.track_source_asset_to_stage({"name": "before"})
        with ev.stage("tool"):
            ev.begin_stage_asset_tracking()
            ev.track_source_asset_to_stage({"name": "inside"})
            assert ev.end_stage_asset_tracking() == {"source": {"name": "inside"}}
        ev.track_source_asset_to_stage({"name": "after"})
        assert ev.end_stage_asset_tracking() == {"source": [{"name": "before"}, {"name": "after"}]}

    assert recorded.assets() == {"execute": ["source before", "source after"], "tool": ["source inside"]}


def test_a_stage_that_raised_leaves_nothing_for_the_next(recorded: Recording) -> None:
    def run() -> None:
        with ev.stage("execute"):
            ev.begin_stage_asset_tracking()
            ev.track_query_asset_to_stage({"name": "broken"})
            raise ConnectionError

    with ev.stage("workflow"):
        with pytest.raises(ConnectionError):
            run()
        assert ev.get_stage_assets() == {}
        with ev.stage("compose"):
            ev.begin_stage_asset_tracking()
            ev.track_prompt_asset_to_stage({"name": "answer"})
            assert ev.end_stage_asset_tracking() == {"prompt": {"name": "answer"}}

    assert recorded.assets() == {"execute": ["query broken"], "compose": ["prompt answer"]}


def test_threads_and_tasks_of_a_stage_add_to_its_collection(recorded: Recording) -> None:
    async def load(number: int) -> None:
        await asyncio.sleep(0)
        ev.track_tool_asset_to_stage({"name": f"task-{number}"})

    async def work() -> list[str]:
        async with ev.stage("execute"):
            ev.begin_stage_asset_tracking()
            await asyncio.gather(*(load(number) for number in range(3)))
            with ev.propagate(ThreadPoolExecutor(2)) as pool:
                list(pool.map(lambda n: ev.track_tool_asset_to_stage({"name": f"thread-{n}"}), range(3)))
            return [info["name"] for info in ev.end_stage_asset_tracking()["tools"]]

    names = asyncio.run(work())
    assert sorted(names) == sorted(f"{kind}-{number}" for kind in ("task", "thread") for number in range(3))
    assert sorted(recorded.assets()["execute"]) == sorted(f"tool {name}" for name in names)


def test_the_infos_are_copies_on_the_way_in_and_out(recorded: Recording) -> None:
    info = {"name": "planner", "version": 1}
    with ev.stage("route_plan"):
        ev.begin_stage_asset_tracking()
        ev.track_prompt_asset_to_stage(info)
        info["version"] = 2
        ev.get_stage_assets()["prompt"]["version"] = 3
        assert ev.end_stage_asset_tracking() == {"prompt": {"name": "planner", "version": 1}}
    assert recorded.assets() == {"route_plan": ["prompt planner v1"]}


def test_an_end_without_a_begin_is_empty(recorded: Recording) -> None:
    assert ev.end_stage_asset_tracking() == {}
    assert ev.get_stage_assets() == {}
    assert recorded.sent() == ()


def test_there_is_a_function_for_each_kind() -> None:
    kinds = ("prompt", "policy", "mapping", "source", "schema", "catalog", "resolver", "query", "screen", "tool")
    assert [getattr(tracking, f"track_{kind}_asset_to_stage").__name__ for kind in kinds] == [
        f"track_{kind}_asset_to_stage" for kind in kinds
    ]
