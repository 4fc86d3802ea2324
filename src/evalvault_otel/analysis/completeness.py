"""Asset completeness: of the stages that are expected to use assets, how many used some, and which kinds.

A kind that was not used is just that: it is counted as not used and never called a fallback.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from ..settings import Settings
from ..store.asset_reads import AssetQueries
from ..store.asset_records import FilledStages
from .figures import share

Expected = Mapping[str, Sequence[str]]
"""Kinds of assets by the stage type that is expected to use them."""

DEFAULT_EXPECTED: Final[Expected] = Settings().expected_kinds


@dataclass(frozen=True, slots=True)
class KindFill:
    """How many of the stages used an asset of an expected kind."""

    kind: str
    stages: int
    rate: float


@dataclass(frozen=True, slots=True)
class TypeFill:
    """Stages of one type: how many of them used at least one asset of any kind, and the expected kinds one by one."""

    stage_type: str
    stages: int
    with_assets: int
    rate: float
    expected: list[KindFill]


@dataclass(frozen=True, slots=True)
class Completeness:
    """Stages with at least one asset, of all stages of types that are expected to use some.

    `rate` is None where the run has no stage of such a type.
    """

    stages: int
    with_assets: int
    rate: float | None
    stage_types: list[TypeFill]


def completeness(store: AssetQueries, run_id: str, expected: Expected = DEFAULT_EXPECTED) -> Completeness:
    """The completeness of a run; skipped and derived stages do not count, for they did no work."""
    kinds = {kind for listed in expected.values() for kind in listed}
    found = store.filled_stages(run_id, list(expected), kinds) if expected else []
    grouped = groupby(found, key=lambda item: item.stage_type)
    types = [_type_fill(stage_type, list(members), expected[stage_type]) for stage_type, members in grouped]
    stages, filled = sum(item.stages for item in types), sum(item.with_assets for item in types)
    return Completeness(stages, filled, share(filled, stages) if stages else None, types)


def _type_fill(stage_type: str, found: Sequence[FilledStages], kinds: Sequence[str]) -> TypeFill:
    stages = sum(item.stages for item in found)
    filled = sum(item.stages for item in found if item.filled)
    by_kind = {kind: sum(item.stages for item in found if kind in item.kinds) for kind in kinds}
    fills = [KindFill(kind, n, share(n, stages)) for kind, n in by_kind.items()]
    return TypeFill(stage_type, stages, filled, share(filled, stages), fills)
