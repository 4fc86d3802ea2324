"""What stages are linked to, and what stages of other traces say of them: evaluations that ran elsewhere, or later.

Looked up when a trace is shown, so that it does not matter which of the two arrived first (ADR 0018).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model import StageEvent, StageLink
from ..store import Store
from .figures import iso

_MOST = 1000


@dataclass(frozen=True, slots=True)
class LinkJson:
    """A link of a stage; `stage_id` is empty when no stage encloses the linking span."""

    stage_id: str
    link_type: str
    linked_trace_id: str
    linked_span_id: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EvaluationJson:
    """A stage of another trace that evaluates `stage_id` of this one; None where it names a span that is no stage.

    `metrics` are its scores, `evaluations` what evaluators said in words.
    """

    stage_id: str | None
    linked_span_id: str | None
    response_id: str | None
    by_trace_id: str
    by_stage_id: str
    by_run_id: str
    name: str | None
    status: str
    started_at: str | None
    metrics: Mapping[str, float]
    evaluations: Sequence[Mapping[str, Any]]


def link_json(link: StageLink) -> LinkJson:
    """A link as it is written."""
    target = (link.linked_trace_id, link.linked_span_id)
    return LinkJson(link.stage_id, link.link_type, *target, link.attributes)


def evaluations_of(store: Store, trace_id: str, stages: Sequence[StageEvent]) -> list[EvaluationJson]:
    """Evaluations of a trace by others, by their start; the first 1,000. `stages` are those of the trace."""
    by_span = {span_id: stage.stage_id for stage in stages for span_id in stage.wrapped_span_ids}
    by_span |= {stage.span_id: stage.stage_id for stage in stages if stage.span_id and not stage.derived}
    by_response = {
        said: stage.stage_id
        for stage in stages
        if isinstance(said := stage.attributes.get("response_id"), str) and stage.stage_type != "evaluation"
    }
    return [
        EvaluationJson(
            stage_id=by_span.get(found.linked_span_id or "") or by_response.get(found.response_id or ""),
            linked_span_id=found.linked_span_id,
            response_id=found.response_id,
            by_trace_id=found.stage.trace_id,
            by_stage_id=found.stage.stage_id,
            by_run_id=found.stage.run_id,
            name=found.stage.stage_name,
            status=found.stage.status,
            started_at=iso(found.stage.started_ns),
            metrics=found.stage.metrics,
            evaluations=found.stage.attributes.get("evaluations") or (),
        )
        for found in store.evaluations(trace_id, list(by_response), _MOST)
    ]
