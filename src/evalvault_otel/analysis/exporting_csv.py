"""Tables as CSV (RFC 4180): a header, CRLF at the end of a line, quotes where they are needed."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..store import Store
from ..store.selecting import Selection
from .exporting_tables import TEXT, ExportTable, rows

# A cell that begins with one of these is a formula to a spreadsheet. Source: OWASP, CSV Injection.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(
    store: Store, wanted: Selection, table: ExportTable, *, raw: bool = False
) -> Iterator[tuple[int, list[bytes]]]:
    """A table as pieces of a CSV file, each with how many traces it holds.

    Missing values are empty cells. Text that a spreadsheet would take for a formula gets a `'` before it, unless `raw`.

    Raises:
        Unavailable: the database cannot be reached.
    """
    yield 0, [_written([tuple(table.columns)])]
    texts = [not raw and kind == TEXT for kind in table.columns.values()]
    for traces, found in rows(store, wanted, table):
        guarded = ([_guarded(cell) if text else cell for cell, text in zip(row, texts, strict=True)] for row in found)
        yield traces, [_written(guarded)]


def _guarded(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _written(lines: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()
