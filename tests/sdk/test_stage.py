"""Stages of blocks and of functions of every kind: their place, their end, and what the program keeps of its own."""

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.trace import Link, get_current_span

import evalvault_otel as ev
from evalvault_otel.assembly.assemble import assemble
from evalvault_otel.sdk import guard
from evalvault_otel.sdk.stage import Stage
from tests.support.recording import Recording, recording


def _tree(recorded: Recording) -> list[tuple[str, str | None, str]]:
    """Type and name of each stage, the type of its parent, its status; in order."""
    stages = recorded.assembly().stages
    types = {stage.stage_id: stage.stage_type for stage in stages}
    return [
        (f"{stage.stage_type} {stage.stage_name}", types.get(stage.parent_stage_id or ""), stage.status)
        for stage in stages
    ]


def test_blocks_nest_as_they_are_written(recorded: Recording) -> None:
    with ev.stage("workflow", "answer"):
        with ev.stage("retrieval", name="bm25") as stage:
            assert ev.current_stage() is stage
        with ev.stage("rerank"):
            pass

    assert _tree(recorded) == [
        ("workflow answer", None, "success"),
        ("retrieval bm25", "workflow", "success"),
        ("rerank rerank", "workflow", "success"),
    ]
    assert ev.current_stage() is None


def test_spans_of_others_keep_their_place(recorded: Recording) -> None:
    start = recorded.tracer.start_as_current_span
    with start("POST /ask"), ev.stage("execute"), start("SELECT"), ev.stage("tool"):
        pass

    assert _tree(recorded) == [("execute execute", None, "success"), ("tool tool", "execute", "success")]
    assert [span.parent is None for span in recorded.sent()] == [False, False, False, True]


def test_ids_of_stage_and_parent_are_those_that_were_asked_for(recorded: Recording) -> None:
    with ev.stage("retrieval", id="s-1") as first, ev.stage("tool") as second:
        pass
    with ev.stage("rerank", parent_id="s-0", links=[Link(second.span.get_span_context())]):
        pass

    ids = {stage.stage_type: (stage.stage_id, stage.parent_stage_id) for stage in recorded_stages(recorded)}
    assert ids == {"retrieval": ("s-1", None), "tool": (second.id, "s-1"), "rerank": (ids["rerank"][0], "s-0")}
    assert first.id == "s-1"


def recorded_stages(recorded: Recording) -> list[Any]:
    """Of several traces."""
    by_trace: dict[str, list[Any]] = {}
    for span in recorded.received():
        by_trace.setdefault(span.trace_id, []).append(span)
    return [stage for spans in by_trace.values() for stage in assemble(spans).stages]


class _TestError(Exception):
    pass


