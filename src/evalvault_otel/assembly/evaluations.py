"""What evaluators said of stages: events `gen_ai.evaluation.result` as scores of the stage that they belong to."""

from collections.abc import Iterable, Mapping, Sequence

from ..conventions.genai_events import EVALUATION, Evaluation, evaluation
from ..conventions.openinference import EVALUATIONS
from ..model import SpanEvent
from .metric_values import BadValueError, number
from .metrics import StageMetrics
from .nodes import Node


def by_stage(nodes: Iterable[Node]) -> Mapping[str, Sequence[Evaluation]]:
    """Evaluations by the id of the stage whose span, or a span within it, recorded them; in the order of time."""
    found: dict[str, list[Evaluation]] = {}
    for node in nodes:
        if "_evaluated" in node.reading.fields and node.owner is not None:
            found.setdefault(node.owner.stage_id, []).extend(_listed(node))
        for event in node.span.events:
            said = evaluation(event)
            if said is not None and node.owner is not None:
                found.setdefault(node.owner.stage_id, []).append(said)
    for evaluations in found.values():
        # Stable: evaluations of one instant keep the order of spans and of events within a span.
        evaluations.sort(key=lambda item: item.time_ns)
    return found


def _listed(node: Node) -> list[Evaluation]:
    """Evaluations that stand in attributes; they are as old as the span. What both lists say counts once."""
    listed: list[Evaluation] = []
    for item in (item for name in _IN_ORDER for item in node.reading.fields.get(name, ())):
        said = {key.removeprefix("evaluation.").removeprefix("annotation."): value for key, value in item.items()}
        named = {f"{_PREFIX}{key}": value for key, value in said.items() if key in {"name", "explanation"}}
        scored = {f"{_PREFIX}score.value": said.get("score"), f"{_PREFIX}score.label": said.get("label")}
        found = evaluation(SpanEvent(node.span.end_ns, EVALUATION, named | scored))
        if found is not None and found not in listed:
            listed.append(found)
    return listed


_PREFIX = "gen_ai.evaluation."
_IN_ORDER = tuple(EVALUATIONS.values())


def evaluation_scores(stage_type: str, evaluations: Iterable[Evaluation]) -> StageMetrics:
    """Scores as metrics `{stage type}.{evaluation name}`; of several with one name the latest counts."""
    scores: dict[str, float] = {}
    bad: list[str] = []
    for said in evaluations:
        if said.score is None:
            continue
        try:
            scores[f"{stage_type}.{said.name}"] = number(said.score, f"evaluation {said.name}")
        except BadValueError as exc:
            bad.append(f"{stage_type}: {exc}")
    return StageMetrics(scores, tuple(bad))
