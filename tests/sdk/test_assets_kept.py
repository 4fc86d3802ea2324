"""Each way in which the systems before this one lost assets, by the whole way to the asset uses of stages."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context

import pytest
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, use_span

import evalvault_otel as ev
from evalvault_otel.assembly.assemble import assemble
from evalvault_otel.sdk import guard
from evalvault_otel.wire import protobuf
from tests.support.recording import Recording, recording


def test_every_stage_has_what_was_used_in_it_and_nothing_else(recorded: Recording) -> None:
    with ev.stage("workflow"):
        with ev.stage("route_plan"):
            ev.asset("prompt", "planner", version=3)
            ev.asset("policy", "plan_budget", version=1)
        with ev.stage("execute"):
            ev.asset("query", "find", version=2)
        with ev.stage("validate"):
            pass

    assert recorded.assets() == {
        "route_plan": ["prompt planner v3", "policy plan_budget v1"],
        "execute": ["query find v2"],
    }


def test_nested_stages_take_nothing_from_each_other(recorded: Recording) -> None:
    with ev.stage("execute"):
        ev.asset("source", "before")
        with ev.stage("tool"):
            ev.asset("query", "inside")
        ev.asset("source", "after")

    assert recorded.assets() == {"execute": ["source before", "source after"], "tool": ["query inside"]}


def test_a_stage_that_raises_keeps_its_assets_and_leaves_none_behind(recorded: Recording) -> None:
    def run() -> None:
        with ev.stage("execute"):
            ev.asset("query", "broken")
            raise ConnectionError("down")

    with ev.stage("workflow"):
        with pytest.raises(ConnectionError):
            run()
        with ev.stage("compose"):
            ev.asset("prompt", "answer")

    assert recorded.assets() == {"execute": ["query broken"], "compose": ["prompt answer"]}
    assert recorded.stage("execute").status == "error"


def test_what_threads_of_a_pool_use_belongs_to_the_stage_that_submitted(recorded: Recording) -> None:
    with ev.propagate(ThreadPoolExecutor(4)) as pool, ev.stage("workflow"):
        with ev.stage("execute"):
            list(pool.map(lambda number: ev.asset("query", f"q{number}"), range(20)))
        with ev.stage("compose"):
            pool.submit(ev.asset, "prompt", "answer", version=1).result()

    assert {kind: sorted(uses) for kind, uses in recorded.assets().items()} == {
        "execute": sorted(f"query q{number}" for number in range(20)),
        "compose": ["prompt answer v1"],
    }


def test_a_pool_of_processes_works_as_before_and_it_is_said_that_nothing_goes_along(recorded: Recording) -> None:
    with ev.stage("execute"), ev.propagate(ProcessPoolExecutor(1, get_context("spawn"))) as pool:
        assert pool.submit(abs, -3).result() == 3

    assert ev.problems() == {"propagate to processes": 1}
    assert len(recorded.sent()) == 1


def test_what_a_thread_of_its_own_uses_belongs_to_the_stage_that_made_it(recorded: Recording) -> None:
    with ev.stage("execute"):
        threads = [threading.Thread(target=ev.propagate(partial(ev.asset, "tool", "t"))) for _ in range(2)]
        work = ev.propagate(partial(ev.asset, "tool", "shared"))
        threads += [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(recorded.assets()["execute"]) == ["tool shared", "tool shared", "tool t", "tool t"]


def test_tasks_of_a_gather_keep_their_stages_apart(recorded: Recording) -> None:
    async def search(name: str) -> None:
        async with ev.stage("retrieval", name=name):
            ev.asset("index", name)
            await asyncio.sleep(0.001)
            ev.asset("query", name)

    async def answer() -> None:
        async with ev.stage("workflow"):
            ev.asset("policy", "p")
            await asyncio.gather(*(search(f"s{number}") for number in range(5)))

    asyncio.run(answer())

    assembly = recorded.assembly()
    names = {stage.stage_id: stage.stage_name for stage in assembly.stages}
    assert sorted((names[use.stage_id], use.kind, use.name) for use in assembly.asset_uses if use.kind != "policy") == [
        (name, kind, name) for name in (f"s{number}" for number in range(5)) for kind in ("index", "query")
    ]


def test_a_task_that_outlives_its_stage_is_attributed_to_it(recorded: Recording) -> None:
    async def late() -> None:
        await asyncio.sleep(0.005)
        ev.asset("source", "late", version=7)

    async def answer() -> None:
        async with ev.stage("workflow"):
            async with ev.stage("execute"):
                ev.asset("query", "soon")
                task = asyncio.create_task(late())
            async with ev.stage("compose"):
                ev.asset("prompt", "p")
        await task

    asyncio.run(answer())

    assert recorded.assets() == {"execute": ["query soon", "source late v7"], "compose": ["prompt p"]}
    assert [finding.code for finding in recorded.assembly().findings] == []
    assert [stage.stage_type for stage in recorded.assembly().stages] == ["workflow", "execute", "compose"]


def test_late_work_changes_no_time_of_its_stage(recorded: Recording) -> None:
    with ev.stage("execute") as stage:
        pass
    stage.asset("source", "late")

    event = recorded.stage("execute")
    assert event.self_ms == event.duration_ms
    assert recorded.assets() == {"execute": ["source late"]}


def test_what_the_caller_does_to_its_values_afterwards_changes_nothing(recorded: Recording) -> None:
    info = {"name": "find", "version": 2, "source": "asset_registry"}
    ids = ["d1"]
    with ev.stage("retrieval") as stage:
        ev.track_query_asset_to_stage(info)
        stage.record(doc_ids=ids)
        info["version"] = 3
        ids.append("d2")

    assert recorded.assets() == {"retrieval": ["query find v2"]}
    assert recorded.stage("retrieval").attributes["doc_ids"] == ["d1"]


def test_two_versions_of_one_asset_in_a_stage_are_two_uses(recorded: Recording) -> None:
    with ev.stage("compose"):
        ev.asset("prompt", "answer", version=1)
        ev.asset("prompt", "answer", version=2)

    assert recorded.assets() == {"compose": ["prompt answer v1", "prompt answer v2"]}


def test_a_single_kind_used_twice_keeps_both(recorded: Recording) -> None:
    with ev.stage("route_plan"):
        ev.asset("prompt", "system", role="system")
        ev.asset("prompt", "planner")

    assert recorded.assets() == {"route_plan": ["prompt system", "prompt planner"]}


def test_a_loader_that_is_wrapped_once_records_every_call(recorded: Recording) -> None:
    @ev.track_assets(kind="prompt", version=4)
    @lru_cache
    def load(name: str) -> str:
        return f"text of {name}"

    with ev.stage("workflow"):
        for stage_type in ("route_plan", "compose"):
            with ev.stage(stage_type):
                load("ops/planner")

    assert recorded.assets() == {"route_plan": ["prompt ops/planner v4"], "compose": ["prompt ops/planner v4"]}


def test_a_stage_that_is_done_again_has_its_own_assets(recorded: Recording) -> None:
    with ev.stage("workflow"):
        for attempt in (1, 2):
            with ev.stage("execute", attempt=attempt):
                ev.asset("query", "find", version=attempt)

    assembly = recorded.assembly()
    attempts = {stage.stage_id: stage.attempt for stage in assembly.stages}
    assert sorted((attempts[use.stage_id], use.version) for use in assembly.asset_uses) == [(1, "1"), (2, "2")]


def test_what_came_from_elsewhere_is_not_hidden_by_what_came_after(recorded: Recording) -> None:
    with ev.stage("compose"):
        ev.asset("prompt", "system", version=1, origin="fallback")
        ev.asset("prompt", "answer", version=0, origin="registry")
        ev.asset("policy", "p")

    uses = recorded.assembly().asset_uses
    assert [(use.name, use.version, use.origin, use.fallback) for use in uses] == [
        ("system", "1", "fallback", True),
        ("answer", "0", "registry", False),
        ("p", None, None, False),
    ]


@pytest.mark.parametrize("uses", [100, 101, 129, 700, 3000])
def test_no_use_is_lost_over_the_limit_of_events_and_their_order_stays(recorded: Recording, uses: int) -> None:
    with ev.stage("execute"):
        for number in range(uses):
            ev.asset("tool", f"tool-{number:04}", version=number, digest="sha256:" + "0" * 64)

    found = recorded.assembly().asset_uses
    assert [(use.ordinal, use.name, use.version) for use in found] == [
        (number, f"tool-{number:04}", str(number)) for number in range(uses)
    ]
    assert all(use.used_ns for use in found)
    assert recorded.assembly().findings == ()


@pytest.mark.parametrize("uses", [101, 700, 1500])
def test_the_same_holds_for_spans_that_are_not_ours(recorded: Recording, uses: int) -> None:
    with ev.stage("execute"), recorded.tracer.start_as_current_span("GET /tools"):
        for number in range(uses):
            ev.asset("tool", f"tool-{number:04}", digest="sha256:" + "0" * 64)

    assert recorded.assets() == {"execute": [f"tool tool-{number:04}" for number in range(uses)]}


@pytest.mark.parametrize("limits", [SpanLimits(max_events=10), SpanLimits(max_attribute_length=100)])
def test_it_holds_with_other_limits_of_the_sdk(limits: SpanLimits) -> None:
    with recording(limits) as recorded:
        with ev.stage("execute"):
            for number in range(300):
                ev.asset("tool", f"tool-{number:04}")

        assert recorded.assets() == {"execute": [f"tool tool-{number:04}" for number in range(300)]}


def test_many_threads_on_one_span_lose_nothing(recorded: Recording) -> None:
    def work(thread: int) -> None:
        for number in range(100):
            ev.asset("tool", f"{thread}-{number}")

    with ev.stage("execute"), ev.propagate(ThreadPoolExecutor(8)) as pool:
        list(pool.map(work, range(8)))

    names = sorted(use.name for use in recorded.assembly().asset_uses)
    assert names == sorted(f"{thread}-{number}" for thread in range(8) for number in range(100))


def test_what_a_generator_uses_while_it_is_consumed_belongs_to_its_stage(recorded: Recording) -> None:
    @ev.stage("generation")
    def tokens() -> Iterator[str]:
        ev.asset("model", "m")
        yield "a"
        ev.asset("prompt", "p")
        yield "b"

    with ev.stage("present"):
        for _ in tokens():
            ev.asset("screen", "s")

    assert recorded.assets() == {"present": ["screen s", "screen s"], "output": ["model m", "prompt p"]}


_FORKING = """
import os, sys
import evalvault_otel as ev
from tests.support.recording import recording
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

