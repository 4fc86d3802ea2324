"""`GET /api/compare`: two runs, or two parts of a run in time, stage by stage."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from ..analysis.compare import compare
from ..analysis.compare_model import Comparison
from ..analysis.figures import nanoseconds
from ..errors import InvalidInput
from ..store.comparing import Part
from .api_routes import StoreOf, json_answer

router = APIRouter(prefix="/api")

RunId = Annotated[str, Query(min_length=1, examples=["nightly-42"])]
Since = Annotated[datetime | None, Query(description="only its traces that began from this time on (UTC)")]
Until = Annotated[datetime | None, Query(description="only its traces that began before this time (UTC)")]


@router.get("/compare", response_model=Comparison, summary="Two runs compared, metric by metric")
def compare_runs(  # noqa: PLR0913, PLR0917 - two runs, each with its time
    store: StoreOf,
    baseline: RunId,
    candidate: RunId,
    baseline_since: Since = None,
    baseline_until: Until = None,
    candidate_since: Since = None,
    candidate_until: Until = None,
) -> Response:
    """Differences with confidence intervals and verdicts, changed stages, test cases and assets."""
    before = Part(baseline, nanoseconds(baseline_since), nanoseconds(baseline_until))
    after = Part(candidate, nanoseconds(candidate_since), nanoseconds(candidate_until))
    if before == after:
        raise InvalidInput("baseline and candidate are the same: name two runs, or two times of one")
    return json_answer(compare(store, before, after))
