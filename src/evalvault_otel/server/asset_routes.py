"""Routes about assets. They read and never write; run ids may hold `/`, as elsewhere."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..analysis.completeness import Expected
from ..analysis.run_assets import RunAssets, run_assets
from ..errors import NotFound
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
