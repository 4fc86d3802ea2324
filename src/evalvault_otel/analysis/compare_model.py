"""The parts of a comparison: plain records, in the order in which they are written."""

from dataclasses import dataclass

from .asset_drift import Change

BETTER, WORSE, SAME, CHANGED, TOO_FEW = "improved", "worse", "same", "changed", "not enough data"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs, or a part of it in time."""

    run_id: str
    since: str | None
    until: str | None
    traces: int
    test_cases: int


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """One metric on both sides: means (of `… p95` the 95th percentile) over units, traces or test cases.

    `low` and `high` bound the difference `after - before` with 95 % confidence, of this metric alone. `verdict` is
    `improved`, `worse`, or `changed` (neither way is better) where the difference holds although many metrics were
    looked at, and is large enough to matter; else `same`, or `not enough data`.
    """

    metric_name: str
    before: float
    after: float
    difference: float
    relative: float | None
    low: float | None
    high: float | None
    units_before: int
    units_after: int
    paired: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class TypeDifference:
    """A stage type that only one side has (`added`, `removed`), or in clearly more or fewer traces (`share`)."""

    stage_type: str
    what: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class CaseDifference:
    """A test case of both sides that fails on one of them: `broken` or `fixed`."""

    test_case: str
    what: str
    trace_before: str
    trace_after: str


@dataclass(frozen=True, slots=True)
class AssetDifference:
    """An asset that is another on the other side, and the metrics of the stages using it that moved with it."""

    change: Change
    what: str
    stage_types: list[str]
    moved: list[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, stage by stage. `aligned` says whether test cases were compared with themselves.

    `verdict` is `worse` when anything got worse, else `improved`, `changed`, `same` or `not enough data`; `sentence`
    says it to a person. `stage_types_after` are the types that the candidate has.
    """

    baseline: Side
    candidate: Side
    aligned: bool
    verdict: str
    sentence: str
    metrics: list[MetricDifference]
    stages: list[TypeDifference]
    stage_types_after: list[str]
    cases: list[CaseDifference]
    cases_broken: int
    cases_fixed: int
    assets: list[AssetDifference]