with recording() as recorded:
    with ev.stage("execute"):
        ev.asset("query", "parent")
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            for number in range(3):
                ev.asset("query", f"child-{number}")
            with ev.stage("tool"):
                ev.asset("tool", "inside")
            os.write(write, encode_spans(recorded.sent()).SerializeToString())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            sys.stdout.buffer.write(pipe.read())
        os.waitpid(child, 0)
    sys.stdout.buffer.write(encode_spans(recorded.sent()).SerializeToString())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_adds_to_the_stage_it_was_forked_in() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _FORKING], check=True, capture_output=True)

    # Protobuf messages one after the other are one message with the fields of both.
    assembly = assemble(protobuf.decode(done.stdout).spans)
    types = {stage.stage_id: stage.stage_type for stage in assembly.stages}
    assert [(types[use.stage_id], use.name) for use in assembly.asset_uses if use.kind == "query"] == [
        ("execute", name) for name in ("parent", "child-0", "child-1", "child-2")
    ]
    assert [types[use.stage_id] for use in assembly.asset_uses if use.kind == "tool"] == ["tool"]


def test_where_no_span_is_active_it_is_counted_and_nothing_raises(recorded: Recording) -> None:
    ev.asset("prompt", "nowhere")
    ev.asset("prompt", "nowhere")

    assert ev.problems() == {"asset without a span": 2}
    assert recorded.sent() == ()


