"""`debug report`: what is wrong with a run, and where to look."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..analysis.playbook import load_playbook
from ..analysis.render import to_json, to_markdown
from ..analysis.render_html import to_html
from ..analysis.report import ReportOptions, debug_report
from ..analysis.report_model import DebugReport
from ..analysis.thresholds import limits_of
from ..analysis.viewers import Viewers, viewers_of
from ..settings import load
from .options import Db, reading_store
from .output import write_or_print

app = typer.Typer(name="debug", help="What is wrong, and where to look.", no_args_is_help=True)


class Format(StrEnum):
    """How the report is written."""

    MARKDOWN = "markdown"
    JSON = "json"
    HTML = "html"


@app.command("report")
def report(
    run_id: Annotated[str, typer.Argument(help="A run id, as `evalvault-otel runs` shows it.")],
    db: Db = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to write it.")] = Format.MARKDOWN,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    thresholds_json: Annotated[
        Path | None, typer.Option("--thresholds-json", help="Thresholds that replace the built-in.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--thresholds-profile", help="A profile of thresholds: dev, prod, or yours.")
    ] = None,
    playbook: Annotated[Path | None, typer.Option("--playbook", help="Actions that replace the built-in.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print the debug report of a run: the slow stage, errors, failing metrics, changed assets, each with trace ids.

    Example: `evalvault-otel debug report nightly-42 -f html -o report.html`
    """
    settings = load()
    options = ReportOptions(
        limits=limits_of(settings, profile, thresholds_json),
        playbook=load_playbook(playbook),
        required=settings.required_types,
        expected=settings.expected_kinds,
    )
    viewers = viewers_of(settings)
    found = debug_report(reading_store(db), run_id, options)
    text = _written(found, Format.JSON if as_json else form, viewers)
    write_or_print(text, output)


def _written(report: DebugReport, form: Format, viewers: Viewers) -> str:
    if form is Format.HTML:
        return to_html(report, viewers)
    return to_json(report).decode() if form is Format.JSON else to_markdown(report)
