"""`stage`: EvalVault's commands over the stages of a run. What files bring in is in `stage_ingest`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..analysis.failing import failing_metrics, recommendations
from ..analysis.figures import count, duration, number, percent
from ..analysis.metrics import MetricAggregate
from ..analysis.playbook import load_playbook
from ..analysis.report_model import Recommendation
from ..analysis.stage_json import stage_json
from ..analysis.summary import Summary, summarize
from ..analysis.thresholds import Limits, limits_of
from ..analysis.trial import aggregates
from ..errors import InvalidInput, NotFound
from ..settings import load
from ..store import Store
from ..store.records import StageFilter
from .options import AsJson, Db, Limit, reading_store
from .output import print_json, print_table
from .stage_ingest import ingest, judge

if TYPE_CHECKING:
    from ..analysis.relevance import Relevance

app = typer.Typer(name="stage", help="Stages of a run: EvalVault's commands.", no_args_is_help=True)
app.command("ingest")(ingest)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run id, as `evalvault-otel runs` shows it.")]
RelevanceFile = Annotated[
    Path | None,
    typer.Option("--relevance-json", help='Relevant documents by test case: {"case-1": ["doc-1", "doc-7"]}.'),
]
ThresholdsFile = Annotated[Path | None, typer.Option("--thresholds-json", help="Thresholds that replace the built-in.")]
Profile = Annotated[
    str | None, typer.Option("--thresholds-profile", help="A profile of thresholds: dev, prod, or yours.")
]
Save = Annotated[
    bool, typer.Option("--save-metrics/--no-save-metrics", help="Store what --relevance-json says, or only show it.")
]
_PAGE = 500


@app.command("list")
def list_(
    run_id: RunId,
    stage_type: Annotated[str | None, typer.Option("--stage-type", "-t", help="Only stages of this type.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="Only stages with this status: error, …")] = None,
    limit: Limit = 200,
    db: Db = None,
    as_json: AsJson = False,
) -> None:
    """List the stages of a run by their start.

    Example: `evalvault-otel stage list nightly-42 --stage-type retrieval --limit 20`
    """
    store = reading_store(db)
    store.run(run_id)
    wanted = StageFilter(stage_type=stage_type, status=status)
    total = store.stages(run_id, wanted, 1).total
    found = list(_stages(store, run_id, wanted, limit))
    if not found:
        raise NotFound(f"no such stage in run {run_id}: `evalvault-otel stage summary {run_id}` shows the types")
    if as_json:
        print_json({"run_id": run_id, "events": [stage_json(stage) for stage in found], "total": total})
        return
    columns = ("STAGE ID", "TYPE", "NAME", "STATUS", "DURATION", "STARTED", "TRACE")
    shown = map(stage_json, found)
    lines = (
        (one.stage_id, one.stage_type, one.stage_name, one.status, _ms(one.duration_ms), one.started_at, one.trace_id)
        for one in shown
    )
    print_table(columns, lines, numbers=("DURATION",))
    typer.echo(f"{len(found):,} of {count(total, 'stage')}")


def _stages(store: Store, run_id: str, wanted: StageFilter, limit: int) -> Iterator[Any]:
    cursor: str | None = None
    while limit > 0:
        page = store.stages(run_id, wanted, min(limit, _PAGE), cursor)
        yield from page.items
        limit -= len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return


@app.command("summary")
def summary(run_id: RunId, db: Db = None, as_json: AsJson = False) -> None:
    """Count, errors and times per stage type, and what is missing.

    Example: `evalvault-otel stage summary nightly-42`
    """
    found = summarize(reading_store(db), run_id, load().required_types)
    if as_json:
        print_json(found)
        return
    _print_summary(found)


@app.command("compute-metrics")
def compute_metrics(
    run_id: RunId,
    relevance_json: RelevanceFile = None,
    thresholds_json: ThresholdsFile = None,
    profile: Profile = None,
    save: Save = True,
    db: Db = None,
    as_json: AsJson = False,
) -> None:
    """The metrics of a run. They are made when stages are; a relevance map adds precision, recall and their like.

    Example: `evalvault-otel stage compute-metrics nightly-42 --relevance-json relevant.json`
    """
    found = _metrics(run_id, relevance_json, limits_of(load(), profile, thresholds_json), save=save, db=db)
    if as_json:
        print_json({"run_id": run_id, "aggregates": found})
        return
    _print_metrics(found)


@app.command("report")
def report(
    run_id: RunId,
    relevance_json: RelevanceFile = None,
    thresholds_json: ThresholdsFile = None,
    profile: Profile = None,
    playbook: Annotated[Path | None, typer.Option("--playbook", help="Actions that replace the built-in.")] = None,
    save: Save = True,
    db: Db = None,
    as_json: AsJson = False,
) -> None:
    """Summary, metrics, and what to do about those that miss their threshold.

    Example: `evalvault-otel stage report nightly-42 --thresholds-profile prod`
    """
    limits, actions = limits_of(load(), profile, thresholds_json), load_playbook(playbook)
    metrics = _metrics(run_id, relevance_json, limits, save=save, db=db)
    store = reading_store(db)
    said = summarize(store, run_id, load().required_types)
    guides = recommendations(failing_metrics(store, run_id, limits, 3), actions)
    if as_json:
        print_json({"run_id": run_id, "summary": said, "metrics": metrics, "recommendations": guides})
        return
    _print_summary(said)
    typer.echo("")
    _print_metrics(metrics)
    typer.echo("")
    _print_guides(guides)


def _metrics(
    run_id: str, relevance_json: Path | None, limits: Limits, *, save: bool, db: str | None
) -> list[MetricAggregate]:
    store = reading_store(db)
    relevance = None if relevance_json is None else _relevance(relevance_json)
    if relevance and save:
        store.run(run_id)
        retrievals, changed = judge(run_id, relevance, db)
        sys.stderr.write(
            f"relevance said for {count(retrievals, 'retrieval')} of this run, {changed:,} of them changed\n"
        )
        if not retrievals:
            sys.stderr.write("no retrieval of the run has one of these test cases: set evalvault.test_case.id\n")
        relevance = None
    return aggregates(store, run_id, limits, relevance)


def _relevance(path: Path) -> "Relevance":
    from ..analysis.relevance import parse_relevance

    try:
        return parse_relevance(path.read_bytes())
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror or exc}") from exc


def _print_summary(found: Summary) -> None:
    columns = ("STAGE", "COUNT", "ERRORS", "RETRIES", "AVG", "P50", "P95", "P99", "MAX", "SELF TIME", "CRITICAL PATH")
    lines = (
        (
            item.stage_type,
            item.count,
            item.errors,
            item.retries,
            *(_ms(ms) for ms in (item.avg_ms, item.p50_ms, item.p95_ms, item.p99_ms, item.max_ms, item.self_ms)),
            percent(item.critical_path_share),
        )
        for item in found.stages
    )
    print_table(columns, lines, numbers=columns[1:])
    for missing in found.missing:
        typer.echo(f"{missing.traces} of {missing.of} traces lack {missing.stage_type}, for example {missing.trace_id}")


def _print_metrics(found: list[MetricAggregate]) -> None:
    columns = ("METRIC", "COUNT", "AVG", "MIN", "MAX", "THRESHOLD", "PASS RATE")
    lines = (
        (
            item.metric_name,
            item.count,
            *map(number, (item.avg, item.min, item.max)),
            None if item.threshold is None else number(item.threshold),
            None if item.pass_rate is None else percent(item.pass_rate),
        )
        for item in found
    )
    print_table(columns, lines, numbers=columns[1:])


def _print_guides(guides: list[Recommendation]) -> None:
    if not guides:
        typer.echo("No metric misses its threshold.")
        return
    columns = ("COMPONENT", "PRIORITY", "METRIC", "AFFECTED", "ACTION", "EFFORT", "EXPECTED")
    lines = (
        (
            guide.component,
            guide.priority,
            guide.metric_name,
            f"{guide.affected} of {guide.of}",
            guide.title,
            guide.effort,
            " to ".join(percent(share) for share in guide.expected_improvement_range),
        )
        for guide in guides
    )
    print_table(columns, lines)


def _ms(value: float | None) -> str | None:
    return None if value is None else duration(value)
