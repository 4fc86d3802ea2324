"""`stage summary`: a run in figures per stage type."""

from typing import Annotated

import typer

from ..analysis.figures import duration, percent
from ..analysis.summary import summarize
from .options import AsJson, Db, reading_store
from .output import print_json, print_table

app = typer.Typer(name="stage", help="Stages of a run.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A group, although it has one command today."""


@app.command("summary")
def summary(
    run_id: Annotated[str, typer.Argument(help="A run id, as `evalvault-otel runs` shows it.")],
    db: Db = None,
    as_json: AsJson = False,
) -> None:
    """Count, errors and times per stage type, and what is missing.

    Example: `evalvault-otel stage summary nightly-42`
    """
    found = summarize(reading_store(db), run_id)
    if as_json:
        print_json(found)
        return
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


def _ms(value: float | None) -> str | None:
    return None if value is None else duration(value)