@pytest.mark.parametrize("call", [("", "n"), ("prompt", None), ("prompt", "")])
def test_a_use_without_kind_or_name_is_counted_or_raises(recorded: Recording, call: tuple[str, str | None]) -> None:
    with ev.stage("execute"):
        with pytest.raises(ev.WrongUse, match="kind and a name"):
            ev.asset(*call)
        guard.strict(enabled=False)
        ev.asset(*call)

    assert recorded.assets() == {}
    assert ev.problems() == {"asset without a name": 1}


class _Bridged(NonRecordingSpan):
    """A span of another SDK, which compares by value and so has no hash."""

    __hash__ = None  # type: ignore[assignment]  # as Python does for such classes

    def __init__(self) -> None:
        super().__init__(INVALID_SPAN_CONTEXT)
        self.events: list[str] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bridged)

    def is_recording(self) -> bool:
        return True

    def add_event(self, name: str, attributes: object = None, timestamp: int | None = None) -> None:
        self.events.append(f"{name} {attributes} {timestamp}")


def test_a_span_of_another_sdk_gets_its_events() -> None:
    span = _Bridged()
    with recording(), use_span(span):
        ev.asset("prompt", "p")
        ev.asset("prompt", "p")

    assert len(span.events) == 2


def test_values_that_misbehave_never_raise(recorded: Recording) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    guard.strict(enabled=False)
    with ev.stage("execute"):
        ev.asset("prompt", "p", version=Odd())
        ev.asset("prompt", "p", colour="red")  # type: ignore[call-arg]  # what an untyped app may call
        ev.asset("prompt", "q", version=1, fallback=True, id=7, load_duration=0.25, cache_hit=False)

    assert recorded.assets() == {"execute": ["prompt p", "prompt q v1"]}
    assert set(ev.problems()) == {"asset: RuntimeError", "asset field"}
