"""The parts of a debug report: plain records, in the order in which they are written. Times in milliseconds."""

from dataclasses import dataclass

from .asset_drift import Change, Edit
from .completeness import Completeness
from .summary import Summary


@dataclass(frozen=True, slots=True)
class Example:
    """A place to look at, and what is to be seen there."""

    trace_id: str
    span_id: str | None
    stage_id: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunPart:
    """What was run. `error_rate` is per stage."""

    run_id: str
    name: str | None
    kind: str | None
    dataset: str | None
    dataset_version: str | None
    service: str
    services: int
    started_at: str
    finished_at: str
    traces: int
    failed_traces: int
    stages: int
    errors: int
    error_rate: float
    tokens_in: int
    tokens_out: int
    cost_total: float


@dataclass(frozen=True, slots=True)
class Problem:
    """Something found, said in a sentence. `impact` (0 to 1) is the part of the run it harmed, weighed by how much.

    `kind` is `error`, `repeats`, `empty_answer`, `empty_retrieval`, `duplicates`, `citation`, `blocked`, `invalid`,
    `slow`, `drift`, `asset_change`, `metric`, `missing_stage`, `late_child` or `evidence_lost`.
    """

    kind: str
    subject: str
    headline: str
    advice: str
    impact: float
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """Where time goes. `tail_ms` is the p95 without the p50.

    The `slow_*` figures are of stages that themselves took more than `slow_above_ms`, which follows from the typical
    time and its spread: how many, what they took above the typical time in all, and that as a part of the self time of
    the whole run. `slow_above_ms` is 0 where so few stages ran that nobody knows.
    """

    stage_type: str
    count: int
    critical_path_share: float
    self_ms: float
    p50_ms: float
    p95_ms: float
    max_ms: float
    tail_ms: float
    typical_self_ms: float
    slow_count: int
    slow_excess_ms: float
    slow_share: float
    slow_above_ms: float
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class Bar:
    """A stage in a waterfall."""

    stage_type: str
    stage_name: str | None
    span_id: str | None
    depth: int
    offset_ms: float
    duration_ms: float | None
    status: str


@dataclass(frozen=True, slots=True)
class SlowTracePart:
    """One of the slowest traces, with its stages on the clock."""

    trace_id: str
    root_span_id: str | None
    name: str
    duration_ms: float
    errors: int
    waterfall: list[Bar]


@dataclass(frozen=True, slots=True)
class ErrorPart:
    """Failures of one kind. `propagated` of them passed on the failure of a stage below."""

    stage_type: str
    error_type: str | None
    message: str | None
    fingerprint: str
    count: int
    propagated: int
    traces: int
    first_seen: str | None
    last_seen: str | None
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class FailingMetric:
    """A metric with scores beyond its threshold. `distance` is how far the worst one is, relative to the threshold."""

    metric_name: str
    threshold: float
    comparison: str
    count: int
    failed: int
    pass_rate: float
    avg: float
    distance: float
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class OddRetrievalPart:
    """A retrieval with a problem: nothing found (`empty`), a document twice (`duplicates`), scores out of `order`.

    Or an output with the problem `citation`: it cites a document that its trace never retrieved.
    """

    problem: str
    example: Example


@dataclass(frozen=True, slots=True)
class RetrievalPart:
    """How the retrievals of the run went, and how many of the `citing` outputs cite what was never retrieved."""

    count: int
    empty: int
    with_duplicates: int
    out_of_order: int
    citing: int
    citing_others: int
    examples: list[OddRetrievalPart]


@dataclass(frozen=True, slots=True)
class VersionPart:
    """A version of an asset in this run."""

    version: str | None
    digest: str | None
    uses: int
    fallbacks: int
    first_used: str | None
    last_used: str | None


@dataclass(frozen=True, slots=True)
class AssetPart:
    """An asset, the stage types that used it, and in which versions."""

    kind: str
    name: str
    stage_types: list[str]
    versions: list[VersionPart]


@dataclass(frozen=True, slots=True)
class MovedMetric:
    """A metric that differs clearly between two versions. `verdict` is `worse`, `better` or `changed`."""

    metric_name: str
    before: float
    after: float
    relative_change: float | None
    verdict: str
    scores_before: int
    scores_after: int


@dataclass(frozen=True, slots=True)
class AssetChange:
    """An asset went from one version to another within the run; `by` is `version` or `digest`.

    `pattern` is `switch` when the old version was not used after the new one began, else `mixed`.
    """

    kind: str
    name: str
    by: str
    before: str
    after: str
    pattern: str
    changed_at: str | None
    traces_before: int
    traces_after: int
    moved: list[MovedMetric]
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class AssetEdit:
    """Versions of an asset that have more than one digest in this run: edits that nobody gave a version."""

    kind: str
    name: str
    edits: list[Edit]


@dataclass(frozen=True, slots=True)
class AssetsPart:
    """What was used, what changed inside the run, and how complete it is.

    `since_run_before` is what became another since `run_before`, the run of the same service and kind that ended last
    before this one began.
    """

    used: list[AssetPart]
    changes: list[AssetChange]
    edits: list[AssetEdit]
    run_before: str | None
    since_run_before: list[Change]
    completeness: Completeness


@dataclass(frozen=True, slots=True)
class EvidencePart:
    """Something that cannot be known or is doubtful, and why; `fix` says which setting helps."""

    code: str
    severity: str
    count: int
    traces: int
    detail: str
    examples: list[Example]
    unknown: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One thing to do for one metric. `priority` is `p0_critical`, `p1_high` or `p2_medium`."""

    component: str
    metric_name: str
    priority: str
    title: str
    hint: str
    affected: int
    of: int
    effort: str
    expected_improvement_range: tuple[float, float]


@dataclass(frozen=True, slots=True)
class DebugReport:
    """Why a run is slow, wrong or failing. `findings` are ranked by impact; `verdict` says the worst in a sentence.

    `schema_version` changes when a field goes or means something else; new fields do not change it.
    """

    run: RunPart
    verdict: str
    findings: list[Problem]
    summary: Summary
    bottlenecks: list[Bottleneck]
    slowest_traces: list[SlowTracePart]
    errors: list[ErrorPart]
    failing_metrics: list[FailingMetric]
    retrieval: RetrievalPart
    assets: AssetsPart
    evidence: list[EvidencePart]
    recommendations: list[Recommendation]
    schema_version: str = "1"
