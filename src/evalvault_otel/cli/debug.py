"""`debug report`: what is wrong with a run, and where to look."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..analysis.render import to_json, to_markdown
from ..analysis.report import ReportOptions, debug_report
from ..analysis.thresholds import limits_of
from ..settings import load
from .options import Db, reading_store

app = typer.Typer(name="debug", help="What is wrong, and where to look.", no_args_is_help=True)


class Format(StrEnum):
    """How the report is written."""

    MARKDOWN = "markdown"
    JSON = "json"


@app.command("report")
def report(
    run_id: Annotated[str, typer.Argument(help="A run id, as `evalvault-otel runs` shows it.")],
    db: Db = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to write it.")] = Format.MARKDOWN,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print the debug report of a run: the slow stage, errors, failing metrics, changed assets, each with trace ids.

    Example: `evalvault-otel debug report nightly-42 -o report.md`
    """
    settings = load()
    options = ReportOptions(
        limits=limits_of(settings), required=settings.required_types, expected=settings.expected_kinds
    )
    found = debug_report(reading_store(db), run_id, options)
    text = to_json(found).decode() if as_json or form is Format.JSON else to_markdown(found)
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text, "utf-8")
        typer.echo(f"written to {output}")
