"""Routes about assets. They read and never write; run ids may hold `/`, as elsewhere."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from ..analysis.asset_graph import AssetGraph, asset_graph, to_mermaid
from ..analysis.completeness import Expected
from ..analysis.figures import nanoseconds
from ..analysis.ledger import AssetLedger, AssetPage, asset_ledger, asset_page
from ..analysis.run_assets import RunAssets, run_assets
from ..errors import NotFound
from ..store.asset_records import AssetFilter
from ..store.records import StageFilter
from .api_models import run_json
from .api_routes import Cursor, Limit, StoreOf, json_answer

router = APIRouter(prefix="/api")
_SUFFIX = "/assets"


@router.get("/runs/{run_id:path}/assets", response_model=RunAssets, summary="What the stages of a run used")
def assets_of_run(  # noqa: PLR0913, PLR0917 - one parameter per filter
    request: Request,
    store: StoreOf,
    run_id: str,
    stage_type: str | None = None,
    trace_id: str | None = None,
    limit: Limit = 200,
    cursor: Cursor = None,
) -> Response:
    """Per stage the assets as texts and as records, and how complete they are."""
    expected: Expected = request.app.state.expected_assets
    try:
        found = run_assets(store, run_id, StageFilter(stage_type, trace_id), limit, cursor, expected)
    except NotFound as unknown:
        return _run_named_so(store, run_id + _SUFFIX, unknown)
    return json_answer(found)


def _run_named_so(store: StoreOf, run_id: str, unknown: NotFound) -> Response:
    """A run whose own id ends in `/assets`.

    Raises:
        NotFound: there is none either; it is said of the run that was asked for.
    """
    try:
        return json_answer(run_json(store.run(run_id)))
    except NotFound:
        raise unknown from None


@router.get("/assets", response_model=AssetPage, summary="Assets that were used, by kind and name")
def assets(  # noqa: PLR0913, PLR0917 - one parameter per filter
    store: StoreOf,
    kind: str | None = None,
    q: Annotated[str | None, Query(description="part of the name")] = None,
    since: Annotated[datetime | None, Query(description="used from this time on (UTC)")] = None,
    until: Annotated[datetime | None, Query(description="used before this time (UTC)")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Each with its versions, uses, runs, first and last use; counts are of the time that was asked for."""
    wanted = AssetFilter(kind, q, nanoseconds(since), nanoseconds(until))
    return json_answer(asset_page(store, wanted, limit, cursor))


@router.get(
    "/assets/graph",
    response_model=AssetGraph,
    responses={200: {"content": {"text/vnd.mermaid": {"schema": {"type": "string"}}}}},
    summary="Which stages of a run used which assets",
)
def graph(
    store: StoreOf,
    run_id: str,
    form: Annotated[Literal["json", "mermaid"], Query(alias="format")] = "json",
) -> Response:
    """Assets and stages as nodes, with who used what and which stage followed which as edges."""
    found = asset_graph(store, run_id)
    if form == "mermaid":
        return PlainTextResponse(to_mermaid(found), media_type="text/vnd.mermaid")
    return json_answer(found)


@router.get("/assets/{kind}/{name:path}", response_model=AssetLedger, summary="One asset with its versions")
def asset(
    store: StoreOf,
    kind: str,
    name: str,
    before: Annotated[str | None, Query(description="a version to compare, with `after`")] = None,
    after: Annotated[str | None, Query(description="the version to compare it with")] = None,
) -> Response:
    """Versions in the order of their first use, two of them compared, and where the asset drifted."""
    return json_answer(asset_ledger(store, kind, name, before, after))
