"""`runs` and `trace`: what is there, and one trace with its stages."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ..analysis.bottlenecks import in_tree_order
from ..analysis.evaluations import EvaluationJson, evaluations_of
from ..analysis.figures import duration, iso
from ..analysis.finding_meanings import meaning_of
from ..analysis.stage_json import stage_json
from ..analysis.why import Why, explain
from ..assembly import AssemblyOptions
from ..conventions.rules_file import conventions_of
from ..errors import NotFound
from ..model import AssetUse, Finding, StageEvent
from ..store.records import RunFilter
from .options import AsJson, Db, Limit, Rules, RunFallback, RunFromSession, mapping_settings, reading_store
from .output import print_json, print_table


def runs(
    db: Db = None,
    service: Annotated[str | None, typer.Option(help="Only runs of this service.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only runs of this kind: online, offline, canary, …")] = None,
    q: Annotated[str | None, typer.Option(help="Only runs whose id, name or dataset contains this.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the latest first.

    Example: `evalvault-otel runs --kind offline`
    """
    store = reading_store(db)
    page = store.runs(RunFilter(service=service, kind=kind, q=q), limit)
    if not page.items:
        raise NotFound("no run found: send traces to `evalvault-otel serve`, or try `evalvault-otel demo`")
    if as_json:
        print_json(page.items)
        return
    columns = ("RUN", "KIND", "SERVICE", "LAST TRACE", "TRACES", "FAILED", "STAGES", "ERRORS")
    lines = (
        (run.run_id, run.kind, run.service, iso(run.last_ns), run.traces, run.failed_traces, run.stages, run.errors)
        for run in page.items
    )
    print_table(columns, lines, numbers=columns[4:])
    if page.next_cursor:
        typer.echo(f"… {page.total - len(page.items)} more: use --limit" if page.total > 0 else "… more: use --limit")


def trace(
    trace_id: Annotated[str, typer.Argument(help="32 hex digits.")],
    db: Db = None,
    why: Annotated[bool, typer.Option("--why", help="Show what made each span the stage that it is.")] = False,
    rules: Rules = None,
    run_from_session: RunFromSession = None,
    run_fallback: RunFallback = None,
    as_json: AsJson = False,
) -> None:
    """Show a trace: its stages as a tree, the assets they used, and what to know about it.

    Example: `evalvault-otel trace 4bf92f3577b34da6a3ce929d0e0e4736 --why`
    """
    store = reading_store(db)
    trace_id = trace_id.strip().lower()
    found = store.trace(trace_id)
    stages, uses, findings = store.trace_stages(trace_id), store.asset_uses(trace_id), store.findings(trace_id)
    evaluations = evaluations_of(store, trace_id, stages)
    reasons = []
    if why:
        settings = mapping_settings(db, rules, run_from_session, run_fallback)
        chosen = conventions_of(settings.rules), AssemblyOptions.of(settings)
        reasons = explain(stages, store.spans(trace_id), store.logs(trace_id), *chosen)
    if as_json:
        shown = {"trace": found, "stages": list(map(stage_json, stages)), "assets": uses, "findings": findings}
        shown |= {"links": store.links(trace_id), "evaluations": evaluations}
        print_json({**shown, "why": reasons} if why else shown)
        return
    typer.echo(f"trace {trace_id}  run {found.run_id or '-'}  {found.span_count} spans  from {iso(found.first_ns)}")
    if not found.assembled:
        typer.echo("not assembled yet: its root span has not arrived, or it came just now")
    columns = ("STAGE", "NAME", "STATUS", "DURATION", "SELF", "SPAN", *(("WHY",) if why else ()), "ASSETS")
    print_table(columns, _stage_lines(stages, uses, why=why), numbers=("DURATION", "SELF"))
    for link in store.links(trace_id):
        typer.echo(
            f"{link.link_type} {link.linked_trace_id} {link.linked_span_id}, said by stage {link.stage_id or '-'}"
        )
    for evaluation in evaluations:
        _say_evaluation(evaluation)
    for finding in findings:
        _say_finding(finding)
    for reason in reasons:
        _say_why(reason)


def _say_evaluation(said: EvaluationJson) -> None:
    scores = ", ".join(f"{name} = {score:g}" for name, score in sorted(said.metrics.items()))
    typer.echo(f"evaluated by trace {said.by_trace_id}: stage {said.stage_id or '-'}: {scores or said.status}")


def _say_finding(finding: Finding) -> None:
    unknown, fix = meaning_of(finding.code)
    typer.echo(f"{finding.severity}: {finding.detail}  [{finding.code}]")
    if unknown:
        typer.echo(f"  not known: {unknown}")
    if fix:
        typer.echo(f"  fix: {fix}")


def _say_why(reason: Why) -> None:
    typer.echo(f"why {reason.stage_type} {reason.stage_id}")
    decided = f": {reason.attribute} = {reason.value}" if reason.value is not None else ""
    typer.echo(f"  type: {reason.type_source}{decided}")
    typer.echo(f"  run: {reason.run_id}" + (f", from {reason.run_source}" if reason.run_source else ""))
    if reason.wrapped_span_ids:
        typer.echo(f"  wraps: {', '.join(reason.wrapped_span_ids)}")
    for conflict in reason.conflicts:
        typer.echo(f"  conflict: {conflict}")


def _stage_lines(stages: list[StageEvent], uses: list[AssetUse], *, why: bool) -> Iterator[tuple[object, ...]]:
    by_stage: dict[str, list[str]] = {}
    for use in uses:
        by_stage.setdefault(use.stage_id, []).append(_asset(use))
    for stage, depth in in_tree_order(stages):
        yield (
            "  " * depth + stage.stage_type,
            stage.stage_name,
            stage.status if stage.error_message is None else f"{stage.status}: {stage.error_message.splitlines()[0]}",
            _ms(stage.duration_ms),
            _ms(stage.self_ms),
            stage.span_id,
            *((stage.type_source,) if why else ()),
            ", ".join(by_stage.get(stage.stage_id, ())),
        )


def _asset(use: AssetUse) -> str:
    version = f" (v{use.version})" if use.version else ""
    return f"{use.kind} {use.name}{' (fallback)' if use.fallback else version}"


def _ms(value: float | None) -> Any:
    return None if value is None else duration(value)
