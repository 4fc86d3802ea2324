"""The query API: HTTP in front of `analysis` and the store's reads. A GET never writes.

Answers are records of `analysis`, written by orjson; FastAPI reads the same records for the OpenAPI description.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Path, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from .. import __version__
from ..analysis.metrics import RunMetrics, run_metrics
from ..analysis.render import to_json, to_markdown
from ..analysis.report import ReportOptions, debug_report
from ..analysis.report_model import DebugReport
from ..analysis.summary import Summary, summarize
from ..analysis.thresholds import load_limits
from ..errors import EvalVaultError, InvalidInput, NotFound, Unavailable
from ..store import Store
from ..store.records import MetricFilter, Run, RunFilter, StageFilter
from ..wire import otlp_json
from ..wire.answer import RETRY_AFTER_S
from .api_models import Error, EventsPage, Health, RunsPage, TraceAnswer, run_json, trace_answer

RunId = Annotated[str, Path(description="Run id, percent-encoded where it has special characters.")]
TraceId = Annotated[str, Path(description="Trace id, 32 hex digits.")]
Limit = Annotated[int, Query(ge=1, le=10_000, description="How many at most.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
Time = Annotated[datetime | None, Query(description="ISO 8601; without a zone it is UTC.")]

_ERRORS: tuple[tuple[type[EvalVaultError], int, str], ...] = (
    (NotFound, 404, "Not found"),
    (InvalidInput, 422, "Invalid request"),
    (Unavailable, 503, "Storage unavailable"),
)


class Format(StrEnum):
    """How a report is written."""

    JSON = "json"
    MARKDOWN = "markdown"


def create_api(store: Store, registry: CollectorRegistry) -> FastAPI:
    """The application that answers from `store` and shows the counters of `registry`."""
    app = FastAPI(
        title="evalvault-otel",
        version=__version__,
        summary="What RAG traces say: runs, stages, metrics, debug reports.",
        redirect_slashes=False,
        responses={422: {"model": Error}, 503: {"model": Error}},
    )
    _add_errors(app)
    _add_runs(app, store)
    _add_stages(app, store)
    _add_trace(app, store)
    _add_health(app, store, registry)
    return app


def _answer(record: Any) -> Response:
    return Response(orjson.dumps(record), media_type="application/json")


def _add_errors(app: FastAPI) -> None:
    def failed(_: Any, error: Exception) -> Response:
        status, title = next((code, title) for kind, code, title in _ERRORS if isinstance(error, kind))
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None  # noqa: PLR2004 - a status code
        return _error(status, title, str(error), headers)

    def invalid(_: Any, error: Exception) -> Response:
        problems = error.errors() if isinstance(error, RequestValidationError) else []
        details = "; ".join(f"{'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}" for problem in problems)
        return _error(422, "Invalid request", details)

    for kind, _, _ in _ERRORS:
        app.add_exception_handler(kind, failed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(404, lambda request, _: _error(404, "Not found", f"nothing at {request.url.path}"))


def _error(status: int, title: str, details: str, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(Error(title, details)), status, headers, "application/json")


def _add_runs(app: FastAPI, store: Store) -> None:
    @app.get("/api/runs", tags=["runs"], response_model=None, responses=_shape(RunsPage))
    def runs(  # noqa: PLR0913, PLR0917 - one parameter per filter
        service: str | None = None,
        kind: str | None = None,
        since: Time = None,
        until: Time = None,
        q: Annotated[str | None, Query(description="Part of the id, name or data set.")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Runs with at least one trace, the latest first."""
        page = store.runs(RunFilter(service, kind, _ns(since), _ns(until), q), limit, cursor)
        return _answer(RunsPage([run_json(run) for run in page.items], page.total, len(page.items), page.next_cursor))

    @app.get("/api/runs/{run_id:path}", tags=["runs"], response_model=None, responses=_shape(Run, missing=True))
    def run(run_id: RunId) -> Response:
        """One run."""
        return _answer(run_json(store.run(run_id)))


