"""A stage as EvalVault's StageEvent JSON: the record that the API returns and that files hold.

Trace and span id are written at the top level and inside `trace`, times as ISO 8601 in UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model import AssetUse, PayloadRef, StageEvent
from .applied import AppliedAssets, applied_assets
from .figures import iso


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where the stage was recorded."""

    trace_id: str
    span_id: str | None


@dataclass(frozen=True, slots=True)
class StageJson:
    """EvalVault's fields first, then what is known beyond them.

    `applied_assets` are the assets that the stage used, as texts; None where they were not looked up.
    """

    run_id: str
    stage_id: str
    parent_stage_id: str | None
    stage_type: str
    stage_name: str | None
    status: str
    attempt: int
    started_at: str | None
    finished_at: str | None
    duration_ms: float | None
    input_ref: PayloadRef | None
    output_ref: PayloadRef | None
    attributes: Mapping[str, Any]
    metadata: Mapping[str, Any]
    trace: TraceContext
    trace_id: str
    span_id: str | None
    derived: bool
    type_source: str
    wrapped_span_ids: tuple[str, ...]
    self_ms: float | None
    critical_ms: float | None
    error_type: str | None
    error_message: str | None
    error_fingerprint: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost_total: float | None
    metrics: Mapping[str, float]
    applied_assets: AppliedAssets | None = None


_SAME = (
    "run_id", "stage_id", "parent_stage_id", "stage_type", "stage_name", "status", "attempt", "duration_ms",
    "input_ref", "output_ref", "attributes", "metadata", "trace_id", "span_id", "derived", "type_source",
    "wrapped_span_ids", "self_ms", "critical_ms", "error_type", "error_message", "error_fingerprint", "tokens_in",
    "tokens_out", "cost_total", "metrics",
)  # fmt: skip


def stage_json(stage: StageEvent, uses: Sequence[AssetUse] | None = None) -> StageJson:
    """The stage as it is written, with the assets it used if they are given."""
    same = {name: getattr(stage, name) for name in _SAME}
    return StageJson(
        **same,
        started_at=iso(stage.started_ns),
        finished_at=iso(stage.finished_ns),
        trace=TraceContext(stage.trace_id, stage.span_id),
        applied_assets=None if uses is None else applied_assets(uses),
    )
