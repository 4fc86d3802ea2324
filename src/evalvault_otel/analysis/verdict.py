"""What matters in a run, as sentences, ranked by impact.

Impact is the part of the run that was harmed (of its traces, its waiting time, or its scores), times a weight that says
how bad that harm is: an answer that failed is lost, one without documents nearly so, a low score may still be right.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .failing import score_text
from .figures import count, duration, percent, rounded, share
from .report_model import (
    AssetChange,
    Bottleneck,
    ErrorPart,
    EvidencePart,
    Example,
    FailingMetric,
    MovedMetric,
    Problem,
    RetrievalPart,
    RunPart,
)
from .summary import Missing

_WEIGHT: Final = {
    "error": 1.0,
    "empty_retrieval": 0.8,
    "asset_change": 0.8,
    "citation": 0.7,
    "slow": 0.7,
    "metric": 0.5,
    "missing_stage": 0.3,
    "evidence_lost": 0.1,
}
_SEVERE: Final = frozenset({"warning", "error"})
# A stage that takes at least this part of the path is where a speed-up would show.
_DOMINATES: Final = 0.5
# Exceptions that cost less than this part of the time are in the table of bottlenecks, not among the findings.
_NOTICED: Final = 0.01
# A stage that is slow as a rule harms less than one that is slow against the rule.
_USUAL: Final = 0.02
# A change that moved nothing for the worse is still worth a line.
_HARMLESS: Final = 0.01
_LONGEST_MESSAGE: Final = 120


@dataclass(frozen=True, slots=True)
class Facts:
    """What the verdict is made from."""

    run: RunPart
    errors: Sequence[ErrorPart]
    bottlenecks: Sequence[Bottleneck]
    failing: Sequence[FailingMetric]
    retrieval: RetrievalPart
    changes: Sequence[AssetChange]
    path_shares: Mapping[str, float]
    missing: Sequence[Missing]
    evidence: Sequence[EvidencePart]


def problems(facts: Facts) -> list[Problem]:
    """Everything worth a sentence, the dearest first."""
    found = [
        *_errors(facts),
        *_empty(facts.retrieval),
        *_citations(facts.retrieval),
        *_changes(facts),
        *_slow(facts.bottlenecks),
        *_failing(facts),
        *_missing(facts.missing),
        *_evidence(facts),
    ]
    return sorted(found, key=lambda problem: (-problem.impact, problem.kind, problem.subject))


def verdict(run: RunPart, found: Sequence[Problem]) -> str:
    """The run in a sentence that a tired engineer understands."""
    failed = f"{run.failed_traces:,} with errors" if run.failed_traces else "none with errors"
    head = f"{count(run.traces, 'trace')}, {failed}."
    if not found:
        return f"{head} Nothing stands out."
    more = len(found) - 1
    also = f" {count(more, 'more finding')} below." if more else ""
    return f"{head} Look at this first: {found[0].headline}{also}"


def _impact(kind: str, harmed: float) -> float:
    return rounded(min(harmed, 1.0) * _WEIGHT[kind])


def _quoted(name: str) -> str:
    """A name in backticks, which render as code; its own backticks would end it."""
    return "`" + name.replace("`", "'") + "`"


def _first_line(message: str | None) -> str:
    line = (message or "").strip().partition("\n")[0].rstrip(".").replace("`", "'")
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 3] + "..."


def _errors(facts: Facts) -> Iterable[Problem]:
    for group in facts.errors:
        if group.count > group.propagated:
            said = f": {_first_line(group.message)}" if group.message else ""
            yield Problem(
                kind="error",
                subject=group.stage_type,
                headline=f"{_quoted(group.stage_type)} failed in {group.traces:,} of "
                f"{count(facts.run.traces, 'trace')} with {_first_line(group.error_type) or 'an error'}{said}.",
                advice="Open the examples: the exception event of the span has the stack trace.",
                impact=_impact("error", share(group.traces, facts.run.traces)),
                examples=group.examples,
            )


def _empty(retrieval: RetrievalPart) -> Iterable[Problem]:
    if retrieval.empty:
        yield Problem(
            kind="empty_retrieval",
            subject="retrieval",
            headline=f"`retrieval` found nothing in {retrieval.empty:,} of {count(retrieval.count, 'call')}.",
            advice="Read the queries: is what they ask for in the index, or do filters or rewriting lose it?",
            impact=_impact("empty_retrieval", share(retrieval.empty, retrieval.count)),
            examples=[odd.example for odd in retrieval.examples if odd.problem == "empty"],
        )


def _citations(retrieval: RetrievalPart) -> Iterable[Problem]:
    if retrieval.citing_others:
        yield Problem(
            kind="citation",
            subject="output",
            headline=f"`output` cites documents that were never retrieved in {retrieval.citing_others:,} of "
            f"{count(retrieval.citing, 'answer')} with citations.",
            advice="Either the citation is made up, or the document came from a stage that does not record its ids.",
            impact=_impact("citation", share(retrieval.citing_others, retrieval.citing)),
            examples=[odd.example for odd in retrieval.examples if odd.problem == "citation"],
        )


def _changes(facts: Facts) -> Iterable[Problem]:
    for change in facts.changes:
        moved = sorted(change.moved, key=lambda metric: -_harm(metric, facts.path_shares))
        harm = max((_harm(metric, facts.path_shares) for metric in moved), default=0.0) or _HARMLESS
        yield Problem(
            kind="asset_change",
            subject=f"{change.kind} {change.name}",
            headline=f"The {change.kind} {_quoted(change.name)} {_transition(change)}: {_movement(moved)}.",
            advice="Compare a trace of each version; if the change was not meant, go back to the old version.",
            impact=_impact("asset_change", harm * share(change.traces_after, facts.run.traces)),
            examples=change.examples,
        )


def _harm(metric: MovedMetric, path_shares: Mapping[str, float]) -> float:
    """How much worse a metric became, at most 1. A slower stage harms as far as traces wait for it."""
    if metric.verdict != "worse":
        return 0.0
    harm = min(abs(metric.relative_change), 1.0) if metric.relative_change is not None else 1.0
    stage_type, _, name = metric.metric_name.rpartition(".")
    return harm * path_shares.get(stage_type, 0.0) if name == "latency_ms" else harm


def _transition(change: AssetChange) -> str:
    before, after = (_first_line(version) for version in (change.before, change.after))
    if change.pattern == "switch":
        return f"changed from {change.by} {before} to {change.by} {after} during the run"
    return f"was used in {change.by} {before} and {change.by} {after} side by side"


def _movement(moved: Sequence[MovedMetric]) -> str:
    if not moved:
        return "no metric moved clearly with it"
    return ", ".join(_moved_text(metric) for metric in moved[:2])


def _moved_text(metric: MovedMetric) -> str:
    way = "rose" if metric.after > metric.before else "fell"
    before, after = (score_text(metric.metric_name, value) for value in (metric.before, metric.after))
    return f"{_quoted(metric.metric_name)} {way} from {before} to {after} ({metric.verdict})"


def _slow(found: Iterable[Bottleneck]) -> Iterable[Problem]:
    for stage in found:
        if stage.slow_share >= _NOTICED:
            yield _sometimes_slow(stage)
        elif stage.critical_path_share >= _DOMINATES:
            yield _dominating(stage)


def _sometimes_slow(stage: Bottleneck) -> Problem:
    return Problem(
        kind="slow",
        subject=stage.stage_type,
        headline=f"{_quoted(stage.stage_type)} is sometimes slow: {stage.slow_count:,} of {stage.count:,} took more "
        f"than three times the usual {duration(stage.typical_self_ms)}, in all {duration(stage.slow_excess_ms)} longer "
        f"({percent(stage.slow_share)} of all time spent).",
        advice="Compare a slow span with a usual one: a cold cache, a retry, a shared resource, a larger input?",
        impact=_impact("slow", stage.slow_share),
        examples=stage.examples,
    )


def _dominating(stage: Bottleneck) -> Problem:
    return Problem(
        kind="slow",
        subject=stage.stage_type,
        headline=f"{_quoted(stage.stage_type)} takes {percent(stage.critical_path_share)} of the time that traces wait "
        f"(median {duration(stage.p50_ms)}, p95 {duration(stage.p95_ms)}).",
        advice="Nothing else can win more time.",
        impact=_impact("slow", stage.critical_path_share * _USUAL),
        examples=stage.examples,
    )


def _failing(facts: Facts) -> Iterable[Problem]:
    for metric in facts.failing:
        # Said already, with the queries.
        if metric.metric_name == "retrieval.result_count" and facts.retrieval.empty:
            continue
        side = "above" if metric.comparison == "max" else "below"
        bound = score_text(metric.metric_name, metric.threshold)
        worst = f" (worst {metric.examples[0].note})" if metric.examples else ""
        yield Problem(
            kind="metric",
            subject=metric.metric_name,
            headline=f"{_quoted(metric.metric_name)} is {side} {bound} in {metric.failed:,} of "
            f"{count(metric.count, 'stage')}{worst}.",
            advice="What to do about it is under Recommendations.",
            impact=_impact("metric", min(metric.distance, 1.0) * share(metric.failed, metric.count)),
            examples=metric.examples,
        )


def _missing(missing: Iterable[Missing]) -> Iterable[Problem]:
    for item in missing:
        yield Problem(
            kind="missing_stage",
            subject=item.stage_type,
            headline=f"{item.traces:,} of {count(item.of, 'trace')} lack the stage {_quoted(item.stage_type)}.",
            advice="The application skipped it, or its span is not sent or not recognised: look at a trace without it.",
            impact=_impact("missing_stage", share(item.traces, item.of)),
            examples=[Example(item.trace_id, None, "")] if item.trace_id else [],
        )


def _evidence(facts: Facts) -> Iterable[Problem]:
    for item in facts.evidence:
        if item.severity in _SEVERE:
            yield Problem(
                kind="evidence_lost",
                subject=item.code,
                headline=f"{count(item.traces, 'trace')} with doubtful evidence ({_quoted(item.code)}): "
                f"{_first_line(item.detail)}.",
                advice=item.fix or "Until this is settled, figures of these traces may be wrong.",
                impact=_impact("evidence_lost", share(item.traces, facts.run.traces)),
                examples=item.examples,
            )
