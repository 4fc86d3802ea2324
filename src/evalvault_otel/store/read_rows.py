"""Rows of a query as records. Rows come as dicts; JSON comes as text (SQLite) or already as values (PostgreSQL)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import orjson

from ..model import AssetUse, Finding, PayloadRef, RunTrace, StageEvent, StageLink
from .records import (
    ErrorGroup,
    FindingCode,
    MetricStats,
    OddRetrieval,
    Outliers,
    Place,
    RetrievalHealth,
    Run,
    Score,
    SlowTrace,
    StageTypeStats,
    Trace,
    TraceEvaluation,
    VersionMetric,
    VersionUse,
)

Row = Mapping[str, Any]

_STAGE_AS_IS = (
    "trace_id", "stage_id", "run_id", "stage_type", "stage_name", "parent_stage_id", "status", "attempt", "started_ns",
    "finished_ns", "duration_ms", "self_ms", "critical_ms", "span_id", "type_source", "error_type", "error_message",
    "error_fingerprint", "tokens_in", "tokens_out", "cost_total",
)  # fmt: skip
_ASSET_AS_IS = (
    "trace_id", "stage_id", "ordinal", "run_id", "kind", "name", "asset_id", "version", "digest", "origin", "subtype",
    "role", "used_ns", "load_ms",
)  # fmt: skip
_PART_AS_IS = (
    "trace_id", "run_id", "service", "name", "started_ns", "finished_ns", "stages", "errors", "tokens_in",
    "tokens_out", "cost_total",
)  # fmt: skip
_TYPE_AS_IS = (
    "stage_type", "count", "errors", "retries", "skipped", "timed", "avg_ms", "max_ms", "self_ms", "critical_ms",
)  # fmt: skip
_RUN_AS_IS = tuple(Run.__dataclass_fields__)


def document(value: Any) -> Any:
    """A JSON column as a value."""
    return orjson.loads(value) if isinstance(value, str | bytes) else value


def _picked(row: Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def stage_of(row: Row) -> StageEvent:
    """The stage of a row of `v_stage`."""
    return StageEvent(
        **_picked(row, _STAGE_AS_IS),
        input_ref=_ref_of(row["input_ref"]),
        output_ref=_ref_of(row["output_ref"]),
        attributes=document(row["attributes"]),
        metadata=document(row["metadata"]),
        derived=bool(row["derived"]),
        wrapped_span_ids=tuple(document(row["wrapped_span_ids"]) or ()),
        metrics={f"{row['stage_type']}.{key}": score for key, score in (document(row["metrics"]) or {}).items()},
    )


def _ref_of(value: Any) -> PayloadRef | None:
    return None if value is None else PayloadRef.parse(value)


def asset_of(row: Row) -> AssetUse:
    """The asset use of a row of `v_asset_use`."""
    hit = row["cache_hit"]
    return AssetUse(
        **_picked(row, _ASSET_AS_IS), fallback=bool(row["fallback"]), cache_hit=None if hit is None else bool(hit)
    )


def link_of(row: Row) -> StageLink:
    """The link of a row of `stage_link`."""
    return StageLink(**{**row, "attributes": document(row["attributes"]) or {}})


def evaluation_of(row: Row) -> TraceEvaluation:
    """The stage of a row that joins a link to what it belongs to."""
    named = row["linked_span_id"]
    by_span = row["linked_trace_id"] != ""
    return TraceEvaluation(named if by_span else None, None if by_span else named, stage_of(row))


def finding_of(row: Row) -> Finding:
    """The finding of a row of `finding`."""
    return Finding(**row)


def part_of(row: Row) -> RunTrace:
    """The part of a run of a row of `run_trace`; what the run is called is set when the row has it."""
    said: dict[str, Any] = {name: row.get(name) for name in ("run_name", "run_kind", "dataset", "dataset_version")}
    types = tuple(name for name in row["stage_types"].split(",") if name)
    return RunTrace(**_picked(row, _PART_AS_IS), stage_types=types, **said)


def run_of(row: Row) -> Run:
    """The run of a row of `runs`."""
    return Run(**_picked(row, _RUN_AS_IS))


def trace_of(row: Row, parts: Iterable[Row]) -> Trace:
    """The trace of a row of `trace` and rows of `run_trace`."""
    known = {name: value for name, value in row.items() if name != "assembled_ns"}
    return Trace(**known, assembled=row["assembled_ns"] is not None, parts=tuple(map(part_of, parts)))


def slow_trace_of(row: Row) -> SlowTrace:
    """The slow trace of a row of `slowest_traces`."""
    return SlowTrace(part_of(row), row["root_span_id"], float(row["duration_ms"]))


def place_of(row: Row) -> Place:
    """Where a row is about."""
    return Place(row["trace_id"], row["stage_id"], row["span_id"], row["stage_name"])


def stage_type_of(row: Row) -> StageTypeStats:
    """The times of a stage type from a row of `stage_types`."""
    p50, p95, p99, _ = _percentiles(row["percentiles"])
    self_p50, _, _, self_p10 = _percentiles(row["self_percentiles"])
    return StageTypeStats(
        **_picked(row, _TYPE_AS_IS), p50_ms=p50, p95_ms=p95, p99_ms=p99, self_p50_ms=self_p50, self_p10_ms=self_p10
    )


def metric_of(row: Row) -> MetricStats:
    """The distribution of a metric from a row of `metric_stats`."""
    p50, p95, p99, _ = _percentiles(row["percentiles"])
    same = ("metric_name", "count", "avg", "min", "max", "passed")
    return MetricStats(**_picked(row, same), p50=p50, p95=p95, p99=p99)


def _percentiles(value: Any) -> Any:
    return document(value) or (None, None, None, None)


def score_of(row: Row) -> Score:
    """The score of a row of `scores`."""
    return Score(
        place_of(row),
        row["stage_type"],
        row["metric_name"],
        row["x"],
        row["duration_ms"],
        document(row["attributes"]),
        document(row["metadata"]),
    )


def error_groups_of(rows: Iterable[Row]) -> list[ErrorGroup]:
    """Error groups of rows that hold one example each, in their order."""
    same = ("stage_type", "fingerprint", "error_type", "count", "propagated", "traces", "first_ns", "last_ns")
    groups = []
    for _, members in groupby(rows, key=lambda row: (row["stage_type"], row["fingerprint"])):
        found = list(members)
        examples = tuple(map(place_of, found))
        groups.append(ErrorGroup(**_picked(found[0], same), message=found[0]["error_message"], examples=examples))
    return groups


def outliers_of(rows: Iterable[Row]) -> list[Outliers]:
    """Outliers per stage type of rows that hold one example each."""
    found = [(stage_type, list(members)) for stage_type, members in groupby(rows, key=lambda row: row["stage_type"])]
    return [
        Outliers(stage_type, rows[0]["count"], rows[0]["excess_ms"], tuple((place_of(row), row["x"]) for row in rows))
        for stage_type, rows in found
    ]


def retrieval_health_of(rows: Sequence[Row]) -> RetrievalHealth:
    """The health in rows that hold one odd retrieval each, or none."""
    odd = tuple(OddRetrieval(row["problem"], place_of(row), row["query"]) for row in rows if row["problem"])
    counts = ("count", "empty", "with_duplicates", "out_of_order", "citing", "citing_others")
    return RetrievalHealth(**_picked(rows[0], counts), odd=odd)


def finding_codes_of(rows: Iterable[Row]) -> list[FindingCode]:
    """Finding codes of rows that hold one example each, in their order."""
    same = ("code", "severity", "count", "traces", "detail")
    found = [list(members) for _, members in groupby(rows, key=lambda row: (row["code"], row["severity"]))]
    return [FindingCode(**_picked(rows[0], same), examples=tuple(map(place_of, rows))) for rows in found]


def version_use_of(row: Row) -> VersionUse:
    """The use of a version from a row of `version_uses`."""
    same = ("kind", "name", "version", "traces", "first_ns", "last_ns")
    return VersionUse(**_picked(row, same), place=place_of(row))


def version_metric_of(row: Row) -> VersionMetric:
    """A metric by version from a row of `version_metrics`; rounding may not leave a negative variance."""
    variance = max(row["avg_square"] - row["avg"] ** 2, 0.0)
    same = ("kind", "name", "version", "metric_name", "count", "avg")
    return VersionMetric(**_picked(row, same), variance=variance)
