"""What reads return, beside the records of `model`: counts, aggregates and examples, as plain frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..model import RunTrace, StageEvent

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a longer list, and where it goes on: `next_cursor` is None at the end.

    `total` counts the whole list, whatever the page; -1 where it is not counted.
    """

    items: tuple[T, ...]
    next_cursor: str | None
    total: int = -1


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs: those with traces from `since_ns` on and before `until_ns`; `q` is part of id, name or dataset."""

    service: str | None = None
    kind: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    q: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run with exact counts. `service` is the one that was seen last, `services` how many there are."""

    run_id: str
    name: str | None
    kind: str | None
    dataset: str | None
    dataset_version: str | None
    service: str
    services: int
    first_ns: int
    last_ns: int
    traces: int
    failed_traces: int
    stages: int
    errors: int
    tokens_in: int
    tokens_out: int
    cost_total: float


@dataclass(frozen=True, slots=True)
class TraceEvaluation:
    """A stage of another trace that evaluates this one: the span it names, or else the response."""

    linked_span_id: str | None
    response_id: str | None
    stage: StageEvent


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace as the store keeps books about it; `parts` says what it adds to which run (empty before assembly)."""

    trace_id: str
    run_id: str | None
    root_span_id: str | None
    first_ns: int | None
    last_ns: int | None
    span_count: int
    assembled: bool
    parts: tuple[RunTrace, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look: a stage of a trace and the span that made it."""

    trace_id: str
    stage_id: str
    span_id: str | None
    stage_name: str | None = None


@dataclass(frozen=True, slots=True)
class StageFilter:
    """Which stages of a run."""

    stage_type: str | None = None
    trace_id: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class StageTypeStats:
    """All stages of one type in a run. Times in milliseconds; None where no stage has a duration (derived stages).

    `self_*` is without child stages, `critical_ms` the part of the critical paths of the traces.
    """

    stage_type: str
    count: int
    errors: int
    retries: int
    skipped: int
    timed: int
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    self_ms: float
    self_p50_ms: float | None
    critical_ms: float
    self_p10_ms: float | None = None


@dataclass(frozen=True, slots=True)
class MissingType:
    """A required stage type that `traces` of `of` traces lack, the first of them being `trace_id`."""

    stage_type: str
    traces: int
    of: int
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound for a metric: a score passes at or above it, or at or below it where `at_most`."""

    metric_name: str
    bound: float
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class MetricFilter:
    """Which scores of a run. `failing` True: those beyond their limit; False: those within it."""

    stage_id: str | None = None
    metric_name: str | None = None
    failing: bool | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one stage, with what the stage knew."""

    place: Place
    stage_type: str
    metric_name: str
    score: float
    duration_ms: float | None
    attributes: Mapping[str, Any]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MetricStats:
    """All scores of one metric in a run; `passed` counts those within its limit (0 without one)."""

    metric_name: str
    count: int
    avg: float
    min: float
    max: float
    p50: float
    p95: float
    p99: float
    passed: int


@dataclass(frozen=True, slots=True)
class WorstScore:
    """A score beyond its limit."""

    place: Place
    metric_name: str
    score: float


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failures that share a fingerprint. `propagated` of them only passed on the failure of a stage below."""

    stage_type: str
    fingerprint: str
    error_type: str | None
    message: str | None
    count: int
    propagated: int
    traces: int
    first_ns: int | None
    last_ns: int | None
    examples: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Outliers:
    """Stages of a type that took far longer than is typical: how many, what that cost in all, and the worst."""

    stage_type: str
    count: int
    excess_ms: float
    examples: tuple[tuple[Place, float], ...]


@dataclass(frozen=True, slots=True)
class SlowTrace:
    """A trace that took long."""

    part: RunTrace
    root_span_id: str | None
    duration_ms: float


@dataclass(frozen=True, slots=True)
class OddRetrieval:
    """A retrieval with a `problem`: `empty`, `duplicates` or `order`; or an output with the problem `citation`."""

    problem: str
    place: Place
    query: str | None


@dataclass(frozen=True, slots=True)
class RetrievalHealth:
    """Retrievals of a run that returned, how many of them returned something odd, and examples of these.

    Of the `citing` outputs that cite something, `citing_others` cite documents that their trace never retrieved.
    """

    count: int
    empty: int
    with_duplicates: int
    out_of_order: int
    citing: int
    citing_others: int
    odd: tuple[OddRetrieval, ...]


@dataclass(frozen=True, slots=True)
class AssetVersion:
    """One version of an asset as one stage type of a run used it."""

    stage_type: str | None
    kind: str
    name: str
    version: str | None
    digest: str | None
    origin: str | None
    uses: int
    fallbacks: int
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True, slots=True)
class ChangedAsset:
    """An asset to be compared by version, or by digest where the version stayed the same.

    `stage_types` are the types of the stages that used it.
    """

    kind: str
    name: str
    stage_types: tuple[str, ...]
    by_digest: bool = False


@dataclass(frozen=True, slots=True)
class VersionUse:
    """The first use of a version in a run."""

    kind: str
    name: str
    version: str
    traces: int
    first_ns: int | None
    last_ns: int | None
    place: Place


@dataclass(frozen=True, slots=True)
class VersionMetric:
    """Scores of one metric over the traces that used one version (and no other) of an asset."""

    kind: str
    name: str
    version: str
    metric_name: str
    count: int
    avg: float
    variance: float


@dataclass(frozen=True, slots=True)
class FindingCode:
    """All findings of one code in a run; `detail` is that of the first example."""

    code: str
    severity: str
    count: int
    traces: int
    detail: str
    examples: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class RejectFilter:
    """Which rejects: those received from `since_ns` on, of a signal; `q` is part of the reason."""

    since_ns: int | None = None
    q: str | None = None
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class RejectRow:
    """A reject as it is kept. `size` is the length of what came; `payload` may be only the beginning of it."""

    id: int
    received_ns: int
    transport: str
    peer: str
    signal: str
    encoding: str
    reason: str
    count: int
    size: int
    payload: bytes
