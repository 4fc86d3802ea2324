"""`rejects`: what could not be stored, why, and who sent it."""

import time
from typing import Annotated, Literal

import typer

from ..errors import NotFound
from ..store.records import RejectFilter
from .options import AsJson, Db, Limit, reading_store
from .output import print_json, print_table
from .times import since_ns

app = typer.Typer(name="rejects", invoke_without_command=True)


@app.callback()
def rejects(
    context: typer.Context,
    db: Db = None,
    since: Annotated[str | None, typer.Option(help="Only those received since then: 90m, 12h, 30d, or a date.")] = None,
    q: Annotated[str | None, typer.Option("--q", "-q", help="Only those whose reason contains this.")] = None,
    signal: Annotated[
        Literal["traces", "logs"] | None, typer.Option(help="Only those of this signal: traces or logs.")
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List what could not be stored, the latest first. `rejects show ID` shows one with its payload.

    Example: `evalvault-otel rejects --since 1h`
    """
    if context.invoked_subcommand:
        return
    from ..analysis.reject_json import reject_json

    begin_ns = None if since is None else since_ns(since, time.time_ns())
    page = reading_store(db).rejects(RejectFilter(begin_ns, q, signal), limit)
    if not page.items:
        asked = since is not None or q is not None or signal is not None
        raise NotFound(f"no rejects found{' that fit' if asked else ': everything that came in was stored'}")
    shown = list(map(reject_json, page.items))
    if as_json:
        print_json(shown)
        return
    columns = ("ID", "TIME", "TRANSPORT", "PEER", "SIGNAL", "COUNT", "REASON")
    lines = (
        (item.id, item.received_at, item.transport or None, item.peer or None, item.signal, item.count, item.reason)
        for item in shown
    )
    print_table(columns, lines, numbers=("ID", "COUNT"))
    if page.next_cursor:
        typer.echo("… more: use --limit")


@app.command("show")
def show(
    context: typer.Context,
    reject_id: Annotated[int, typer.Argument(metavar="ID", help="An id, as `evalvault-otel rejects` shows it.")],
    db: Db = None,
) -> None:
    """Print one reject as JSON, with its payload as OTLP/JSON where it can be read.

    Example: `evalvault-otel rejects show 17`
    """
    from ..analysis.reject_json import reject_detail_json

    of_group = context.parent.params["db"] if context.parent else None
    print_json(reject_detail_json(reading_store(db or of_group).reject(reject_id)))
