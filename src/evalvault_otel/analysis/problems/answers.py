"""What was found and answered: empty, repeated and invented documents, failed checks, scores beyond thresholds."""

from collections.abc import Collection, Iterable
from typing import Final

from ...store.symptoms import Check, Symptom
from ..failing import score_text
from ..figures import count, share
from ..report_model import Example, FailingMetric, Problem, RetrievalPart
from ..texts import quoted
from .drafts import Draft, impact

# Kind, headline and advice by what is odd.
_RETRIEVALS: Final = {
    "empty": (
        "empty_retrieval",
        "`retrieval` found nothing in {n} of {of}.",
        "Read the queries: is what they ask for in the index, or do filters or rewriting lose it?",
    ),
    "duplicates": (
        "duplicates",
        "`retrieval` returned a document twice in {n} of {of}.",
        "Each copy takes the place of another document: remove them from the index. Chunks need ids of their own.",
    ),
}
_CHECKS: Final = {
    "empty_answer": (
        "{type} gave an empty answer in {n} of {of}.",
        "Open an example: did the model stop at once (finish reason, token limit, filter), or was the text lost later?",
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
    for shows, n in (("empty", found.empty), ("duplicates", found.with_duplicates)):
        if n:
            yield _retrieved(found, shows, n)
    if found.citing_others:
        yield Draft(
            Problem(
                kind="citation",
                subject="output",
                headline=f"`output` cites documents that were never retrieved in {found.citing_others:,} of "
                f"{count(found.citing, 'answer')} with citations.",
                advice="The citation is made up, or the document came from a stage that does not record its ids.",
                impact=impact("citation", share(found.citing_others, found.citing)),
                examples=_shown(found, "citation"),
            ),
            Symptom("output", "citation"),
        )


def _retrieved(found: RetrievalPart, shows: str, n: int) -> Draft:
    kind, headline, advice = _RETRIEVALS[shows]
    said = headline.format(n=f"{n:,}", of=count(found.count, "call"))
    harmed = impact(kind, share(n, found.count))
    return Draft(Problem(kind, "retrieval", said, advice, harmed, _shown(found, shows)), Symptom("retrieval", shows))


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
