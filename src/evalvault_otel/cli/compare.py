"""`compare`: what is better or worse in one run than in another, and a gate for pipelines."""

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..analysis.compare import compare as compared
from ..analysis.compare_model import Comparison, MetricDifference
from ..analysis.compare_render import moved, to_markdown
from ..analysis.figures import number
from ..analysis.gate import example, load_gate, reasons
from ..analysis.render import to_json
from ..errors import InvalidInput
from ..store.comparing import Part
from .options import Db, reading_store
from .output import print_table, write_or_print
from .times import since_ns

_CLOSED = 1


class Format(StrEnum):
    """How the comparison is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


def _example(asked: bool) -> None:
    if asked:
        typer.echo(example(), nl=False)
        raise typer.Exit


Since = Annotated[str | None, typer.Option(help="Only traces that began then or later: a date, a time, or 7d ago.")]
Until = Annotated[str | None, typer.Option(help="Only traces that began before then.")]


def compare(
    baseline: Annotated[str, typer.Argument(metavar="BASELINE", help="The run to measure against.")],
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="The run in question.")],
    db: Db = None,
    gate: Annotated[
        Path | None, typer.Option("--gate", help="Rules; exit with 1 and the reasons if one is broken.")
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", "-f", help="How to write it: by default a table, into a file Markdown.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    baseline_since: Since = None,
    baseline_until: Until = None,
    candidate_since: Since = None,
    candidate_until: Until = None,
    _: Annotated[
        bool, typer.Option("--gate-example", callback=_example, is_eager=True, help="Print a file for --gate.")
    ] = False,
) -> None:
    """Compare two runs by their stages, metric by metric, with confidence intervals; or a run with itself in time.

    Example: `evalvault-otel compare nightly-41 nightly-42 --gate gate.yaml -f markdown -o comparison.md`
    """
    if form is Format.TABLE and output is not None:
        raise InvalidInput("a table is for terminals: write Markdown or JSON into a file")
    rules = None if gate is None else load_gate(gate)
    parts = _part(baseline, baseline_since, baseline_until), _part(candidate, candidate_since, candidate_until)
    if parts[0] == parts[1]:
        raise InvalidInput("baseline and candidate are the same: name two runs, or two times with --baseline-since, …")
    found = compared(reading_store(db), *parts)
    against = None if rules is None else reasons(rules, found)
    chosen = Format.JSON if as_json else form or (Format.TABLE if output is None else Format.MARKDOWN)
    _write(found, against, chosen, output)
    if against and (output is not None or chosen is not Format.TABLE):
        for reason in against:
            sys.stderr.write(f"gate: {reason.replace('`', '')}\n")
    if against:
        raise typer.Exit(_CLOSED)


def _part(run_id: str, since: str | None, until: str | None) -> Part:
    now_ns = time.time_ns()
    return Part(run_id, *(None if said is None else since_ns(said, now_ns) for said in (since, until)))


def _write(found: Comparison, against: list[str] | None, form: Format, output: Path | None) -> None:
    if form is Format.TABLE:
        _print(found, against)
        return
    if form is Format.JSON:
        gate = None if against is None else {"open": not against, "reasons": against}
        text = to_json({"comparison": found, "gate": gate}).decode()
    else:
        text = to_markdown(found, against)
    write_or_print(text, output)


def _print(found: Comparison, against: list[str] | None) -> None:
    typer.echo(found.sentence.replace("`", ""))
    typer.echo("test cases are compared with themselves" if found.aligned else "traces are compared as distributions")
    columns = ("METRIC", "BEFORE", "AFTER", "CHANGE", "INTERVAL", "UNITS", "VERDICT")
    shown = moved(found.metrics)
    others = [metric for metric in found.metrics if metric not in shown]
    print_table(columns, map(_line, [*shown, *others]), numbers=columns[1:4])
    for stage in found.stages:
        typer.echo(
            f"stage {stage.stage_type}: {stage.what}, in {stage.before:.0%} of traces before, {stage.after:.0%} now"
        )
    for case in found.cases:
        typer.echo(f"test case {case.test_case} {case.what}: traces {case.trace_before} and {case.trace_after}")
    for asset in found.assets:
        before, after = (
            ", ".join(name or "unversioned" for name in side) or "-"
            for side in (asset.change.before, asset.change.after)
        )
        typer.echo(f"asset {asset.change.kind} {asset.change.name} {asset.what}: {before} before, {after} now")
    for reason in against or ():
        typer.echo(f"gate: {reason.replace('`', '')}")
    if against == []:
        typer.echo("gate: open")


def _line(metric: MetricDifference) -> tuple[object, ...]:
    interval = None if metric.low is None or metric.high is None else f"{number(metric.low)} to {number(metric.high)}"
    change = None if metric.relative is None else f"{metric.relative:+.0%}"
    units = f"{metric.units_before}/{metric.units_after}"
    return (metric.metric_name, number(metric.before), number(metric.after), change, interval, units, metric.verdict)
