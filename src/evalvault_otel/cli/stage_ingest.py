"""`stage ingest`: files of StageEvents into the store, and judgements of relevance after them."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import orjson
import typer

from ..analysis.figures import count
from ..analysis.summary import summarize
from ..errors import InvalidInput, Unavailable
from ..settings import load
from .options import AsJson, Db
from .output import print_json, progress_bar
from .stopping import STOPPED, stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..analysis.relevance import Relevance
    from ..ingest.importing import Importer
    from ..ingest.stage_files import Failed

_NOTHING_STORED = 1
_KIB = 1024
_BATCH = 500


def ingest(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="StageEvents: .jsonl, an event per line, or .json.")],
    db: Db = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Store the others when some events cannot be stored.")
    ] = False,
    failed_output: Annotated[
        Path | None, typer.Option("--failed-output", help="Append what cannot be stored to this file, as JSON lines.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Store StageEvents from a file, as `POST /api/stage/events` does. The same file twice is stored once.

    Without --skip-invalid an event that is wrong stores nothing of the file, and the exit code is 2.

    Example: `evalvault-otel stage ingest stage_events.jsonl --db evalvault.db`
    """
    from ..ingest.stage_files import first_failed

    if not file.is_file():
        raise InvalidInput(f"there is no file {file}")
    if not skip_invalid and (failed := first_failed(file)) is not None:
        with _failures(failed_output) as write:
            write(failed)
        raise InvalidInput(
            f"{file}:{failed.item.line}: {failed.error}; nothing was stored, --skip-invalid stores the rest"
        )
    told = _Told()
    stopped, missing = _store(file, db, failed_output, told)
    _print(file, told, missing, as_json=as_json)
    if stopped:
        raise typer.Exit(STOPPED)
    if not told.stored:
        raise typer.Exit(_NOTHING_STORED)


class _Told:
    """What is told in the end. `runs` counts the events of each run."""

    def __init__(self) -> None:
        self.stored = 0
        self.runs: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.refused: list[str] = []
        self.seconds = 0.0
        self.duplicates = 0


def _store(file: Path, db: str | None, failed_output: Path | None, told: _Told) -> tuple[bool, dict[str, list[str]]]:
    from ..ingest.stage_files import ingest as stored

    begun = time.monotonic()
    with stop_on_signals() as stop, _importing(db) as (importer, finish):
        size = file.stat().st_size
        with progress_bar(f"storing {file} (KiB)", size // _KIB) as advance, _failures(failed_output) as write:
            for items, failed, refused in stored(importer, file):
                for one in failed:
                    write(one)
                    told.failed[one.kind] += 1
                wrong = {one.item.line for one in failed}
                good = [item for item in items if item.line not in wrong]
                told.runs.update(item.event["run_id"].strip() for item in good)
                told.stored += len(good)
                told.refused += [f"{file}:{one.line}: {one.reason}" for one in refused]
                advance(sum(item.size for item in items) // _KIB)
                if stop.is_set():
                    break
        finish()
        told.seconds = time.monotonic() - begun
        told.duplicates = importer.imported().duplicates
        missing = {
            run: [item.stage_type for item in summarize(importer.store, run).missing if item.traces]
            for run in told.runs
        }
        return stop.is_set(), missing


@contextmanager
def _importing(db: str | None) -> "Iterator[tuple[Importer, Callable[[], None]]]":
    """An importer over a database, and what assembles all that it brought."""
    from ..ingest.importing import Importer
    from ..ingest.interpreter import collect_seldom
    from ..ingest.mapping import Mapping

    collect_seldom()
    settings = load({"db": db})
    mapping = Mapping.of(settings)
    with stop_on_signals() as stop, Importer(settings, mapping) as importer:

        def finish() -> None:
            list(importer.finished())
            if failed := importer.assemble(mapping, stop):
                raise Unavailable(f"{count(len(failed), 'trace')} could not be assembled: {failed[0]}, …")

        yield importer, finish


def judge(run_id: str, relevance: "Relevance", db: str | None) -> tuple[int, int]:
    """Store which documents are relevant; for how many retrievals of the run that was said, and how many it changed.

    Raises:
        NotFound: there is no such run.
    """
    from ..analysis.relevance import events, judged
    from ..wire import Decoded

    retrievals, changed, now_ns = 0, 0, time.time_ns()
    with _importing(db) as (importer, finish):
        found = judged(importer.store, run_id, relevance)
        while batch := list(islice(found, _BATCH)):
            said = events(batch, now_ns)
            retrievals += len(batch)
            changed += len(said)
            if said:
                list(importer.store_decoded("relevance", 1, Decoded([], [], logs=said), _KIB * len(said)))
        finish()
    return retrievals, changed


def _print(file: Path, told: _Told, missing: dict[str, list[str]], *, as_json: bool) -> None:
    failed = sum(told.failed.values())
    if as_json:
        said = {
            "stored": told.stored,
            "duplicates": told.duplicates,
            "runs": told.runs,
            "failed": failed,
            "failed_by_kind": told.failed,
        }
        print_json({**said, "missing": missing, "refused": told.refused, "seconds": round(told.seconds, 3)})
        return
    for line in told.refused:
        sys.stderr.write(f"{line}\n")
    there = f", {told.duplicates:,} of them were there already" if told.duplicates else ""
    typer.echo(f"{count(told.stored, 'event')} of {file} stored in {told.seconds:.1f} s{there}")
    for run, number in told.runs.items():
        lacks = f"; some traces lack {', '.join(missing[run])}" if missing.get(run) else ""
        typer.echo(f"  run {run}: {count(number, 'event')}{lacks}")
    for kind, number in told.failed.most_common():
        typer.echo(f"  not stored, {kind}: {number:,}")


@contextmanager
def _failures(path: Path | None) -> "Iterator[Callable[[Failed], None]]":
    """A function that appends what failed to a file, if there is one."""
    if path is None:
        yield lambda _: None
        return
    try:
        with path.open("ab") as file:
            yield lambda failed: _append(file, failed)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be written: {exc.strerror or exc}") from exc


def _append(file: IO[bytes], failed: "Failed") -> None:
    """A line as EvalVault writes it."""
    said = {"error": failed.error, "kind": failed.kind, "index": failed.item.line - 1, "line": failed.item.line}
    file.write(orjson.dumps({**said, "payload": failed.item.event}) + b"\n")
