"""Routes of the query API. Every route reads; none writes. Handlers are plain functions, run in a thread each.

Run ids may hold `/` and `@`: they are the rest of the path, so they need no escaping beyond what URLs ask for.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from ..analysis.applied import asset_json, by_stage, stage_inputs, trace_assets
from ..analysis.bottlenecks import in_tree_order
from ..analysis.evaluations import evaluations_of, link_json
from ..analysis.figures import iso, nanoseconds
from ..analysis.finding_meanings import all_codes, meaning_of
from ..analysis.metrics import RunMetrics, run_metrics
from ..analysis.reject_json import RejectDetailJson, reject_detail_json, reject_json
from ..analysis.render import to_json, to_markdown
from ..analysis.render_html import to_html
from ..analysis.report import ReportOptions, debug_report
from ..analysis.report_model import DebugReport
from ..analysis.run_assets import stage_uses
from ..analysis.stage_json import stage_json
from ..analysis.summary import Summary, summarize
from ..analysis.thresholds import limits_of
from ..analysis.viewers import Viewers
from ..analysis.why import explain
from ..model import AssetUse, Finding, StageEvent
from ..settings import Settings
from ..store import Store
from ..store.records import MetricFilter, RejectFilter, RunFilter, StageFilter, Trace
from ..wire import otlp_json
from .api_models import (
    EventList,
    FindingCodes,
    FindingJson,
    RejectList,
    RunJson,
    RunList,
    TraceJson,
    TreeStage,
    log_event_json,
    run_json,
)

router = APIRouter(prefix="/api")
# The page says the same of itself; the header also holds where it is framed.
_NO_SCRIPTS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"}


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


StoreOf = Annotated[Store, Depends(_store)]
Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]
Profile = Annotated[str | None, Query(description="thresholds profile: `dev` or `prod`")]


def json_answer(record: Any) -> Response:
    """A record as JSON; the declared response model documents it, orjson writes it."""
    return Response(orjson.dumps(record, option=orjson.OPT_NON_STR_KEYS), media_type="application/json")


@router.get("/runs", response_model=RunList, summary="Runs, the latest first")
def runs(  # noqa: PLR0913, PLR0917 - one parameter per filter
    store: StoreOf,
    service: str | None = None,
    kind: str | None = None,
    since: Annotated[datetime | None, Query(description="runs with traces from this time on (UTC)")] = None,
    until: Annotated[datetime | None, Query(description="runs with traces before this time (UTC)")] = None,
    q: Annotated[str | None, Query(description="part of the run's id, name or dataset")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Only runs that hold a trace are listed, with exact counts."""
    page = store.runs(RunFilter(service, kind, nanoseconds(since), nanoseconds(until), q), limit, cursor)
    return json_answer(RunList(list(map(run_json, page.items)), page.total, len(page.items), page.next_cursor))


@router.get("/runs/{run_id:path}", response_model=RunJson, summary="One run")
def run(store: StoreOf, run_id: str) -> Response:
    """Counts, times and what is known about the run."""
    return json_answer(run_json(store.run(run_id)))


@router.get("/stage/events/{run_id:path}", response_model=EventList, summary="Stages of a run")
def events(  # noqa: PLR0913, PLR0917 - one parameter per filter
    store: StoreOf,
    run_id: str,
    stage_type: str | None = None,
    trace_id: str | None = None,
    status: str | None = None,
    limit: Limit = 200,
    cursor: Cursor = None,
) -> Response:
    """StageEvents in the order of their start, then id."""
    store.run(run_id)
    page = store.stages(run_id, StageFilter(stage_type, trace_id, status), limit, cursor)
    shown = list(map(stage_json, page.items, stage_uses(store, run_id, page.items)))
    return json_answer(EventList(run_id, shown, page.total, len(shown), page.next_cursor))


@router.get("/stage/metrics/{run_id:path}", response_model=RunMetrics, summary="Metrics of a run")
def metrics(  # noqa: PLR0913, PLR0917 - one parameter per filter
    request: Request,
    store: StoreOf,
    run_id: str,
    stage_id: str | None = None,
    metric_name: str | None = None,
    failing: Annotated[bool | None, Query(description="true: beyond the threshold; false: within it")] = None,
    profile: Profile = None,
    limit: Limit = 200,
    cursor: Cursor = None,
) -> Response:
    """Scores against thresholds, one per stage and metric, and the distribution of every metric of the run."""
    wanted = MetricFilter(stage_id, metric_name, failing)
    return json_answer(
        run_metrics(store, run_id, limits_of(request.app.state.settings, profile), wanted, limit, cursor)
    )


@router.get("/stage/summary/{run_id:path}", response_model=Summary, summary="A run in figures per stage type")
def summary(request: Request, store: StoreOf, run_id: str) -> Response:
    """Counts, errors, percentiles, self time, share of the critical path, missing stages."""
    return json_answer(summarize(store, run_id, request.app.state.settings.required_types))


