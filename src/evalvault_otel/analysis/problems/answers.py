"""What was found and answered: empty, repeated and invented documents, checks that said no, scores beyond a threshold."""

from collections.abc import Collection, Iterable
from typing import Final

from ...store.symptoms import Check, Symptom
from ..failing import score_text
from ..figures import count, share
from ..report_model import Example, FailingMetric, Problem, RetrievalPart
from ..texts import quoted
from .drafts import Draft, impact

_CHECKS: Final = {
    "empty_answer": (
        "{type} gave an empty answer in {n} of {of}.",
        "Open an example: did the model stop at once (finish reason, token limit, filter), or was the text lost after it?",
    ),
    "blocked": (
        "{type} blocked something in {n} of {of}.",
        "Read the violations of the examples: is the rule right, and right for these requests?",
    ),
    "invalid": (
        "{type} rejected something in {n} of {of}.",
        "Compare a rejected answer with the schema or rule it was held to.",
    ),
}


def retrieval(found: RetrievalPart) -> Iterable[Draft]:
    """Retrievals that found nothing, or one thing twice, and citations of what nobody retrieved."""
    calls = count(found.count, "call")
    if found.empty:
        yield _retrieved(
            "empty_retrieval",
            f"`retrieval` found nothing in {found.empty:,} of {calls}.",
            "Read the queries: is what they ask for in the index, or do filters or rewriting lose it?",
            share(found.empty, found.count),
            _shown(found, "empty"),
            "empty",
        )
    if found.with_duplicates:
        yield _retrieved(
            "duplicates",
            f"`retrieval` returned a document twice in {found.with_duplicates:,} of {calls}.",
            "Each copy takes the place of another document: remove duplicates from the index, or before ranking. Where "
            "these are chunks of one document, give each chunk an id of its own.",
            share(found.with_duplicates, found.count),
            _shown(found, "duplicates"),
            "duplicates",
        )
    if found.citing_others:
        yield Draft(
            Problem(
                kind="citation",
                subject="output",
                headline=f"`output` cites documents that were never retrieved in {found.citing_others:,} of "
                f"{count(found.citing, 'answer')} with citations.",
                advice="Either the citation is made up, or the document came from a stage that does not record its ids.",
                impact=impact("citation", share(found.citing_others, found.citing)),
                examples=_shown(found, "citation"),
            ),
            Symptom("output", "citation"),
        )


def _retrieved(kind: str, headline: str, advice: str, harmed: float, shown: list[Example], shows: str) -> Draft:
    found = Problem(kind, "retrieval", headline, advice, impact(kind, harmed), shown)
    return Draft(found, Symptom("retrieval", shows))


def _shown(found: RetrievalPart, problem: str) -> list[Example]:
    return [odd.example for odd in found.examples if odd.problem == problem]


def checks(found: Iterable[Check]) -> Iterable[Draft]:
    """Empty answers, and what a safety check blocked or a validation rejected."""
    for check in found:
        headline, advice = _CHECKS[check.problem]
        shown = [Example(p.trace_id, p.span_id, p.stage_id, p.stage_name or "") for p in check.examples]
        said = headline.format(type=quoted(check.stage_type), n=f"{check.traces:,}", of=count(check.of, "trace"))
        harmed = impact(check.problem, share(check.traces, check.of))
        yield Draft(
            Problem(check.problem, check.stage_type, said, advice, harmed, shown),
            Symptom(check.stage_type, check.problem),
        )


def failing(metrics: Iterable[FailingMetric], told: Collection[str]) -> Iterable[Draft]:
    """Metrics beyond their thresholds, but for those that another finding has told of."""
    for metric in metrics:
        if metric.metric_name in told or _never_recorded(metric):
            continue
        side = "above" if metric.comparison == "max" else "below"
        bound = score_text(metric.metric_name, metric.threshold)
        worst = f" (worst {metric.examples[0].note})" if metric.examples else ""
        yield Draft(
            Problem(
                kind="metric",
                subject=metric.metric_name,
                headline=f"{quoted(metric.metric_name)} is {side} {bound} in {metric.failed:,} of "
                f"{count(metric.count, 'stage')}{worst}.",
                advice="What to do about it is under Recommendations.",
                impact=impact("metric", min(metric.distance, 1.0) * share(metric.failed, metric.count)),
                examples=metric.examples,
            )
        )


def _never_recorded(metric: FailingMetric) -> bool:
    """An application that never cites does not record citations; that is a choice and no fault."""
    return metric.metric_name == "output.citation_count" and metric.avg == 0 and metric.failed == metric.count
