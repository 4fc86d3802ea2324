"""`remap`: the current mapping over traces that an older one made."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..analysis.figures import count
from ..errors import InvalidInput, NotFound
from ..store.remap_records import Remapped
from .options import AsJson, Db, Rules, RunFallback, RunFromSession, mapping_settings, reading_store
from .output import print_json, progress_bar
from .stopping import STOPPED, stop_on_signals
from .times import since_ns

if TYPE_CHECKING:
    from ..ingest.mapping import Mapping
    from ..store import Store
    from ..store.selecting import Selection

_FAILED = 1
_SHOWN = 3

OfRun = Annotated[str | None, typer.Option("--run", help="Only traces that belong to this run now.")]
Since = Annotated[
    str | None, typer.Option(help="Only traces of which something came since then: 90m, 12h, 30d, or a date.")
]
Undo = Annotated[
    bool, typer.Option("--undo-settings", help="Also traces that rules or run settings made which are not given now.")
]
Everything = Annotated[bool, typer.Option("--all", help="All traces.")]


def remap(
    db: Db = None,
    run: OfRun = None,
    since: Since = None,
    everything: Everything = False,
    rules: Rules = None,
    run_from_session: RunFromSession = None,
    run_fallback: RunFallback = None,
    undo_settings: Undo = False,
    force: Annotated[bool, typer.Option("--force", help="Also traces that this mapping made.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the stages of traces anew, with the conventions of this version and the rules of now. A server may go on.

    Traces that this mapping made already are left out, so a call that was stopped, or killed, is simply repeated.
    Give it the rules and run settings of `serve`: what they did is not undone by leaving them out.

    Example: `evalvault-otel remap --since 7d --dry-run`
    """
    from ..ingest.interpreter import collect_seldom
    from ..ingest.mapping import Mapping
    from ..ingest.remap import outdated

    collect_seldom()
    mapping = Mapping.of(mapping_settings(db, rules, run_from_session, run_fallback))
    asked, store = chosen(run, since, everything=everything), reading_store(db)
    wanted = outdated(asked, mapping, force=force)
    _check(store, asked, None if undo_settings else wanted, mapping)
    begun = time.monotonic()
    done, complete = _remap(store, wanted, mapping, write=not dry_run)
    seconds = round(time.monotonic() - begun, 3)
    if as_json:
        print_json(_told(done, mapping.version, seconds, complete=complete, dry_run=dry_run))
    else:
        _say(done, mapping.version, seconds, dry_run=dry_run)
    if not complete:
        if not as_json:
            typer.echo("stopped: run it again to go on")
        raise typer.Exit(STOPPED)
    if done.failed:
        raise typer.Exit(_FAILED)


def _check(store: "Store", asked: "Selection", wanted: "Selection | None", mapping: "Mapping") -> None:
    """Refuse to take from `wanted` traces what settings of the server did for them.

    Raises:
        NotFound: the run that is asked for has no traces.
        InvalidInput: some traces would lose something.
    """
    if asked.run_id is not None and not store.selected(asked).traces:
        raise NotFound(f"no trace of run {asked.run_id!r} found: `evalvault-otel runs` lists the runs")
    versions = {} if wanted is None else store.selected_mappings(wanted)
    losing = {version: traces for version, traces in versions.items() if mapping.undoes(version)}
    if losing:
        made = f"{count(sum(losing.values()), 'trace')} (mapping {', '.join(sorted(losing)[:_SHOWN])})"
        raise InvalidInput(
            f"rules or run settings that this command was not given made {made}: give it --rules, --run-fallback and "
            "--run-from-session as `serve` has them, or --undo-settings to do without"
        )


def chosen(run: str | None, since: str | None, trace: str | None = None, *, everything: bool) -> "Selection":
    """The traces that options ask for.

    Raises:
        InvalidInput: they ask for nothing, or for all and for some.
    """
    from ..store.selecting import Selection

    some = any(option is not None for option in (run, since, trace))
    if some == everything:
        raise InvalidInput("say which traces: a run, --since 7d, or --all")
    return Selection(trace, run, None if since is None else since_ns(since, time.time_ns()))


def _remap(store: "Store", wanted: "Selection", mapping: "Mapping", *, write: bool) -> tuple[Remapped, bool]:
    """What became of the traces, and whether none is left."""
    from ..ingest.remap import remap as batches

    done = Remapped()
    expected = store.selected(wanted).traces
    with stop_on_signals() as stop, progress_bar("remapping traces", expected) as advance:
        for traces, remapped in batches(store, wanted, mapping, stop, write=write):
            done += remapped
            advance(traces)
        return done, not stop.is_set()


def _told(done: Remapped, version: str, seconds: float, *, complete: bool, dry_run: bool) -> dict[str, Any]:
    said = {"traces": done.traces, "spans": done.spans, "changed": done.changed, "retyped_stages": done.retyped}
    about = {"failed": done.failed, "mapping_version": version, "seconds": seconds}
    return {**said, **about, "complete": complete, "dry_run": dry_run}


def _say(done: Remapped, version: str, seconds: float, *, dry_run: bool) -> None:
    begin = "would remap" if dry_run else "remapped"
    typer.echo(
        f"{begin} {count(done.traces, 'trace')} with {count(done.spans, 'span')} to mapping {version} "
        f"in {seconds:.1f} s: {done.changed:,} changed, {count(done.retyped, 'stage')} of another type"
    )
    if done.failed:
        shown = ", ".join(done.failed[:_SHOWN]) + (", …" if len(done.failed) > _SHOWN else "")
        sys.stderr.write(f"{count(len(done.failed), 'trace')} could not be assembled and stay as they were: {shown}\n")
