"""Runs: what is in them, what they hand on, and when they are over."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from opentelemetry import baggage

import evalvault_otel as ev
from evalvault_otel.sdk import guard
from tests.support.recording import Recording


def test_every_stage_of_a_run_has_all_that_is_said_of_it(recorded: Recording) -> None:
    with (
        ev.run(
            "nightly-42",
            name="nightly",
            kind="offline",
            dataset="insurance-qa",
            dataset_version="1.2",
            test_case="tc-1",
        ),
        ev.stage("workflow"),
        ev.stage("retrieval"),
    ):
        pass

    assembly = recorded.assembly()
    (run,) = assembly.runs
    assert (run.run_id, run.run_name, run.run_kind, run.dataset, run.dataset_version) == (
        *("nightly-42", "nightly", "offline"),
        *("insurance-qa", "1.2"),
    )
    assert [stage.metadata["test_case_id"] for stage in assembly.stages] == ["tc-1", "tc-1"]


def test_a_run_inside_another_names_it_and_gives_way_to_it_again(recorded: Recording) -> None:
    with ev.run("outer", kind="offline"):
        with ev.run("inner") as inner, ev.stage("tool"):
            assert inner.id == "inner"
        assert ev.current_run() is not None
        with ev.stage("retrieval"):
            pass
    assert ev.current_run() is None

    runs = [dict(span.attributes or {}) for span in recorded.sent()]
    assert [run["evalvault.run.id"] for run in runs] == ["inner", "outer"]
    assert runs[0]["evalvault.run.parent.id"] == "outer"
    assert "evalvault.run.kind" not in runs[0]


def test_without_an_id_the_run_around_it_goes_on(recorded: Recording) -> None:
    with ev.run("nightly", kind="offline"):
        for case in ("tc-1", "tc-2"):
            with ev.run(test_case=case), ev.stage("workflow"):
                pass

    said = [
        tuple((span.attributes or {})[f"evalvault.{key}"] for key in ("run.id", "run.kind", "test_case.id"))
        for span in recorded.sent()
    ]
    assert said == [("nightly", "offline", "tc-1"), ("nightly", "offline", "tc-2")]


def test_outside_of_a_run_an_id_is_made() -> None:
    with ev.run() as first, ev.run() as same:
        assert first.id == same.id
    with ev.run() as second:
        assert second.id != first.id
        assert re.fullmatch(r"run-\d{8}T\d{6}Z-[0-9a-f]{8}", second.id)


def test_only_ids_are_in_the_baggage() -> None:
    with ev.run("r", kind="test", dataset="d", tenant="acme", test_case="t"):
        assert baggage.get_all() == {"evalvault.run.id": "r", "evalvault.test_case.id": "t"}
    assert baggage.get_all() == {}


def test_functions_coroutines_and_generators_can_be_in_a_run() -> None:
    def current() -> str | None:
        found = ev.current_run()
        return found.id if found else None

    @ev.run("f")
    def function() -> str | None:
        return current()

    @ev.run("c")
    async def coroutine() -> str | None:
        await asyncio.sleep(0)
        return current()

    @ev.run("g")
    def generator() -> Iterator[str | None]:
        yield current()

    @ev.run()
    def own() -> str | None:
        return current()

    async def block() -> str | None:
        async with ev.run("a"):
            return current()

    seen = [(inside, current()) for inside in generator()]
    assert (function(), asyncio.run(coroutine()), seen, asyncio.run(block())) == ("f", "c", [("g", None)], "a")
    assert own() != own()
    assert current() is None


def test_an_exception_goes_on_up_and_the_run_is_over() -> None:
    with pytest.raises(ValueError, match="x"), ev.run("r"):
        raise ValueError("x")
    assert ev.current_run() is None


@pytest.mark.parametrize("said", ["", "a\nb", "x" * 129])
def test_an_id_that_cannot_be_one_is_replaced_or_raises(said: str) -> None:
    with guarded(strict=True), pytest.raises(ev.WrongUse, match="run id"), ev.run(said):
        pass
    with guarded(strict=False), ev.run(said) as made:
        assert made.id.startswith("run-")
        assert ev.problems() == {"run id": 1}


class guarded:  # noqa: N801 - used as a word
    def __init__(self, *, strict: bool) -> None:
        self._strict = strict

    def __enter__(self) -> None:
        self._before = guard.strict(enabled=self._strict)
        guard.forget()

    def __exit__(self, *_: object) -> None:
        guard.forget()
        guard.strict(enabled=self._before)


def test_ids_that_are_no_text_are_written_out() -> None:
    with ev.run(42) as run:  # type: ignore[arg-type]  # what an untyped app may pass
        assert run.id == "42"
