"""Assets of a run: which versions were used, which changed on the way, and what moved with the change.

A difference counts as clear when it is at least three standard errors (Welch) and five percent: with a dozen metrics
per change, chance alone then names one in some thirty runs.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Final

from ..assembly.metric_names import direction
from ..store.asset_records import RunVersion
from ..store.reads import Queries
from ..store.records import AssetVersion, ChangedAsset, VersionMetric, VersionUse
from ..store.symptoms import Window
from .asset_drift import Change, changes, edits
from .completeness import DEFAULT_EXPECTED, Expected, completeness
from .figures import iso, rounded
from .report_model import AssetChange, AssetEdit, AssetPart, AssetsPart, Example, MovedMetric, VersionPart

_CLEAR: Final = 3.0
_SMALLEST_CHANGE: Final = 0.05
_FEWEST_SCORES: Final = 5
# Comparing metrics by version reads stages again: the assets used most are compared, all others are listed.
_MOST_COMPARED: Final = 5

_Key = tuple[str, str]


def assets(store: Queries, run_id: str, expected: Expected = DEFAULT_EXPECTED) -> AssetsPart:
    """What the run used, what changed within it and since the run before, and how complete it is."""
    uses = store.asset_versions(run_id)
    grouped = _grouped(uses)
    changed = [asset for key, members in grouped.items() if (asset := _changed(key, members)) is not None]
    changed.sort(key=lambda asset: -sum(use.uses for use in grouped[asset.kind, asset.name]))
    compared = changed[:_MOST_COMPARED]
    before = store.run_before(run_id)
    return AssetsPart(
        used=used_assets(uses),
        changes=_changes(store, run_id, compared) if compared else [],
        edits=[edit for key, members in grouped.items() if (edit := _edited(key, members)) is not None],
        run_before=before.run_id if before else None,
        since_run_before=_since(store.run_versions(before.run_id), grouped) if before else [],
        completeness=completeness(store, run_id, expected),
    )


def _edited(key: _Key, members: Sequence[AssetVersion]) -> AssetEdit | None:
    by_time = sorted(members, key=lambda use: (use.first_ns or 0, use.digest or ""))
    found = edits(by_time)
    return AssetEdit(*key, found) if found else None


def _since(before: Iterable[RunVersion], now: Mapping[_Key, Sequence[AssetVersion]]) -> list[Change]:
    """What is another than in the run before, of the assets that both used."""
    old: dict[_Key, list[RunVersion]] = {}
    for use in before:
        old.setdefault((use.kind, use.name), []).append(use)
    return [change for key, members in now.items() if key in old for change in changes(*key, old[key], members)]


def used_assets(uses: Sequence[AssetVersion]) -> list[AssetPart]:
    """Each asset with its versions and the stage types that used it."""
    return [_asset(key, members) for key, members in _grouped(uses).items()]


def _grouped(uses: Sequence[AssetVersion]) -> dict[_Key, list[AssetVersion]]:
    return {key: list(members) for key, members in groupby(uses, key=lambda use: (use.kind, use.name))}


def _asset(key: _Key, members: Sequence[AssetVersion]) -> AssetPart:
    versions: dict[tuple[str | None, str | None], list[AssetVersion]] = {}
    for use in members:
        versions.setdefault((use.version, use.digest), []).append(use)
    return AssetPart(*key, _types(members), [_version(version, found) for version, found in versions.items()])


def _types(members: Iterable[AssetVersion]) -> list[str]:
    return sorted({use.stage_type for use in members if use.stage_type})


def _version(identity: tuple[str | None, str | None], found: Sequence[AssetVersion]) -> VersionPart:
    return VersionPart(
        *identity,
        uses=sum(use.uses for use in found),
        fallbacks=sum(use.fallbacks for use in found),
        first_used=iso(min((use.first_ns for use in found if use.first_ns is not None), default=None)),
        last_used=iso(max((use.last_ns for use in found if use.last_ns is not None), default=None)),
    )


def _changed(key: _Key, members: Sequence[AssetVersion]) -> ChangedAsset | None:
    """Two versions, or two digests under one version: an edit that nobody gave a number."""
    if len({use.version for use in members if use.version}) > 1:
        return ChangedAsset(*key, tuple(_types(members)))
    if len({use.digest for use in members if use.digest}) > 1:
        return ChangedAsset(*key, tuple(_types(members)), by_digest=True)
    return None


def _changes(store: Queries, run_id: str, compared: Sequence[ChangedAsset]) -> list[AssetChange]:
    scores: dict[tuple[str, str, str], list[VersionMetric]] = {}
    for metric in store.version_metrics(run_id, compared):
        scores.setdefault((metric.kind, metric.name, metric.version), []).append(metric)
    by_digest = {(asset.kind, asset.name): asset.by_digest for asset in compared}
    uses = [use for use in store.version_uses(run_id, compared) if use.version]
    changes = []
    for key, members in groupby(uses, key=lambda use: (use.kind, use.name)):
        for old, new in pairwise(members):
            before, after = (scores.get((*key, use.version), []) for use in (old, new))
            changes.append(_change(old, new, "digest" if by_digest[key] else "version", moved(before, after)))
    return changes


def _change(old: VersionUse, new: VersionUse, by: str, metrics: list[MovedMetric]) -> AssetChange:
    ended, began = old.last_ns, new.first_ns
    return AssetChange(
        kind=new.kind,
        name=new.name,
        by=by,
        before=old.version,
        after=new.version,
        pattern="switch" if ended is not None and began is not None and ended <= began else "mixed",
        changed_at=iso(began),
        traces_before=old.traces,
        traces_after=new.traces,
        moved=metrics,
        examples=[
            Example(use.place.trace_id, use.place.span_id, use.place.stage_id, f"first with {use.version}")
            for use in (old, new)
        ],
    )


def moved(before: Iterable[VersionMetric], after: Iterable[VersionMetric]) -> list[MovedMetric]:
    """Metrics that differ clearly, the clearest worsening first."""
    earlier = {metric.metric_name: metric for metric in before}
    pairs = [(earlier[new.metric_name], new) for new in after if new.metric_name in earlier]
    found = [(clearness(old, new), _moved(old, new)) for old, new in pairs if _is_clear(old, new)]
    order = {"worse": 0, "changed": 1, "better": 2}
    return [metric for _, metric in sorted(found, key=lambda f: (order[f[1].verdict], -f[0], f[1].metric_name))]


def _is_clear(old: VersionMetric, new: VersionMetric) -> bool:
    enough = min(old.count, new.count) >= _FEWEST_SCORES
    return enough and clearness(old, new) >= _CLEAR and abs(new.avg - old.avg) >= _SMALLEST_CHANGE * abs(old.avg)


def clearness(old: VersionMetric | Window, new: VersionMetric | Window) -> float:
    """The difference in standard errors; without any spread a difference is as clear as can be."""
    difference = abs(new.avg - old.avg)
    error = math.sqrt(old.variance / old.count + new.variance / new.count)
    # Sums of squares leave a rest of about 1e-9 of the mean where there is no spread at all.
    if difference <= 1e-9 * max(abs(old.avg), abs(new.avg)):
        return 0.0
    return min(difference / error, 1e6) if error else 1e6


def _moved(old: VersionMetric, new: VersionMetric) -> MovedMetric:
    way = direction(new.metric_name)
    rose = new.avg > old.avg
    verdict = "changed" if way == "neutral" else "better" if rose == (way == "higher") else "worse"
    return MovedMetric(
        metric_name=new.metric_name,
        before=rounded(old.avg),
        after=rounded(new.avg),
        relative_change=rounded((new.avg - old.avg) / abs(old.avg)) if old.avg else None,
        verdict=verdict,
        scores_before=old.count,
        scores_after=new.count,
    )