@pytest.mark.parametrize(
    "error, status, error_type",
    [
        (ValueError("bad"), "error", "ValueError"),
        (TimeoutError("late"), "timeout", "TimeoutError"),
        (asyncio.CancelledError(), "cancelled", "asyncio.exceptions.CancelledError"),
        (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt"),
    ],
)
def test_an_exception_goes_on_up_and_is_recorded_once(
    recorded: Recording, error: BaseException, status: str, error_type: str
) -> None:
    with pytest.raises(type(error)) as caught, ev.stage("execute"):
        raise error

    assert caught.value is error
    event = recorded.stage("execute")
    assert (event.status, event.error_type) == (status, error_type)
    assert [one.name for span in recorded.sent() for one in span.events] == ["exception"]


def test_an_exception_that_is_handled_inside_is_none_of_the_stage(recorded: Recording) -> None:
    with ev.stage("workflow"), pytest.raises(_TestError), ev.stage("execute"):
        raise _TestError("x")

    assert {stage.stage_type: stage.status for stage in recorded.assembly().stages} == {
        "workflow": "success",
        "execute": "error",
    }


def test_an_exception_counts_more_than_what_was_said_before(recorded: Recording) -> None:
    @ev.stage("execute")
    def rejected() -> None:
        stage = ev.current_stage()
        assert stage is not None
        stage.skip("rejected")
        raise _TestError("x")

    with pytest.raises(_TestError):
        rejected()

    assert recorded.stage("execute").status == "error"


def test_an_exception_that_cannot_be_shown_is_still_an_error(recorded: Recording) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    guard.strict(enabled=False)
    with pytest.raises(Mute), ev.stage("execute"):
        raise Mute

    assert recorded.stage("execute").status == "error"


def test_a_skipped_stage_says_why(recorded: Recording) -> None:
    with ev.stage("validate") as stage:
        stage.skip("direct_answer")

    event = recorded.stage("validate")
    assert (event.status, event.error_message) == ("skipped", "direct_answer")


def test_identity_survives_the_attribute_limit() -> None:
    with recording(SpanLimits(max_span_attributes=20)) as recorded, ev.run("run-1"):
        with ev.stage("retrieval", name="bm25") as stage:
            stage.record({f"my.attribute.{number}": number for number in range(50)})

        event = recorded.stage("retrieval")
        assert (event.stage_name, event.run_id) == ("bm25", "run-1")


# Functions.


def test_a_function_keeps_its_name_and_result(recorded: Recording) -> None:
    @ev.stage("rerank")
    def best_of(items: list[int], *, top: int = 1) -> list[int]:
        """The best."""
        return sorted(items)[-top:]

    assert best_of([3, 1, 2], top=2) == [2, 3]
    assert (best_of.__name__, best_of.__doc__) == ("best_of", "The best.")
    assert _tree(recorded) == [("rerank best_of", None, "success")]


def test_a_recursive_function_has_a_stage_per_call(recorded: Recording) -> None:
    @ev.stage("tool", name="deep")
    def deep(left: int) -> int:
        return 0 if left == 0 else 1 + deep(left - 1)

    assert deep(3) == 3
    assert _tree(recorded) == [("tool deep", None, "success"), *[("tool deep", "tool", "success")] * 3]


def test_a_method_and_a_partial(recorded: Recording) -> None:
    class Searcher:
        @ev.stage("retrieval")
        def search(self, query: str) -> str:
            return query.upper()

        @staticmethod
        @ev.stage("rerank")
        def rank(query: str) -> str:
            return query

    assert Searcher().search("a") == "A"
    assert Searcher.rank("b") == "b"
    assert ev.stage("tool", name="p")(functools.partial(int, base=2))("11") == 3
    assert [span.name for span in recorded.sent()] == ["retrieval search", "rerank rank", "tool p"]


def test_decorators_of_methods_may_be_in_any_order(recorded: Recording) -> None:
    class Searcher:
        @ev.stage("retrieval")
        @classmethod
        def search(cls, query: str) -> str:
            return f"{cls.__name__} {query}"

        @ev.stage("rerank")
        @staticmethod
        def rank(query: str) -> str:
            return query

    assert (Searcher.search("a"), Searcher().rank("b")) == ("Searcher a", "b")
    assert [span.name for span in recorded.sent()] == ["retrieval search", "rerank rank"]


def test_a_class_stays_a_class(recorded: Recording) -> None:
    guard.strict(enabled=False)

    @ev.stage("retrieval")
    class Searcher:
        pass

    assert isinstance(Searcher, type)
    assert list(ev.problems()) == ["a class as function"]
    assert recorded.sent() == ()


def test_coroutines_run_inside_their_stage(recorded: Recording) -> None:
    class Caller:
        @ev.stage("generation", name="call")
        async def __call__(self) -> Stage | None:
            await asyncio.sleep(0)
            return ev.current_stage()

    @ev.stage("retrieval")
    async def search(number: int) -> int:
        await asyncio.sleep(0.001)
        ev.asset("index", str(number))
        return number

    async def both() -> tuple[int, int]:
        async with ev.stage("workflow"):
            assert await Caller()() is not None
            return await asyncio.gather(search(1), search(2))

    assert inspect.iscoroutinefunction(search)
    assert tuple(asyncio.run(both())) == (1, 2)
    assert [parent for name, parent, _ in _tree(recorded) if name == "retrieval search"] == ["workflow", "workflow"]


def test_a_cancelled_task_has_a_cancelled_stage(recorded: Recording) -> None:
    @ev.stage("generation")
    async def forever() -> None:
        await asyncio.sleep(60)

    async def give_up() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert [status for *_, status in _tree(recorded)] == ["cancelled"]


def test_a_time_out_is_told_apart(recorded: Recording) -> None:
    @ev.stage("generation")
    async def slow() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(slow())
    assert [status for *_, status in _tree(recorded)] == ["timeout"]


# Generators.


@ev.stage("generation", name="tokens")
def _tokens(*, fail: bool = False) -> Generator[str, str | None, str]:
    said = yield f"in {_current()}"
    with ev.stage("tool", name="inner"):
        said = yield f"in {_current()}, got {said}"
        if fail:
            raise _TestError("broken")
        # The stage inside is current again after its consumer had its turn.
        yield f"in {_current()}, got {said}"
    return "done"


def _current() -> str:
    stage = ev.current_stage()
    return stage.type if stage else "none"


def test_a_generator_works_as_before_and_its_consumer_stays_outside(recorded: Recording) -> None:
    seen = []
    with ev.stage("present"):
        tokens = _tokens()
        seen += [next(tokens), _current(), tokens.send("one"), _current(), tokens.send("two"), _current()]
        with pytest.raises(StopIteration) as end:
            next(tokens)

    assert seen == ["in generation", "present", "in tool, got one", "present", "in tool, got two", "present"]
    assert end.value.value == "done"
    assert [(name, parent) for name, parent, _ in _tree(recorded)] == [
        ("present present", None),
        ("output tokens", "present"),
        ("tool inner", "output"),
    ]


def test_the_span_of_a_generator_lasts_while_it_is_consumed(recorded: Recording) -> None:
    tokens = _tokens()
    assert recorded.sent() == ()
    next(tokens)
    with ev.stage("present"):
        pass
    list(tokens)

    times = {span.name: (span.start_time or 0, span.end_time or 0) for span in recorded.sent()}
    assert times["generation tokens"][0] < times["present"][0] < times["present"][1] < times["generation tokens"][1]


def test_a_generator_that_is_never_consumed_has_no_stage(recorded: Recording) -> None:
    _tokens().close()

    assert recorded.sent() == ()


def test_a_generator_that_is_closed_early_is_cancelled(recorded: Recording) -> None:
    for _ in _tokens():
        break

    assert [status for *_, status in _tree(recorded)] == ["cancelled"]


def test_a_generator_that_raises_is_an_error_and_its_consumer_sees_it(recorded: Recording) -> None:
    with pytest.raises(_TestError, match="broken"):
        list(_tokens(fail=True))

    assert [status for *_, status in _tree(recorded)] == ["error", "error"]


def test_what_is_thrown_into_a_generator_arrives_there(recorded: Recording) -> None:
    @ev.stage("generation")
    def patient() -> Iterator[str]:
        try:
            yield "waiting"
        except _TestError as error:
            yield f"caught {error}"

    tokens = patient()
    assert inspect.isgeneratorfunction(patient)
    assert next(tokens) == "waiting"
    assert tokens.throw(_TestError("it")) == "caught it"  # type: ignore[attr-defined]  # it is a generator
    assert list(tokens) == []
    assert [status for *_, status in _tree(recorded)] == ["success"]


@ev.stage("generation", name="stream")
async def _stream(*, fail: bool = False) -> AsyncIterator[str]:
    for number in range(3):
        await asyncio.sleep(0)
        ev.asset("model", f"m{number}")
        yield f"{number} in {_current()}"
        if fail:
            raise _TestError("broken")


def test_an_async_generator_works_as_before_and_its_consumer_stays_outside(recorded: Recording) -> None:
    async def consume() -> list[str]:
        seen = []
        async with ev.stage("present"):
            async for token in _stream():
                seen += [token, _current()]
                ev.asset("screen", token[:1])
        return seen

    assert inspect.isasyncgenfunction(_stream)
    assert asyncio.run(consume()) == [
        f"{n} in generation" if part == 0 else "present" for n in range(3) for part in (0, 1)
    ]
    assert recorded.assets() == {
        "present": ["screen 0", "screen 1", "screen 2"],
        "output": ["model m0", "model m1", "model m2"],
    }


@pytest.mark.parametrize("fail, status", [(True, "error"), (False, "cancelled")])
def test_an_async_generator_that_ends_early(recorded: Recording, fail: bool, status: str) -> None:
    async def consume() -> None:
        stream: Any = _stream(fail=fail)
        await anext(stream)
        if fail:
            with pytest.raises(_TestError):
                await anext(stream)
        else:
            await stream.aclose()

    asyncio.run(consume())
    assert [status for *_, status in _tree(recorded)] == [status]


def test_a_value_sent_into_an_async_generator_arrives_there(recorded: Recording) -> None:
    @ev.stage("generation")
    async def echo() -> Any:
        said = yield "ready"
        try:
            said = yield f"got {said}"
        except _TestError:
            yield "caught"

    async def talk() -> list[str]:
        stream = echo()
        return [
            await anext(stream),
            await stream.asend("a"),
            await stream.athrow(_TestError()),
            *[x async for x in stream],
        ]

    assert asyncio.run(talk()) == ["ready", "got a", "caught"]
    assert [status for *_, status in _tree(recorded)] == ["success"]


def test_an_async_generator_that_is_left_to_the_event_loop_ends_quietly(
    recorded: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    async def consume() -> None:
        async for _ in _stream():
            break

    with caplog.at_level(logging.WARNING):
        asyncio.run(consume())

    assert [status for *_, status in _tree(recorded)] == ["cancelled"]
    assert caplog.records == []


def test_a_block_in_a_generator_closed_in_another_context_ends_quietly(
    recorded: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    def plain() -> Iterator[int]:
        with ev.stage("tool"):
            yield 1

    def begin() -> Iterator[int]:
        made = plain()
        next(made)
        return made

    with caplog.at_level(logging.WARNING):
        generator: Any = contextvars.copy_context().run(begin)
        generator.close()

    assert [status for *_, status in _tree(recorded)] == ["cancelled"]
    assert caplog.records == []


# What goes wrong.


def test_one_block_object_may_be_used_again_and_inside_itself(recorded: Recording) -> None:
    block = ev.stage("tool")
    with block as outer, block as inner:
        assert ev.current_stage() is inner
    with block as third:
        pass

    assert len({outer.id, inner.id, third.id}) == 3
    assert len(recorded.sent()) == 3


def test_one_block_object_in_several_tasks(recorded: Recording) -> None:
    block = ev.stage("tool")

    async def work(delay: float) -> None:
        async with block as stage:
            await asyncio.sleep(delay)
            assert ev.current_stage() is stage
            stage.record({"delay.s": delay})

    async def both() -> None:
        await asyncio.gather(work(0.001), work(0.01), work(0.005))

    asyncio.run(both())
    assert sorted((span.attributes or {})["delay.s"] for span in recorded.sent()) == [0.001, 0.005, 0.01]  # type: ignore[type-var]  # floats


@pytest.mark.parametrize("said", [None, 7, "", "!!!", "\x00"])
def test_a_wrong_type_is_unknown_or_raises(recorded: Recording, said: Any) -> None:
    with pytest.raises(ev.WrongUse, match="no stage type"):
        ev.stage(said)
    guard.strict(enabled=False)
    with ev.stage(said):
        pass

    assert _tree(recorded) == [("unknown unknown", None, "success")]


def test_types_are_written_as_the_registry_has_them(recorded: Recording) -> None:
    with ev.stage(" Query Rewrite "), ev.stage("custom.dedupe"):
        pass

    assert [span.name for span in recorded.sent()] == ["custom.dedupe", "query_rewrite"]


def test_a_decorator_without_a_type_leaves_the_function_working(recorded: Recording) -> None:
    guard.strict(enabled=False)
    decorate: Callable[..., Any] = ev.stage

    @decorate
    def double(number: int) -> int:
        return 2 * number

    assert double(4) == 8
    assert _tree(recorded) == [("unknown double", None, "success")]


def test_without_a_provider_everything_works_and_nothing_is_recorded() -> None:
    with ev.run("r"), ev.stage("retrieval") as stage:
        stage.record(query="q", doc_ids=["a"])
        stage.skip("x")
        stage.asset("prompt", "p")
    assert not stage.span.is_recording()
    assert list(_tokens()) == ["in generation", "in tool, got None", "in tool, got None"]


class _Broken(SpanProcessor):
    """Somebody else's processor, which raises in the program's thread."""

    def __init__(self, *, at_start: bool) -> None:
        self._at_start = at_start

    def on_start(self, span: object, parent_context: object = None) -> None:  # noqa: ARG002 - as the SDK calls it
        if self._at_start:
            raise RuntimeError("on_start")

    def on_end(self, span: ReadableSpan) -> None:  # noqa: ARG002 - as the SDK calls it
        raise RuntimeError("on_end")


@pytest.mark.parametrize("at_start", [True, False])
def test_a_processor_that_raises_does_not_reach_the_program(at_start: bool) -> None:
    with recording(strict=False) as recorded:
        recorded.provider.add_span_processor(_Broken(at_start=at_start))
        with ev.stage("retrieval") as stage:
            stage.record(top_k=1)
            ev.asset("prompt", "p")
            result = 5

    assert result == 5
    assert not get_current_span().is_recording()
