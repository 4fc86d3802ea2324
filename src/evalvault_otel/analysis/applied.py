"""What stages used, as people read it: asset uses in, texts such as `answer (v2)` out, with the structured list beside.

The text is never the datum: programs read the list.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..model import AssetUse, StageEvent
from .figures import iso, rounded

AppliedAssets = dict[str, str | list[str]]
"""Texts by kind: one text, or a list for the kinds of `_LISTS` and where a kind was used more than once."""

# Kinds that are always lists, under their plural.
_LISTS: Final = {"query": "queries", "screen": "screens", "tool": "tools"}
# Whatever else is said of the origin, the asset did not come from the registry. `override` is a version that was asked
# for, `convention` an asset that a foreign convention names: of neither is it known that it stood in for another.
_FROM_REGISTRY: Final = frozenset({None, "registry", "asset_registry", "override", "convention"})
# What a stage was asked to do, of what conventions know of it.
_PARAMS: Final = (
    "query", "question", "original_question", "language", "top_k", "input_count", "tool_name", "model_name",
    "temperature", "top_p", "max_tokens", "seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AssetJson:
    """An asset in a version, as a stage used it. `stage_id` is empty when no stage encloses the use.

    `load_ms` is what loading it took, `cache_hit` whether it came out of a cache; None where nobody said.
    """

    stage_id: str
    ordinal: int
    kind: str
    name: str
    asset_id: str | None
    version: str | None
    digest: str | None
    origin: str | None
    fallback: bool
    subtype: str | None
    role: str | None
    used_at: str | None
    load_ms: float | None
    cache_hit: bool | None


@dataclass(frozen=True, slots=True)
class UsedBy:
    """A stage that used an asset, and how often."""

    stage_id: str
    stage_type: str | None
    stage_name: str | None
    uses: int


@dataclass(frozen=True, slots=True)
class TraceAsset:
    """An asset in a version as a whole trace used it; `text` is how people read it."""

    kind: str
    name: str
    asset_id: str | None
    version: str | None
    digest: str | None
    origin: str | None
    fallback: bool
    text: str
    uses: int
    used_by: list[UsedBy]


@dataclass(frozen=True, slots=True)
class StageInput:
    """What one stage began with: its assets as texts and as records, and what it was asked to do."""

    stage: str
    stage_id: str
    stage_name: str | None
    attempt: int
    status: str
    started_at: str | None
    applied_assets: AppliedAssets
    assets: list[AssetJson]
    params: Mapping[str, Any]


def asset_json(use: AssetUse) -> AssetJson:
    """A use as it is written."""
    return AssetJson(
        stage_id=use.stage_id,
        ordinal=use.ordinal,
        kind=use.kind,
        name=use.name,
        asset_id=use.asset_id,
        version=use.version,
        digest=use.digest,
        origin=use.origin,
        fallback=use.fallback,
        subtype=use.subtype,
        role=use.role,
        used_at=iso(use.used_ns),
        load_ms=rounded(use.load_ms),
        cache_hit=use.cache_hit,
    )


def applied_assets(uses: Iterable[AssetUse]) -> AppliedAssets:
    """The uses of one stage, in their order, as texts by kind. Kinds that were not used are absent."""
    texts: dict[str, list[str]] = {}
    for use in uses:
        texts.setdefault(_LISTS.get(use.kind, use.kind), []).append(asset_text(use))
    always = set(_LISTS.values())
    return {key: found if key in always or len(found) > 1 else found[0] for key, found in texts.items()}


def asset_text(use: AssetUse) -> str:
    """`name (v2)`, `name (fallback)` from outside the registry, or `name`; in lists fallbacks show their version."""
    if use.kind not in _LISTS and is_outside(use):
        return f"{use.name} (fallback)"
    return use.name if use.version is None else f"{use.name} ({version_text(use.version)})"


def is_outside(use: AssetUse) -> bool:
    """Whether the asset came from outside the registry. An asset that was not used is never asked."""
    return use.fallback or use.origin not in _FROM_REGISTRY


def version_text(version: str) -> str:
    """`v2` of the version `2`; a version that says so itself (`v2`) stays."""
    return version if version[:1] in {"v", "V"} and version[1:2].isdigit() else f"v{version}"


def by_stage(uses: Iterable[AssetUse]) -> dict[str, list[AssetUse]]:
    """Uses of one trace by stage id, each in the order of use."""
    found: dict[str, list[AssetUse]] = {}
    for use in uses:
        found.setdefault(use.stage_id, []).append(use)
    return found


def stage_inputs(stages: Sequence[StageEvent], uses: Iterable[AssetUse]) -> list[StageInput]:
    """What each stage of a trace began with, in the order given (by start); a repeated stage is shown each time."""
    used = by_stage(uses)
    return [_stage_input(stage, used.get(stage.stage_id, [])) for stage in stages]


def _stage_input(stage: StageEvent, uses: Sequence[AssetUse]) -> StageInput:
    return StageInput(
        stage=stage.stage_type,
        stage_id=stage.stage_id,
        stage_name=stage.stage_name,
        attempt=stage.attempt,
        status=stage.status,
        started_at=iso(stage.started_ns),
        applied_assets=applied_assets(uses),
        assets=list(map(asset_json, uses)),
        params=_params(stage.attributes),
    )


def _params(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    said = attributes.get("params")
    return said if isinstance(said, Mapping) else {name: attributes[name] for name in _PARAMS if name in attributes}


def trace_assets(stages: Iterable[StageEvent], uses: Iterable[AssetUse]) -> list[TraceAsset]:
    """Everything a trace used, each asset in a version once, with the stages that used it."""
    known = {stage.stage_id: stage for stage in stages}
    grouped: dict[tuple[Any, ...], list[AssetUse]] = {}
    for use in uses:
        grouped.setdefault(_identity(use), []).append(use)
    found = [_trace_asset(members, known) for members in grouped.values()]
    return sorted(found, key=lambda asset: (asset.kind, asset.name, asset.version or "", asset.digest or ""))


def _identity(use: AssetUse) -> tuple[Any, ...]:
    return (use.kind, use.name, use.asset_id, use.version, use.digest, use.origin, use.fallback)


def _trace_asset(members: Sequence[AssetUse], known: Mapping[str, StageEvent]) -> TraceAsset:
    counts: dict[str, int] = {}
    for use in members:
        counts[use.stage_id] = counts.get(use.stage_id, 0) + 1
    used_by = [_used_by(stage_id, known.get(stage_id), uses) for stage_id, uses in counts.items()]
    first = members[0]
    return TraceAsset(
        kind=first.kind,
        name=first.name,
        asset_id=first.asset_id,
        version=first.version,
        digest=first.digest,
        origin=first.origin,
        fallback=first.fallback,
        text=asset_text(first),
        uses=len(members),
        used_by=used_by,
    )


def _used_by(stage_id: str, stage: StageEvent | None, uses: int) -> UsedBy:
    return UsedBy(stage_id, stage.stage_type if stage else None, stage.stage_name if stage else None, uses)