@router.get(
    "/stage/debug/{run_id:path}",
    response_model=DebugReport,
    responses={
        200: {"content": {kind: {"schema": {"type": "string"}} for kind in ("text/markdown", "text/html")}},
    },
    summary="Why a run is slow, wrong or failing",
)
def debug(
    request: Request,
    store: StoreOf,
    run_id: str,
    form: Annotated[Literal["json", "markdown", "html"], Query(alias="format")] = "json",
    profile: Profile = None,
) -> Response:
    """The debug report. The same data gives the same bytes."""
    report = debug_report(store, run_id, _options(request, profile))
    if form == "markdown":
        return PlainTextResponse(to_markdown(report), media_type="text/markdown")
    if form == "html":
        return HTMLResponse(to_html(report, request.app.state.viewers), headers=_NO_SCRIPTS)
    return Response(to_json(report), media_type="application/json")


@router.get("/traces/{trace_id:path}", response_model=TraceJson, summary="One trace")
def trace(
    request: Request,
    store: StoreOf,
    trace_id: str,
    spans: Annotated[bool, Query(description="add the archived spans, as OTLP/JSON, and log events")] = False,  # noqa: FBT002 - a query parameter
    why: Annotated[bool, Query(description="add what made each stage what it is")] = False,  # noqa: FBT002 - a query parameter
) -> Response:
    """The stage tree, asset uses and findings of a trace."""
    trace_id = trace_id.lower()
    found = store.trace(trace_id)
    shown = _trace_json(store, found, request.app.state.viewers)
    if why:
        stages = store.trace_stages(trace_id)
        state = request.app.state
        reasons = explain(stages, store.spans(trace_id), store.logs(trace_id), state.conventions, state.options)
        shown = replace(shown, why=reasons)
    if spans:
        archive = orjson.Fragment(otlp_json.encode(store.spans(trace_id)))
        shown = replace(shown, spans=archive, log_events=list(map(log_event_json, store.logs(trace_id))))
    return json_answer(shown)


async def trace_of(
    trace_id: Annotated[str, Query(description="32 hex digits", examples=["4bf92f3577b34da6a3ce929d0e0e4736"])],
) -> Response:
    """Where links from other programs lead: to the answer about the trace. Dashes and capital letters do not matter."""
    return RedirectResponse(f"/api/traces/{quote(trace_id.strip().replace('-', '').lower(), safe='')}")


@router.get("/findings/codes", response_model=FindingCodes, summary="What the codes of findings mean")
def finding_codes() -> Response:
    """For each code: how grave it is, what cannot be known because of it, and the setting that fixes it."""
    return json_answer(FindingCodes(all_codes()))


@router.get("/rejects", response_model=RejectList, summary="What could not be stored, the latest first")
def rejects(  # noqa: PLR0913, PLR0917 - one parameter per filter
    store: StoreOf,
    since: Annotated[datetime | None, Query(description="received from this time on (UTC)")] = None,
    signal: Annotated[Literal["traces", "logs"] | None, Query(description="`traces` or `logs`")] = None,
    q: Annotated[str | None, Query(description="part of the reason")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Spans and log records that can never be stored, with the reason and who sent them."""
    page = store.rejects(RejectFilter(nanoseconds(since), q, signal), limit, cursor)
    return json_answer(RejectList(list(map(reject_json, page.items)), len(page.items), page.next_cursor))


@router.get("/rejects/{reject_id}", response_model=RejectDetailJson, summary="One reject with its payload")
def reject(store: StoreOf, reject_id: int) -> Response:
    """The payload as OTLP/JSON where it can be read, as the text that came, or as base64."""
    return json_answer(reject_detail_json(store.reject(reject_id)))


def _options(request: Request, profile: str | None) -> ReportOptions:
    settings: Settings = request.app.state.settings
    return ReportOptions(
        limits=limits_of(settings, profile),
        required=settings.required_types,
        expected=request.app.state.expected_assets,
    )


def _trace_json(store: Store, trace: Trace, viewers: Viewers) -> TraceJson:
    part = next((part for part in trace.parts if part.run_id == trace.run_id), None)
    stages, uses = store.trace_stages(trace.trace_id), store.asset_uses(trace.trace_id)
    used = by_stage(uses)
    return TraceJson(
        trace_id=trace.trace_id,
        run_id=trace.run_id,
        run_ids=[part.run_id for part in trace.parts],
        name=part.name if part else None,
        service=part.service if part else None,
        root_span_id=trace.root_span_id,
        started_at=iso(trace.first_ns),
        finished_at=iso(trace.last_ns),
        span_count=trace.span_count,
        assembled=trace.assembled,
        stages=[_tree_stage(stage, depth, used, viewers) for stage, depth in in_tree_order(stages)],
        assets=list(map(asset_json, uses)),
        applied_assets=trace_assets(stages, uses),
        stage_inputs=stage_inputs(stages, uses),
        findings=[_finding_json(finding) for finding in store.findings(trace.trace_id)],
        links=list(map(link_json, store.links(trace.trace_id))),
        evaluations=evaluations_of(store, trace.trace_id, stages),
        viewers=viewers.of_trace(trace.trace_id),
    )


def _tree_stage(stage: StageEvent, depth: int, used: Mapping[str, list[AssetUse]], viewers: Viewers) -> TreeStage:
    links = viewers.of_span(stage.trace_id, stage.span_id)
    return TreeStage(depth, stage_json(stage, used.get(stage.stage_id, ())), links)


def _finding_json(finding: Finding) -> FindingJson:
    said = (finding.code, finding.severity, finding.detail, finding.run_id, finding.stage_id, finding.span_id)
    return FindingJson(*said, *meaning_of(finding.code))
