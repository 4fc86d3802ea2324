"""The debug report of a run: a handful of aggregate queries, put together without further thought.

The same data gives the same report, byte for byte: no clock, no order of arrival, figures rounded to the digits that
every database agrees on.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ..store.reads import Queries
from ..store.records import ErrorGroup, FindingCode, OddRetrieval, Place, Run
from .asset_changes import assets
from .bottlenecks import bottlenecks, slowest_traces
from .completeness import DEFAULT_EXPECTED, Expected
from .failing import failing_metrics, recommendations
from .figures import iso, rounded, share
from .finding_meanings import meaning_of
from .playbook import Playbook, load_playbook
from .report_model import (
    AssetsPart,
    DebugReport,
    ErrorPart,
    EvidencePart,
    Example,
    OddRetrievalPart,
    RetrievalPart,
    RunPart,
    SlowTracePart,
)
from .summary import REQUIRED_TYPES, Summary, path_shares, summary_of
from .symptoms import symptoms
from .thresholds import Limits, load_limits
from .verdict import Facts, problems, verdict

_MOST_ERROR_GROUPS: Final = 20


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a report is judged by, and how many examples it shows of each thing."""

    limits: Limits = field(default_factory=load_limits)
    playbook: Playbook = field(default_factory=load_playbook)
    required: Sequence[str] = REQUIRED_TYPES
    examples: int = 3
    expected: Expected = field(default_factory=lambda: DEFAULT_EXPECTED)


def debug_report(store: Queries, run_id: str, options: ReportOptions | None = None) -> DebugReport:
    """The report of a run.

    Raises:
        NotFound: there is no such run.
    """
    options = options or ReportOptions()
    known = store.run(run_id)
    run = _run(known)
    n = options.examples
    # The parts are independent of each other: two at a time halve the wait for a database that has two cores.
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="report") as pool:
        types = pool.submit(store.stage_types, run_id)
        failing = pool.submit(failing_metrics, store, run_id, options.limits, n)
        used = pool.submit(assets, store, run_id, options.expected)
        missing = pool.submit(store.missing_types, run_id, options.required)
        slow = pool.submit(bottlenecks, store, run_id, types.result(), n)
        retrieval = pool.submit(_retrieval, store, run_id, n)
        errors = pool.submit(store.error_groups, run_id, _MOST_ERROR_GROUPS, n)
        findings = pool.submit(store.finding_codes, run_id, n)
        slowest = pool.submit(slowest_traces, store, run_id, n)
        shown = pool.submit(symptoms, store, known, n)
    summary = summary_of(run_id, types.result(), missing.result())
    facts = Facts(
        run=run,
        span_ns=(known.first_ns, known.last_ns),
        errors=[_error(group) for group in errors.result()],
        bottlenecks=slow.result(),
        failing=failing.result(),
        retrieval=retrieval.result(),
        changes=used.result().changes,
        path_shares=path_shares(types.result()),
        missing=summary.missing,
        evidence=[_evidence(code) for code in findings.result()],
        symptoms=shown.result(),
        segments=partial(store.segments, run_id),
    )
    return _assembled(facts, summary, slowest.result(), used.result(), options.playbook)


def _assembled(
    facts: Facts, summary: Summary, slowest: list[SlowTracePart], used: AssetsPart, playbook: Playbook
) -> DebugReport:
    found = problems(facts)
    return DebugReport(
        run=facts.run,
        verdict=verdict(facts.run, found),
        findings=found,
        summary=summary,
        bottlenecks=list(facts.bottlenecks),
        slowest_traces=slowest,
        errors=list(facts.errors),
        failing_metrics=list(facts.failing),
        retrieval=facts.retrieval,
        assets=used,
        evidence=list(facts.evidence),
        recommendations=recommendations(facts.failing, playbook),
    )


def _run(run: Run) -> RunPart:
    return RunPart(
        run_id=run.run_id,
        name=run.name,
        kind=run.kind,
        dataset=run.dataset,
        dataset_version=run.dataset_version,
        service=run.service,
        services=run.services,
        started_at=iso(run.first_ns),
        finished_at=iso(run.last_ns),
        traces=run.traces,
        failed_traces=run.failed_traces,
        stages=run.stages,
        errors=run.errors,
        error_rate=share(run.errors, run.stages),
        tokens_in=run.tokens_in,
        tokens_out=run.tokens_out,
        cost_total=rounded(run.cost_total),
    )


def _error(group: ErrorGroup) -> ErrorPart:
    return ErrorPart(
        stage_type=group.stage_type,
        error_type=group.error_type,
        message=group.message,
        fingerprint=group.fingerprint,
        count=group.count,
        propagated=group.propagated,
        traces=group.traces,
        first_seen=iso(group.first_ns),
        last_seen=iso(group.last_ns),
        examples=_examples(group.examples),
    )


def _retrieval(store: Queries, run_id: str, examples: int) -> RetrievalPart:
    health = store.retrieval_health(run_id, examples)
    shown = [OddRetrievalPart(item.problem, _odd_example(item)) for item in health.odd]
    return RetrievalPart(
        count=health.count,
        empty=health.empty,
        with_duplicates=health.with_duplicates,
        out_of_order=health.out_of_order,
        citing=health.citing,
        citing_others=health.citing_others,
        examples=shown,
    )


def _odd_example(item: OddRetrieval) -> Example:
    return Example(item.place.trace_id, item.place.span_id, item.place.stage_id, item.query or "")


def _evidence(code: FindingCode) -> EvidencePart:
    shown, (unknown, fix) = _examples(code.examples), meaning_of(code.code)
    return EvidencePart(code.code, code.severity, code.count, code.traces, code.detail, shown, unknown, fix)


def _examples(places: Iterable[Place]) -> list[Example]:
    return [Example(place.trace_id, place.span_id, place.stage_id, place.stage_name or "") for place in places]
