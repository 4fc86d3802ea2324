"""Tables as Parquet, one row group at a time. Needs the extra `parquet`."""

import io
from collections.abc import Callable, Iterator
from typing import Any, Final

from ..errors import MissingExtra
from ..store import Store
from ..store.selecting import Selection
from .exporting_tables import BOOL, FLOAT, INT, JSON, NUMBERS, TEXT, TIME, ExportTable, Row, rows

# Rows of a row group: what is in memory together. Spans can be large.
_GROUP: Final = 5_000


class _Sink(io.RawIOBase):
    """A file that can only be appended to, over a function that writes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._to = write

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._to(bytes(data))
        return len(data)


def write_parquet(
    store: Store, wanted: Selection, table: ExportTable, write: Callable[[bytes], object]
) -> Iterator[int]:
    """Write a table as a Parquet file; gives how many traces were read with each step.

    Times are timestamps in nanoseconds, in UTC; metrics are a map of numbers; other documents are JSON as text.

    Raises:
        MissingExtra: pyarrow is not installed.
        Unavailable: the database cannot be reached.
    """
    arrow, parquet = _pyarrow()
    types = {
        TEXT: arrow.string(),
        JSON: arrow.string(),
        INT: arrow.int64(),
        FLOAT: arrow.float64(),
        BOOL: arrow.bool_(),
        TIME: arrow.timestamp("ns", "UTC"),
        NUMBERS: arrow.map_(arrow.string(), arrow.float64()),
    }
    schema = arrow.schema([(name, types[kind]) for name, kind in table.columns.items()])
    with parquet.ParquetWriter(arrow.PythonFile(_Sink(write), mode="w"), schema, compression="zstd") as writer:
        for traces, group in _groups(store, wanted, table):
            if group:
                columns = [
                    arrow.array(column, kind.type)
                    for column, kind in zip(zip(*group, strict=True), schema, strict=True)
                ]
                writer.write_batch(arrow.record_batch(columns, schema=schema))
            yield traces


def _groups(store: Store, wanted: Selection, table: ExportTable) -> Iterator[tuple[int, list[Row]]]:
    waiting: list[Row] = []
    for traces, found in rows(store, wanted, table):
        waiting += found
        full = waiting if len(waiting) >= _GROUP else []
        yield traces, full
        if full:
            waiting = []
    if waiting:
        yield 0, waiting


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra: asked for when it is used
        from pyarrow import parquet  # noqa: PLC0415 - the same
    except ImportError as exc:
        raise MissingExtra("Parquet needs pyarrow: pip install 'evalvault-otel[parquet]'") from exc
    return pa, parquet
