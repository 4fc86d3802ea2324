"""Tables for people, JSON for programs."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..errors import InvalidInput

# In a pipe there is no width to fit: lines are never broken.
_PIPE_WIDTH = 10_000


def print_json(value: Any) -> None:
    """A record, or list of records, as indented JSON."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(columns: Sequence[str], lines: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> None:
    """A table: with rules on a terminal, plain columns in a pipe. Columns in `numbers` are set to the right."""
    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=not terminal)
    for line in lines:
        table.add_row(*(_cell(value) for value in line))
    console = Console(width=None if terminal else _PIPE_WIDTH, highlight=False, markup=False, emoji=False)
    console.print(table)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def write_or_print(text: str, output: Path | None) -> None:
    """A text onto standard output, or into a file.

    Raises:
        InvalidInput: the file cannot be written.
    """
    if output is None:
        typer.echo(text)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as exc:
        raise InvalidInput(f"{output} cannot be written: {exc.strerror or exc}") from exc
    typer.echo(f"written to {output}")


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with each further number of things that are done; shown on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    terminal = sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not terminal) as progress:
        task = progress.add_task(label, total=total)
        yield lambda number: progress.advance(task, number)