def _add_stages(app: FastAPI, store: Store) -> None:
    limits = load_limits()
    options = ReportOptions(limits=limits)

    @app.get(
        "/api/stage/events/{run_id:path}",
        tags=["stages"],
        response_model=None,
        responses=_shape(EventsPage, missing=True),
    )
    def events(  # noqa: PLR0913, PLR0917 - one parameter per filter
        run_id: RunId,
        stage_type: str | None = None,
        trace_id: str | None = None,
        status: str | None = None,
        limit: Limit = 200,
        cursor: Cursor = None,
    ) -> Response:
        """Stages of a run as StageEvents, by start, then id."""
        store.run(run_id)
        page = store.stages(run_id, StageFilter(stage_type, trace_id, status), limit, cursor)
        return _answer(EventsPage.of(run_id, page))

    @app.get(
        "/api/stage/metrics/{run_id:path}",
        tags=["stages"],
        response_model=None,
        responses=_shape(RunMetrics, missing=True),
    )
    def metrics(  # noqa: PLR0913, PLR0917 - one parameter per filter
        run_id: RunId,
        stage_id: str | None = None,
        metric_name: str | None = None,
        failing: Annotated[bool | None, Query(description="True: beyond the threshold; false: within it.")] = None,
        limit: Limit = 200,
        cursor: Cursor = None,
    ) -> Response:
        """Scores of single stages, and the distribution of every metric of the run."""
        return _answer(run_metrics(store, run_id, limits, MetricFilter(stage_id, metric_name, failing), limit, cursor))

    @app.get(
        "/api/stage/summary/{run_id:path}",
        tags=["stages"],
        response_model=None,
        responses=_shape(Summary, missing=True),
    )
    def summary(run_id: RunId) -> Response:
        """Counts, errors and times per stage type, and which required types are missing."""
        return _answer(summarize(store, run_id))

    @app.get(
        "/api/stage/debug/{run_id:path}",
        tags=["stages"],
        response_model=None,
        responses=_shape(DebugReport, missing=True),
    )
    def debug(run_id: RunId, form: Annotated[Format, Query(alias="format")] = Format.JSON) -> Response:
        """What is wrong with a run and where to look, as JSON or Markdown."""
        report = debug_report(store, run_id, options)
        if form is Format.MARKDOWN:
            return Response(to_markdown(report), media_type="text/markdown; charset=utf-8")
        return Response(to_json(report), media_type="application/json")


def _add_trace(app: FastAPI, store: Store) -> None:
    @app.get(
        "/api/traces/{trace_id}", tags=["traces"], response_model=None, responses=_shape(TraceAnswer, missing=True)
    )
    def trace(
        trace_id: TraceId,
        spans: Annotated[bool, Query(description="Add the archived spans, as OTLP/JSON.")] = False,  # noqa: FBT002 - a parameter
    ) -> Response:
        """A trace: its stages as a tree, the assets they used, findings."""
        wanted = trace_id.lower()
        answer = trace_answer(store, wanted)
        archive = orjson.Fragment(otlp_json.encode(store.spans(wanted))) if spans else None
        return _answer({**answer, "spans": archive} if spans else answer)


def _add_health(app: FastAPI, store: Store, registry: CollectorRegistry) -> None:
    @app.get("/", include_in_schema=False)
    def index() -> Response:
        paths = sorted(app.openapi()["paths"])
        return _answer({"name": "evalvault-otel", "version": __version__, "docs": "/docs", "routes": paths})

    @app.get("/livez", tags=["health"], response_model=None, responses=_shape(Health))
    def livez() -> Response:
        """The process is alive."""
        return _answer(Health("ok"))

    @app.get("/readyz", tags=["health"], response_model=None, responses=_shape(Health))
    def readyz() -> Response:
        """The database answers and has its tables."""
        store.ping()
        return _answer(Health("ok"))

    @app.get("/metrics", tags=["health"], response_model=None)
    def prometheus() -> Response:
        """Counters for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _shape(model: type, *, missing: bool = False) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI description says of an answer."""
    return {200: {"model": model}, **({404: {"model": Error}} if missing else {})}


def _ns(time: datetime | None) -> int | None:
    if time is None:
        return None
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1_000_000) * 1000
