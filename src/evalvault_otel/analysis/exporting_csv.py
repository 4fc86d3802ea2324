"""Tables as CSV (RFC 4180): a header, CRLF at the end of a line, quotes where they are needed."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from ..store import Store
from ..store.selecting import Selection
from .exporting_tables import NUMBERS, TEXT, ExportTable, rows

# A cell that begins with one of these is a formula to a spreadsheet. Source: OWASP, CSV Injection.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(
    store: Store, wanted: Selection, table: ExportTable, *, raw: bool = False
) -> Iterator[tuple[int, list[bytes]]]:
    """A table as pieces of a CSV file, each with how many traces it holds.

    Missing values are empty cells, times are nanoseconds since 1970, documents and metrics are JSON. Text that a
    spreadsheet would take for a formula gets a `'` before it, unless `raw`.

    Raises:
        Unavailable: the database cannot be reached.
    """
    yield 0, [_written([tuple(table.columns)])]
    shown = _SHOWN if raw else {**_SHOWN, TEXT: _guarded}
    ways = [shown.get(kind, _as_it_is) for kind in table.columns.values()]
    for traces, found in rows(store, wanted, table):
        lines = ([show(cell) for show, cell in zip(ways, row, strict=True)] for row in found)
        yield traces, [_written(lines)]


def _guarded(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _as_it_is(cell: Any) -> Any:
    return cell


def _document(cell: Any) -> Any:
    return None if cell is None else orjson.dumps(dict(cell)).decode()


_SHOWN: Final[Mapping[str, Callable[[Any], Any]]] = {NUMBERS: _document}


def _written(lines: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()
