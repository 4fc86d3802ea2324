"""`db`: bring a database up to date, look whether it is in order, remove what is old."""

import time
from collections import Counter
from typing import Annotated, Any

import typer

from ..analysis.figures import count, iso
from ..errors import InvalidInput
from ..settings import Settings, load
from ..store import Store, open_store
from ..store.upkeep_records import Condition, Prunable, Schema
from .options import AsJson, Db, Rules, RunFallback, RunFromSession, mapping_settings, reading_store
from .output import print_json, print_table, progress_bar
from .serve import without_password
from .stopping import STOPPED, stop_on_signals
from .times import ago_ns, time_ns

app = typer.Typer(name="db", help="Look after the database.", no_args_is_help=True)

_MIB = 1024 * 1024


@app.command("migrate")
def migrate(db: Db = None, as_json: AsJson = False) -> None:
    """Bring the tables up to date; `serve` does the same when it starts. Harmless when repeated.

    Example: `evalvault-otel db migrate --db postgresql://me@localhost/traces`
    """
    store = open_store(load({"db": db}).db)
    ran = store.migrate()
    version = store.schema().version
    if as_json:
        print_json({"ran": ran, "version": version})
    else:
        typer.echo(f"{count(ran, 'migration')} ran: the tables have version {version}")


@app.command("check")
def check(
    db: Db = None,
    rules: Rules = None,
    run_from_session: RunFromSession = None,
    run_fallback: RunFallback = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what reads every row.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look whether a database is in order: version, counts, traces that wait, rows without a trace, damage.

    Exits with 1 when something is wrong.

    Example: `evalvault-otel db check --db evalvault.db`
    """
    settings = mapping_settings(db, rules, run_from_session, run_fallback)
    store, database = open_store(settings.db), without_password(settings.db)
    schema = store.schema()
    condition = None if schema.problem else store.condition(thorough=not quick)
    older, foreign = (None, 0) if schema.problem or quick else _outdated(store, settings)
    problems = _problems(schema, condition)
    if as_json:
        shown = {"database": database, "schema": schema, "condition": condition, "older_mapping": older}
        shown["made_with_other_settings"] = None if older is None else foreign
        print_json({**shown, "problems": problems})
    else:
        _print_check(database, schema, condition, problems, (older or 0, foreign))
    if problems:
        raise typer.Exit(1)


def _outdated(store: Store, settings: Settings) -> tuple[int, int]:
    """How many traces another mapping made than that of now, and in how many settings had a part that are not given."""
    from ..ingest.mapping import Mapping
    from ..ingest.remap import outdated
    from ..store.selecting import Selection

    mapping = Mapping.of(settings)
    versions = store.selected_mappings(outdated(Selection(), mapping))
    foreign = sum(traces for version, traces in versions.items() if mapping.undoes(version))
    return sum(versions.values()) - foreign, foreign


def _problems(schema: Schema, condition: Condition | None) -> list[str]:
    found = [schema.problem] if schema.problem else []
    if condition is not None:
        found += [f"{count(item.rows, 'row')} of {item.table} belong to no trace" for item in condition.orphans]
        found += [f"the file is damaged: {said}" for said in condition.integrity or ()]
    return found


def _print_check(
    database: str, schema: Schema, condition: Condition | None, problems: list[str], outdated: tuple[int, int]
) -> None:
    older, foreign = outdated
    typer.echo(f"database {database}, tables of version {schema.version}")
    if condition is not None:
        lines = [(item.table, f"{item.rows:,}" if item.exact else f"about {item.rows:,}") for item in condition.tables]
        print_table(("TABLE", "ROWS"), lines, numbers=("ROWS",))
        since = f", the first since {iso(condition.oldest_waiting_ns)}" if condition.waiting else ""
        typer.echo(f"{condition.size_bytes / _MIB:.1f} MiB on disk")
        typer.echo(f"{count(condition.waiting, 'trace')} waiting for assembly{since}")
    if older:
        typer.echo(f"{count(older, 'trace')} made by another mapping than that of now: `evalvault-otel remap --all`")
    if foreign:
        made = f"{count(foreign, 'trace')} made with rules or run settings that this command was not given"
        typer.echo(f"{made}: give it those of `serve` to compare")
    for problem in problems:
        typer.echo(f"problem: {problem}")
    if not problems:
        typer.echo("no problem found")


@app.command("prune")
def prune(
    db: Db = None,
    older_than: Annotated[str | None, typer.Option(help="Traces not heard of for so long: 12h, 30d, 8w.")] = None,
    before: Annotated[str | None, typer.Option(help="Traces not heard of since then: 2026-01-31 (UTC).")] = None,
    at_most: Annotated[int, typer.Option("--slice", min=1, max=100_000, help="Traces in one transaction.")] = 500,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove old traces, with all that hangs on them, and old rejects. A server may go on writing meanwhile.

    Removes in small transactions with rests between them. Ctrl-C stops after the one under way.

    Example: `evalvault-otel db prune --older-than 30d`
    """
    before_ns = _before_ns(older_than, before)
    store = reading_store(db)
    wanted = store.prunable(before_ns)
    if dry_run:
        _print_plan(before_ns, wanted, as_json=as_json)
        return
    begun = time.monotonic()
    gone, complete = _prune(store, before_ns, at_most, wanted.traces)
    if as_json:
        seconds = round(time.monotonic() - begun, 3)
        print_json({"before": iso(before_ns), "removed": gone, "complete": complete, "seconds": seconds})
    else:
        removed = ", ".join(count(gone[table], noun) for table, noun in _NOUNS.items() if gone[table])
        typer.echo(f"removed from before {iso(before_ns)}: {removed or 'nothing'}")
        if not complete:
            typer.echo("stopped: run it again to go on")
    if not complete:
        raise typer.Exit(STOPPED)


_NOUNS = {"trace": "trace", "span": "span", "stage_event": "stage", "run": "run", "reject": "reject"}


def _before_ns(older_than: str | None, before: str | None) -> int:
    if older_than is not None and before is None:
        return ago_ns(older_than, time.time_ns())
    if before is not None and older_than is None:
        return time_ns(before)
    raise InvalidInput("say what is old, in one way: --older-than 30d or --before 2026-01-31")


def _print_plan(before_ns: int, wanted: Prunable, *, as_json: bool) -> None:
    if as_json:
        shown: dict[str, Any] = {"traces": wanted.traces, "spans": wanted.spans, "oldest": iso(wanted.oldest_ns)}
        print_json({"before": iso(before_ns), "would_remove": shown})
        return
    oldest = f", the oldest from {iso(wanted.oldest_ns)}" if wanted.oldest_ns is not None else ""
    traces, spans = count(wanted.traces, "trace"), count(wanted.spans, "span")
    typer.echo(f"would remove from before {iso(before_ns)}: {traces} with {spans}{oldest}")


def _prune(store: Store, before_ns: int, at_most: int, expected: int) -> tuple[Counter[str], bool]:
    """Rows removed by table, and whether nothing was left."""
    from ..analysis.retention import prune as slices

    gone: Counter[str] = Counter()
    with stop_on_signals() as stop, progress_bar("removing traces", expected) as advance:
        for removed in slices(store, before_ns, at_most, stop):
            gone.update(removed.rows)
            advance(removed.traces)
        # The rejects come after the last trace.
        return gone, "reject" in gone
