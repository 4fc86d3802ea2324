"""Shapes of the API's answers that are not records of `analysis` already."""

from dataclasses import asdict, dataclass
from typing import Any

from ..analysis.bottlenecks import in_tree_order
from ..analysis.figures import iso
from ..analysis.stage_json import StageJson, stage_json
from ..model import AssetUse, Finding, StageEvent
from ..store import Store
from ..store.records import Page, Run


@dataclass(frozen=True, slots=True)
class Error:
    """Every error of the API."""

    error: str
    details: str


@dataclass(frozen=True, slots=True)
class Health:
    """Alive or ready."""

    status: str


@dataclass(frozen=True, slots=True)
class RunsPage:
    """Some runs. `total` counts all that match."""

    runs: list[dict[str, Any]]
    total: int
    returned: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class EventsPage:
    """Some stages of a run. `total` counts all that match."""

    run_id: str
    events: list[StageJson]
    total: int
    returned: int
    next_cursor: str | None

    @classmethod
    def of(cls, run_id: str, page: Page[StageEvent]) -> "EventsPage":
        """The page as it is written."""
        return cls(run_id, [stage_json(item) for item in page.items], page.total, len(page.items), page.next_cursor)


@dataclass(frozen=True, slots=True)
class TreeStage:
    """A stage of a trace with the stages under it and the assets that it used."""

    stage: StageJson
    assets: list[AssetUse]
    children: list["TreeStage"]


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """A trace. `spans` is OTLP/JSON and only there when asked for."""

    trace_id: str
    run_id: str | None
    root_span_id: str | None
    started_at: str | None
    finished_at: str | None
    span_count: int
    assembled: bool
    runs: list[str]
    stages: list[TreeStage]
    assets: list[AssetUse]
    findings: list[Finding]


def run_json(run: Run) -> dict[str, Any]:
    """A run with its times as text."""
    return {**asdict(run), "started_at": iso(run.first_ns), "finished_at": iso(run.last_ns)}


def trace_answer(store: Store, trace_id: str) -> dict[str, Any]:
    """All that is derived from a trace.

    Raises:
        NotFound: no span of it was ever stored.
    """
    trace = store.trace(trace_id)
    uses = store.asset_uses(trace_id)
    answer = TraceAnswer(
        trace_id=trace.trace_id,
        run_id=trace.run_id,
        root_span_id=trace.root_span_id,
        started_at=iso(trace.first_ns) if trace.first_ns else None,
        finished_at=iso(trace.last_ns) if trace.last_ns else None,
        span_count=trace.span_count,
        assembled=trace.assembled,
        runs=[part.run_id for part in trace.parts],
        stages=_tree(store.trace_stages(trace_id), uses),
        assets=uses,
        findings=store.findings(trace_id),
    )
    return {name: getattr(answer, name) for name in TraceAnswer.__dataclass_fields__}


def _tree(stages: list[StageEvent], uses: list[AssetUse]) -> list[TreeStage]:
    tops: list[TreeStage] = []
    path: list[TreeStage] = []
    for stage, depth in in_tree_order(stages):
        item = TreeStage(stage_json(stage), [use for use in uses if use.stage_id == stage.stage_id], [])
        del path[depth:]
        (path[-1].children if path else tops).append(item)
        path.append(item)
    return tops
