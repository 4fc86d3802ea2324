"""The assets of a run: per stage as texts and as records, page by page, and how complete they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..model import AssetUse, StageEvent
from ..store.reads import Queries
from ..store.records import StageFilter
from .applied import AppliedAssets, AssetJson, applied_assets, asset_json
from .asset_changes import used_assets
from .completeness import DEFAULT_EXPECTED, Completeness, Expected, completeness
from .figures import iso
from .report_model import AssetPart

_MOST_USED: Final = 500


@dataclass(frozen=True, slots=True)
class StageAssets:
    """One stage and what it used."""

    trace_id: str
    stage_id: str
    stage_type: str
    stage_name: str | None
    attempt: int
    status: str
    started_at: str | None
    applied_assets: AppliedAssets
    assets: list[AssetJson]


@dataclass(frozen=True, slots=True)
class RunAssets:
    """A page of the stages of a run with their assets, by start.

    The first page says besides how complete the whole run is, and what it `used`: the most used 500 of `used_total`
    assets. These are None on further pages.
    """

    run_id: str
    completeness: Completeness | None
    used: list[AssetPart] | None
    used_total: int | None
    stages: list[StageAssets]
    total: int
    returned: int
    next_cursor: str | None


def run_assets(  # noqa: PLR0913, PLR0917 - what is asked, of whom, and which page of it
    store: Queries,
    run_id: str,
    wanted: StageFilter,
    limit: int,
    cursor: str | None = None,
    expected: Expected = DEFAULT_EXPECTED,
) -> RunAssets:
    """The assets of the stages that `wanted` names, `limit` stages at a time.

    Raises:
        NotFound: there is no such run.
        InvalidInput: the cursor is not one of this list.
    """
    store.run(run_id)
    page = store.stages(run_id, wanted, limit, cursor)
    uses = stage_uses(store, run_id, page.items)
    used = used_assets(store.asset_versions(run_id)) if cursor is None else None
    return RunAssets(
        run_id=run_id,
        completeness=completeness(store, run_id, expected) if cursor is None else None,
        used=None if used is None else sorted(used, key=_uses, reverse=True)[:_MOST_USED],
        used_total=None if used is None else len(used),
        stages=[_stage(stage, found) for stage, found in zip(page.items, uses, strict=True)],
        total=page.total,
        returned=len(page.items),
        next_cursor=page.next_cursor,
    )


def _uses(asset: AssetPart) -> int:
    return sum(version.uses for version in asset.versions)


def stage_uses(store: Queries, run_id: str, stages: Sequence[StageEvent]) -> list[list[AssetUse]]:
    """What each of these stages used, in the order of use; one look into the store for all of them."""
    found: dict[tuple[str, str], list[AssetUse]] = {}
    for use in store.uses_of_traces([stage.trace_id for stage in stages], run_id):
        found.setdefault((use.trace_id, use.stage_id), []).append(use)
    return [found.get((stage.trace_id, stage.stage_id), []) for stage in stages]


def _stage(stage: StageEvent, uses: Sequence[AssetUse]) -> StageAssets:
    return StageAssets(
        trace_id=stage.trace_id,
        stage_id=stage.stage_id,
        stage_type=stage.stage_type,
        stage_name=stage.stage_name,
        attempt=stage.attempt,
        status=stage.status,
        started_at=iso(stage.started_ns),
        applied_assets=applied_assets(uses),
        assets=list(map(asset_json, uses)),
    )
