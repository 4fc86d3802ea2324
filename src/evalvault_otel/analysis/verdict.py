"""What matters in a run, as sentences, ranked by impact.

Impact is the part of the run that was harmed (of its traces, its waiting time, or its scores), times a weight that says
how bad that harm is (`problems/drafts.py`). What is harmed so little that a healthy run looks the same is listed, but
it does not stand out (ADR 0027).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..store.symptoms import Segment, Symptom
from .figures import count
from .problems import answers, changes, evidence, failures, times
from .problems.drafts import Draft
from .report_model import (
    AssetChange,
    Bottleneck,
    ErrorPart,
    EvidencePart,
    FailingMetric,
    Problem,
    RetrievalPart,
    RunPart,
)
from .segments import home, named, told
from .summary import Missing
from .symptoms import Symptoms

# The least impact that stands out. Failures and what cannot be known stand out always; times and scores scatter.
_STANDS_OUT: Final = {"slow": 0.05, "metric": 0.1, "asset_change": 0.02}
# Of the gravest problems it is asked where they are at home.
_MOST_LOCATED: Final = 3
# Fewer traces than this show gross failures only.
_FEW_TRACES: Final = 8


@dataclass(frozen=True, slots=True)
class Facts:
    """What the verdict is made from. `span_ns` is the first and last moment of the run in nanoseconds.

    `segments` answers where a symptom is at home.
    """

    run: RunPart
    span_ns: tuple[int, int]
    errors: Sequence[ErrorPart]
    bottlenecks: Sequence[Bottleneck]
    failing: Sequence[FailingMetric]
    retrieval: RetrievalPart
    changes: Sequence[AssetChange]
    path_shares: dict[str, float]
    missing: Sequence[Missing]
    evidence: Sequence[EvidencePart]
    symptoms: Symptoms
    segments: Callable[[Symptom], list[Segment]]


def problems(facts: Facts) -> list[Problem]:
    """Everything worth a sentence, the dearest first; the gravest say where they are at home."""
    ranked = sorted(_drafts(facts), key=lambda d: (-d.problem.impact, d.problem.kind, d.problem.subject))
    asked = [draft for draft in ranked if draft.symptom][:_MOST_LOCATED]
    return [_located(draft, facts.segments) if draft in asked else draft.problem for draft in ranked]


def _drafts(facts: Facts) -> list[Draft]:
    moved = {metric.metric_name for change in facts.changes for metric in change.moved}
    drifts = [drift for drift in facts.symptoms.drifts if drift.metric_name not in moved]
    slower = {drift.stage_type for drift in drifts if drift.name == "latency_ms"}
    told_of = {drift.metric_name for drift in drifts} | _follows(facts)
    return [
        *failures.errors(facts.errors, facts.run, facts.symptoms.repeats),
        *failures.repeated(facts.symptoms.repeats, facts.run),
        *failures.missing(facts.missing, facts.run),
        *failures.late(facts.symptoms.late_children),
        *answers.retrieval(facts.retrieval),
        *answers.checks(facts.symptoms.checks),
        *answers.failing(facts.failing, told_of),
        *changes.changed(facts.changes, facts.path_shares, facts.run),
        *times.slow(facts.bottlenecks, slower),
        *times.drifting(drifts, facts.path_shares, facts.span_ns),
        *evidence.lost(facts.evidence, facts.run),
    ]


def _follows(facts: Facts) -> set[str]:
    """Metrics beyond a threshold because of what another finding says better."""
    late = {f"{stage.stage_type}.latency_ms" for stage in facts.bottlenecks if times.is_sometimes_slow(stage)}
    failed = {f"{group.stage_type}.latency_ms" for group in facts.errors}
    uncited = {m.metric_name for m in facts.failing if m.failed <= facts.retrieval.empty} & {"output.citation_count"}
    empty = {"retrieval.result_count"} if facts.retrieval.empty else set()
    return late | failed | uncited | empty


def _located(draft: Draft, segments: Callable[[Symptom], list[Segment]]) -> Problem:
    """The problem, with the place in its headline if there is one."""
    found = home(segments(draft.symptom)) if draft.symptom else None
    if found is None:
        return draft.problem
    where = f"since then {named(found)}" if draft.problem.kind == "drift" else told(found)
    return replace(draft.problem, headline=f"{draft.problem.headline.removesuffix('.')} \N{EN DASH} {where}.")


def verdict(run: RunPart, found: Sequence[Problem]) -> str:
    """The run in a sentence that a tired engineer understands."""
    failed = f"{run.failed_traces:,} with errors" if run.failed_traces else "none with errors"
    head = f"{count(run.traces, 'trace')}, {failed}."
    if found and stands_out(found[0]):
        more = len(found) - 1
        also = f" {count(more, 'more finding')} below." if more else ""
        return f"{head} Look at this first: {found[0].headline}{also}"
    few = " So few traces show gross failures only." if run.traces < _FEW_TRACES else ""
    notes = f" {count(len(found), 'minor finding')} below." if found else ""
    return f"{head} Nothing stands out in {count(run.stages, 'stage')}.{few}{notes}"


def stands_out(problem: Problem) -> bool:
    """Whether a problem is more than what healthy runs show as well."""
    return problem.impact >= _STANDS_OUT.get(problem.kind, 0.0)
