"""A run in figures per stage type: how many, how often failed, how long, and what part of the waiting it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..store.reads import Queries
from ..store.records import MissingType, StageTypeStats
from .figures import rounded, share

REQUIRED_TYPES: Final = ("input", "retrieval", "output")


@dataclass(frozen=True, slots=True)
class StageTypeSummary:
    """One stage type. Times in milliseconds, None where no stage of the type has a duration.

    `self_ms` sums the time without child stages. `critical_path_share` is the part of the critical paths of all traces.
    """

    stage_type: str
    count: int
    errors: int
    error_rate: float
    retries: int
    skipped: int
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    self_ms: float
    critical_path_share: float


@dataclass(frozen=True, slots=True)
class Missing:
    """`traces` of `of` traces lack a required stage type; `trace_id` is one of them."""

    stage_type: str
    traces: int
    of: int
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """EvalVault's keys first. `missing_required_stage_types` names those that no trace of the run has."""

    run_id: str
    total_events: int
    stage_type_counts: dict[str, int]
    stage_type_avg_durations: dict[str, float]
    missing_required_stage_types: list[str]
    stages: list[StageTypeSummary]
    missing: list[Missing]


def summarize(store: Queries, run_id: str, required: Sequence[str] = REQUIRED_TYPES) -> Summary:
    """The summary of a run.

    Raises:
        NotFound: there is no such run.
    """
    store.run(run_id)
    return summary_of(run_id, store.stage_types(run_id), store.missing_types(run_id, required))


def summary_of(run_id: str, types: Sequence[StageTypeStats], missing: Sequence[MissingType]) -> Summary:
    """The summary from what the store counted."""
    weights = path_shares(types)
    averages = {stats.stage_type: stats.avg_ms for stats in types if stats.avg_ms is not None}
    return Summary(
        run_id=run_id,
        total_events=sum(stats.count for stats in types),
        stage_type_counts={stats.stage_type: stats.count for stats in types},
        stage_type_avg_durations={name: rounded(avg_ms) for name, avg_ms in averages.items()},
        missing_required_stage_types=[item.stage_type for item in missing if item.traces == item.of],
        stages=[_stage_type(stats, weights[stats.stage_type]) for stats in types],
        missing=[Missing(item.stage_type, item.traces, item.of, item.trace_id) for item in missing if item.traces],
    )


def path_shares(types: Sequence[StageTypeStats]) -> dict[str, float]:
    """The part of the critical path per stage type; of the self time, where no critical path is known."""
    path = {stats.stage_type: stats.critical_ms for stats in types}
    if not sum(path.values()):
        path = {stats.stage_type: stats.self_ms for stats in types}
    whole = sum(path.values())
    return {name: share(ms, whole) for name, ms in path.items()}


def _stage_type(stats: StageTypeStats, path_share: float) -> StageTypeSummary:
    return StageTypeSummary(
        stage_type=stats.stage_type,
        count=stats.count,
        errors=stats.errors,
        error_rate=share(stats.errors, stats.count),
        retries=stats.retries,
        skipped=stats.skipped,
        avg_ms=rounded(stats.avg_ms),
        p50_ms=rounded(stats.p50_ms),
        p95_ms=rounded(stats.p95_ms),
        p99_ms=rounded(stats.p99_ms),
        max_ms=rounded(stats.max_ms),
        self_ms=rounded(stats.self_ms),
        critical_path_share=path_share,
    )
