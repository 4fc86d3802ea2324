"""Assets of a run page by page, and completeness, on every store."""

import pytest

from evalvault_otel.analysis.completeness import completeness
from evalvault_otel.analysis.run_assets import run_assets
from evalvault_otel.errors import NotFound, SettingsError
from evalvault_otel.settings import Settings
from evalvault_otel.store import Store
from evalvault_otel.store.records import StageFilter
from tests.support.stages import RUN, assembly, planted_run, save, stage, tid, use

EXPECTED = {"compose": ("prompt", "mapping"), "execute": ("query",), "unheard_of": ("tool",)}


def fill(store: Store) -> None:
    """Three traces of two expected stages each; one compose used nothing, one was skipped."""
    for n in (1, 2, 3):
        stages = [
            stage(n, 1, "execute", 10 * n),
            stage(n, 2, "compose", 10 * n + 5, status="skipped" if n == 3 else "success"),
            stage(n, 3, "other", 10 * n + 7),
            stage(n, 4, "compose", 10 * n + 8, None, derived=True),
        ]
        uses = [use(n, 1, "source", "db"), use(n, 3, "prompt", "p")]
        uses += [use(n, 2, "prompt", "p", "1"), use(n, 2, "prompt", "p", "2", ordinal=1)] if n == 1 else []
        save(store, assembly(stages, uses))


def test_completeness_counts_stages_with_any_asset_of_those_expected_to_have_some(store: Store) -> None:
    fill(store)
    found = completeness(store, RUN, EXPECTED)
    assert (found.stages, found.with_assets, found.rate) == (5, 4, 0.8)
    assert [(item.stage_type, item.stages, item.with_assets, item.rate) for item in found.stage_types] == [
        ("compose", 2, 1, 0.5),
        ("execute", 3, 3, 1.0),
    ]
    compose, execute = found.stage_types
    assert [(kind.kind, kind.stages, kind.rate) for kind in compose.expected] == [("prompt", 1, 0.5), ("mapping", 0, 0)]
    assert [(kind.kind, kind.stages) for kind in execute.expected] == [("query", 0)]


def test_without_expected_stages_there_is_no_rate(store: Store) -> None:
    fill(store)
    assert completeness(store, RUN, {"present": ("screen",)}).rate is None
    assert completeness(store, RUN, {}).rate is None


def test_stages_come_in_pages_with_their_own_assets(store: Store) -> None:
    fill(store)
    seen, cursor = [], None
    while True:
        page = run_assets(store, RUN, StageFilter(), 5, cursor)
        seen += page.stages
        assert (page.total, page.returned, page.used_total) == (12, len(page.stages), None if cursor else 2)
        assert (page.completeness is None, page.used is None) == (cursor is not None, cursor is not None)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == 12
    assert [(item.stage_type, item.applied_assets) for item in seen if item.trace_id == tid(1)] == [
        ("execute", {"source": "db"}),
        ("compose", {"prompt": ["p (v1)", "p (v2)"]}),
        ("other", {"prompt": "p"}),
        ("compose", {}),
    ]
    assert [asset.version for asset in seen[1].assets] == ["1", "2"]


def test_stages_can_be_chosen(store: Store) -> None:
    fill(store)
    assert {item.stage_type for item in run_assets(store, RUN, StageFilter("compose"), 10).stages} == {"compose"}
    assert {item.trace_id for item in run_assets(store, RUN, StageFilter(trace_id=tid(2)), 10).stages} == {tid(2)}


def test_the_most_used_assets_of_the_run_come_first(store: Store) -> None:
    save(store, *planted_run())
    found = run_assets(store, RUN, StageFilter(), 1).used or []
    counts = [sum(version.uses for version in asset.versions) for asset in found]
    assert counts == sorted(counts, reverse=True)
    assert {asset.name for asset in found} >= {"answer"}


def test_an_unknown_run(store: Store) -> None:
    with pytest.raises(NotFound):
        run_assets(store, "nothing", StageFilter(), 1)


def test_the_setting_reads_as_it_is_documented() -> None:
    assert Settings().expected_kinds["route_plan"] == ("prompt", "policy", "schema")
    assert Settings(expected_assets="a = X, y ;; b=z;").expected_kinds == {"a": ("x", "y"), "b": ("z",)}
    assert Settings(expected_assets="none").expected_kinds == {}


@pytest.mark.parametrize("wrong", ["prompt", "a=", "=prompt", "a=,; b=c"])
def test_a_wrong_setting_says_what_is_wrong(wrong: str) -> None:
    with pytest.raises(SettingsError, match="EVALVAULT_EXPECTED_ASSETS"):
        Settings(expected_assets=wrong)
