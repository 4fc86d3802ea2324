"""`import` and `export`: traces from files and into files."""

import gzip
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from ..analysis.figures import count
from ..errors import InvalidInput, NotFound
from ..settings import Settings
from .options import AsJson, Db, Rules, RunFallback, RunFromSession, mapping_settings, reading_store
from .output import print_json, progress_bar
from .remap import Everything, Since, chosen
from .stopping import STOPPED, stop_on_signals

if TYPE_CHECKING:
    from threading import Event

    from ..ingest.importing import Imported, Importer, Refused
    from ..store import Store
    from ..store.selecting import Selection

_REFUSED = 1
_SHOWN = 20
_KIB = 1024
_FOR_ALL = 0o666


def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files of OTLP/JSON, - is standard input.")],
    db: Db = None,
    rules: Rules = None,
    run_from_session: RunFromSession = None,
    run_fallback: RunFallback = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first line that is refused.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store traces and log events from files, as `serve` would have stored them. What is there is not stored again.

    Takes OTLP/JSON lines (the Collector's file exporter, an SDK's) or one document; plain, .gz or .zst.
    Exits with 1 when something was refused: `rejects` shows it.

    Example: `evalvault-otel import traces.jsonl archive-*.jsonl.gz`
    """
    from ..ingest.importing import Importer
    from ..ingest.interpreter import collect_seldom
    from ..ingest.mapping import Mapping

    collect_seldom()
    settings = mapping_settings(db, rules, run_from_session, run_fallback)
    mapping = Mapping.of(settings)
    _check(files)
    begun = time.monotonic()
    told = _Told([], 0, 0)
    with stop_on_signals() as stop:
        with Importer(settings, mapping) as importer:
            for file in files:
                if not stop.is_set() and not (strict and told.refused):
                    _import_file(importer, file, settings, told, stop, strict=strict, quiet=as_json)
        failed = importer.assemble(mapping, stop)
        stopped = stop.is_set()
    _print(told, importer.imported(), failed, time.monotonic() - begun, as_json=as_json)
    if stopped:
        raise typer.Exit(STOPPED)
    if told.refused or failed:
        raise typer.Exit(_REFUSED)


class _Told:
    """What is told of an import in the end."""

    def __init__(self, refused: "list[Refused]", files: int, documents: int) -> None:
        self.refused = refused
        self.files = files
        self.documents = documents
        self.not_shown = 0

    def refuse(self, refused: "Refused", *, quiet: bool) -> None:
        """Note a refusal; the first ones are shown at once."""
        if len(self.refused) < _SHOWN:
            self.refused.append(refused)
            if not quiet:
                sys.stderr.write(f"{refused.file}:{refused.line}: {refused.reason}\n")
        else:
            self.not_shown += 1


def _check(files: list[str]) -> None:
    """Say what is not there before anything is stored.

    Raises:
        InvalidInput: a file is not there.
    """
    for file in files:
        if file != "-" and not Path(file).is_file():
            raise InvalidInput(f"there is no file {file}")


def _import_file(
    importer: "Importer", file: str, settings: Settings, told: _Told, stop: "Event", *, strict: bool, quiet: bool
) -> None:
    from ..wire.otlp_files import documents

    told.files += 1
    with _opened(file) as (opened, size), progress_bar(f"importing {file} (KiB)", size // _KIB) as advance:
        shown = 0
        for refused in importer.add(file, documents(opened, settings.max_request_bytes), stop, strict=strict):
            if refused is not None:
                told.refuse(refused, quiet=quiet)
                continue
            told.documents += 1
            if size:
                read = opened.tell() // _KIB
                advance(read - shown)
                shown = read


@contextmanager
def _opened(file: str) -> Iterator[tuple[BufferedReader, int]]:
    """A file to read and its size, 0 if that is not known."""
    if file == "-":
        yield sys.stdin.buffer, 0  # type: ignore[misc]  # it is one
        return
    try:
        opened = Path(file).open("rb")  # noqa: SIM115 - closed below; what goes wrong while it is read is told elsewhere
    except OSError as exc:
        raise InvalidInput(f"{file} cannot be read: {exc.strerror or exc}") from exc
    with opened:
        yield opened, os.fstat(opened.fileno()).st_size


def _print(told: _Told, imported: "Imported", failed: list[str], seconds: float, *, as_json: bool) -> None:
    if as_json:
        figures = {name: getattr(imported, name) for name in imported.__dataclass_fields__}
        said = {"files": told.files, "lines": told.documents, **figures, "failed": failed}
        print_json({**said, "refused": told.refused, "seconds": round(seconds, 3)})
        return
    if told.not_shown:
        sys.stderr.write(f"… and {told.not_shown:,} more lines: see `evalvault-otel rejects`\n")
    new = f"{count(imported.spans, 'span')} and {count(imported.logs, 'log event')} stored"
    rest = {"there already": imported.duplicates, "of no use here": imported.others, "rejected": imported.rejected}
    more = "".join(f", {number:,} {what}" for what, number in rest.items() if number)
    lines = f"{count(told.documents, 'line')} of {count(told.files, 'file')}"
    typer.echo(f"{lines} in {seconds:.1f} s: {new} in {count(imported.traces, 'trace')}{more}")
    if imported.conflicts:
        typer.echo(f"{count(imported.conflicts, 'span')} other than what was stored before; the first stays")
    if failed:
        typer.echo(f"{count(len(failed), 'trace')} could not be assembled: see the log above")


Format = Annotated[
    Literal["otlp", "jsonl", "csv", "parquet"],
    typer.Option(
        "--format",
        "-f",
        help="otlp: all that was received; jsonl: the stages, a StageEvent in a line; csv, parquet: a --table.",
    ),
]
Table = Annotated[
    Literal["stages", "assets", "findings", "spans"] | None,
    typer.Option("--table", help="What csv and parquet hold.  [default: stages]"),
]
Raw = Annotated[bool, typer.Option("--raw", help="csv: no ' before text that a spreadsheet takes for a formula.")]


def export(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run id; or use --trace, --since or --all.")
    ] = None,
    db: Db = None,
    form: Format = "otlp",
    table: Table = None,
    raw: Raw = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; compressed if it ends in .gz.")] = None,
    trace: Annotated[str | None, typer.Option("--trace", help="Only this trace.")] = None,
    since: Since = None,
    everything: Everything = False,
) -> None:
    """Write traces to a file: `otlp` can be imported again and gives the same stages.

    `csv` and `parquet` hold a table with a row per stage, asset use, finding or span.

    Example: `evalvault-otel export nightly-42 --format otlp -o nightly-42.jsonl.gz`
    """
    _check_export(form, output, tabular=bool(table or raw))
    wanted = chosen(run, since, trace and trace.strip().lower(), everything=everything)
    store = reading_store(db)
    expected = store.selected(wanted).traces
    if not expected:
        raise NotFound("no trace found: `evalvault-otel runs` lists the runs")
    written = 0
    with _written(output) as write, progress_bar("exporting traces", expected) as advance:
        for traces in _export(form, store, wanted, table or "stages", write, raw=raw):
            written += traces
            advance(traces)
    if output is not None:
        sys.stderr.write(f"{count(written, 'trace')} written to {output}\n")


def _check_export(form: str, output: Path | None, *, tabular: bool) -> None:
    """Say what does not fit together before anything is read.

    Raises:
        InvalidInput: options of tables with another format, or Parquet on a terminal.
    """
    if tabular and form in {"otlp", "jsonl"}:
        raise InvalidInput(f"--table and --raw go with --format csv or parquet, not with {form}")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise InvalidInput("Parquet is not text: name a file with --output, or redirect the output")


def _export(
    form: str, store: "Store", wanted: "Selection", table: str, write: Callable[[bytes], object], *, raw: bool
) -> Iterator[int]:
    """Write in a format; gives how many traces were read with each step."""
    from ..analysis import exporting, exporting_csv, exporting_parquet
    from ..analysis.exporting_tables import TABLES

    if form == "parquet":
        yield from exporting_parquet.write_parquet(store, wanted, TABLES[table], write)
    elif form == "csv":
        for traces, pieces in exporting_csv.csv_lines(store, wanted, TABLES[table], raw=raw):
            write(b"".join(pieces))
            yield traces
    else:
        for traces, lines in exporting.FORMATS[form](store, wanted):
            for line in lines:
                write(line + b"\n")
            yield traces


@contextmanager
def _written(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    """A function that writes. A file gets its name when it is complete."""
    if path is None:
        try:
            yield sys.stdout.buffer.write
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Whoever reads has enough, as `head` has. What is left is not to be tried again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"is in {path.parent}, which is no folder"
        raise InvalidInput(f"{path} {what}: give --output the name of a file")
    try:
        with (
            _target(path.resolve()) as file,
            gzip.open(file, "wb") if path.suffix == ".gz" else nullcontext(file) as to,
        ):
            yield to.write
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be written: {exc.strerror or exc}") from exc


@contextmanager
def _target(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is complete; a pipe or device as it is."""
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False) as part:
        made = Path(part.name)
        try:
            yield part
            part.flush()
            made.chmod(path.stat().st_mode if path.exists() else _FOR_ALL & ~_umask())
            made.replace(path)
        except BaseException:
            made.unlink(missing_ok=True)
            raise


def _umask() -> int:
    """What the user takes from new files; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
