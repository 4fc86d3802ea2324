"""Shapes of the query API's answers that are not records of `analysis` or `store` already."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..analysis.applied import AssetJson, StageInput, TraceAsset
from ..analysis.evaluations import EvaluationJson, LinkJson
from ..analysis.figures import iso, rounded
from ..analysis.finding_meanings import CodeJson
from ..analysis.reject_json import RejectJson
from ..analysis.stage_json import StageJson
from ..analysis.why import Why
from ..model import LogEvent
from ..store.records import Run
from ..values import plain_json


@dataclass(frozen=True, slots=True)
class ApiError:
    """What went wrong, and what about it."""

    error: str
    details: str


@dataclass(frozen=True, slots=True)
class Health:
    """`status` is `ok`."""

    status: str


@dataclass(frozen=True, slots=True)
class Index:
    """Where to go from here."""

    name: str
    version: str
    links: dict[str, str]


@dataclass(frozen=True, slots=True)
class RunJson:
    """A run with exact counts. Times are ISO 8601 in UTC."""

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
    tokens_in: int
    tokens_out: int
    cost_total: float


@dataclass(frozen=True, slots=True)
class RunList:
    """A page of runs, the latest first."""

    runs: Sequence[RunJson]
    total: int
    returned: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class EventList:
    """A page of stages, by start and then id."""

    run_id: str
    events: Sequence[StageJson]
    total: int
    returned: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class RejectList:
    """A page of rejects, the latest first."""

    rejects: Sequence[RejectJson]
    returned: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class TreeStage:
    """A stage in a tree: `depth` is the number of stages above it, `viewers` links to it in other programs."""

    depth: int
    stage: StageJson
    viewers: dict[str, str]


@dataclass(frozen=True, slots=True)
class FindingJson:
    """Something to know about a trace: what happened, what cannot be known because of it, and what fixes it."""

    code: str
    severity: str
    detail: str
    run_id: str
    stage_id: str | None
    span_id: str | None
    unknown: str
    fix: str


@dataclass(frozen=True, slots=True)
class FindingCodes:
    """Every code that a finding can have."""

    codes: Sequence[CodeJson]


@dataclass(frozen=True, slots=True)
class LogEventJson:
    """A log record that is an event of a span. Bytes in `body` and `attributes` are base64."""

    span_id: str
    name: str
    time: str | None
    severity: int
    severity_text: str
    body: Any
    attributes: Any
    dropped_attributes: int
    service: str
    scope: str


@dataclass(frozen=True, slots=True)
class TraceJson:
    """A trace: its stages from the top down, what they used, what to know, what they are linked to.

    `assets` has every use, `applied_assets` each asset in a version once with the stages that used it, `stage_inputs`
    what each stage began with, by start.
    `evaluations` are stages of other traces that evaluate this one, `viewers` links to the trace in other programs.

    `assembled` is false until its spans were turned into stages for the first time. `why` says of each stage what made
    it what it is, when that was asked for. `spans` holds the archived spans as
    OTLP/JSON (`{"resourceSpans": […]}`) when they were asked for, `log_events` those that came as log records.
    """

    trace_id: str
    run_id: str | None
    run_ids: Sequence[str]
    name: str | None
    service: str | None
    root_span_id: str | None
    started_at: str | None
    finished_at: str | None
    span_count: int
    assembled: bool
    stages: Sequence[TreeStage]
    assets: Sequence[AssetJson]
    applied_assets: Sequence[TraceAsset]
    stage_inputs: Sequence[StageInput]
    findings: Sequence[FindingJson]
    links: Sequence[LinkJson]
    evaluations: Sequence[EvaluationJson]
    viewers: dict[str, str]
    why: Sequence[Why] | None = None
    spans: Any = None
    log_events: Sequence[LogEventJson] | None = None


_SAME = (
    "run_id", "name", "kind", "dataset", "dataset_version", "service", "services", "traces", "failed_traces", "stages",
    "errors", "tokens_in", "tokens_out",
)  # fmt: skip


def run_json(run: Run) -> RunJson:
    """A run as it is written."""
    same = {name: getattr(run, name) for name in _SAME}
    started_at, finished_at = iso(run.first_ns), iso(run.last_ns)
    return RunJson(**same, started_at=started_at, finished_at=finished_at, cost_total=rounded(run.cost_total))


def log_event_json(event: LogEvent) -> LogEventJson:
    """A log event as it is written."""
    return LogEventJson(
        span_id=event.span_id,
        name=event.name,
        time=iso(event.time_ns or event.observed_ns),
        severity=event.severity,
        severity_text=event.severity_text,
        body=orjson.Fragment(plain_json(event.body)),
        attributes=orjson.Fragment(plain_json(event.attributes)),
        dropped_attributes=event.dropped_attributes,
        service=event.resource.service,
        scope=event.scope.name,
    )
