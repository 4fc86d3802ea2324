"""Loaders that record what they load."""

import asyncio
import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import pytest

import evalvault_otel as ev
from evalvault_otel.sdk import guard
from tests.support.recording import Recording


def _events(recorded: Recording) -> list[dict[str, Any]]:
    return [
        {key.removeprefix("evalvault.asset."): value for key, value in (event.attributes or {}).items()}
        for span in recorded.sent()
        for event in span.events
    ]


@dataclass
class _Prompt:
    name: str
    version: int
    id: str = "p-1"


def test_what_the_result_says_of_itself_is_recorded(recorded: Recording) -> None:
    @ev.track_assets(kind="prompt", origin="registry")
    def load(key: str) -> _Prompt:
        return _Prompt(f"ops/{key}", 12)

    with ev.stage("compose"):
        assert load("answer") == _Prompt("ops/answer", 12)

    (event,) = _events(recorded)
    assert event.pop("load.duration") >= 0
    assert event == {"kind": "prompt", "name": "ops/answer", "version": "12", "id": "p-1", "origin": "registry"}
    assert recorded.assets() == {"compose": ["prompt ops/answer v12"]}


def test_a_text_is_called_by_what_was_asked_for_and_has_a_digest(recorded: Recording) -> None:
    @ev.track_assets(kind="query", version=2)
    def load(path: str) -> str:
        return f"SELECT 1 -- {path}"

    with ev.stage("execute"):
        text = load("find_policies.sql")

    (event,) = _events(recorded)
    assert (event["name"], event["version"]) == ("find_policies.sql", "2")
    assert event["digest"] == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_a_digest_that_the_result_says_is_recorded(recorded: Recording) -> None:
    @ev.track_assets(kind="prompt")
    def load(key: str) -> dict[str, object]:
        return {"name": key, "version": 1, "digest": "sha256:ab12"}

    with ev.stage("compose"):
        load("answer")

    assert [event["digest"] for event in _events(recorded)] == ["sha256:ab12"]


def test_names_and_versions_may_be_made_from_the_result(recorded: Recording) -> None:
    def load() -> dict[str, Any]:
        return {"meta": {"n": "budget", "v": 3}}

    tracked = ev.track_assets(
        load, kind="policy", name=lambda policy: str(policy["meta"]["n"]), version=lambda policy: policy["meta"]["v"]
    )
    with ev.stage("validate"):
        tracked()

    assert recorded.assets() == {"validate": ["policy budget v3"]}


def test_coroutines_record_too(recorded: Recording) -> None:
    @ev.track_assets(kind="schema")
    async def fetch(name: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"name": name, "version": "2026-01"}

    async def work() -> None:
        async with ev.stage("route_plan"):
            await asyncio.gather(fetch("a"), fetch("b"))

    asyncio.run(work())
    assert sorted(recorded.assets()["route_plan"]) == ["schema a v2026-01", "schema b v2026-01"]


def test_whether_a_cache_answered_is_known_where_it_can_be(recorded: Recording) -> None:
    @ev.track_assets(kind="prompt")
    @functools.cache
    def load(name: str) -> str:
        return name * 2

    with ev.stage("compose"):
        load("p")
        load("p")

    assert [event["cache_hit"] for event in _events(recorded)] == [False, True]


def test_a_loader_that_raises_or_finds_nothing_records_nothing(recorded: Recording) -> None:
    @ev.track_assets(kind="prompt")
    def load(name: str) -> str | None:
        if name == "broken":
            raise FileNotFoundError(name)
        return None

    with ev.stage("compose"):
        with pytest.raises(FileNotFoundError):
            load("broken")
        assert load("nothing") is None

    assert recorded.assets() == {}


def test_a_name_that_cannot_be_made_harms_nobody(recorded: Recording) -> None:
    def name(_: str) -> str:
        raise KeyError("name")

    @ev.track_assets(kind="prompt", name=name)
    def load() -> str:
        return "text"

    guard.strict(enabled=False)
    with ev.stage("compose"):
        assert load() == "text"

    assert recorded.assets() == {}
    assert list(ev.problems()) == ["_Loader.record: KeyError"]


def test_methods_are_loaders_too(recorded: Recording) -> None:
    class Registry:
        @ev.track_assets(kind="screen")
        def screen(self, screen_id: str) -> dict[str, str]:
            return {"screen_id": screen_id, "version": "7"}

    with ev.stage("present"):
        Registry().screen("overview")

    assert recorded.assets() == {"present": ["screen overview v7"]}
