"""What the same machine and database do with the same archive rows when nothing else is to be done: the yardstick.

PostgreSQL: psycopg COPY in text format, `write_row` for each row; and once more with the rows encoded beforehand, which
is the most that the server can take over one connection. SQLite: `executemany`. Always one connection, rows in memory,
a table like `span` with its key, a durable commit for every 512 rows. Medians of three.
"""

import sqlite3
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psycopg

from .database import Database
from .traces import SPANS_PER_EXPORT

_REPEATS = 3
_READ_LINES = "COPY (SELECT * FROM span LIMIT %s) TO STDOUT"
# As the product holds them: JSON as text.
_READ_ROWS = "SELECT {} FROM span LIMIT %s"
_JSON = {"attributes", "events", "links"}


@dataclass(frozen=True, slots=True)
class Plain:
    """Rows per second of plain inserts; `encoded` with rows that were encoded beforehand (None where not measured)."""

    rate: float
    encoded: float | None = None


def plain_rate(database: Database, limit: int) -> Plain:
    """How fast the first `limit` rows of `span`, in the order in which they arrived, go into a table like it."""
    return _sqlite_rate(database, limit) if database.kind == "sqlite" else _postgres_rate(database, limit)


def _postgres_rate(database: Database, limit: int) -> Plain:
    with psycopg.connect(database.url) as connection:
        connection.execute("CREATE TABLE span_copy (LIKE span INCLUDING ALL)")
        columns = [column.name for column in connection.execute("SELECT * FROM span LIMIT 0").description or ()]
        listed = ", ".join(f"{name}::text" if name in _JSON else name for name in columns)
        rows = connection.execute(_READ_ROWS.format(listed).encode(), (limit,)).fetchall()
        plain = _median(lambda: _copy(connection, rows, psycopg.Copy.write_row), len(rows))
        del rows
        with connection.cursor() as cursor, cursor.copy(_READ_LINES, (limit,)) as copy:
            lines = [bytes(line) for line in copy]
        return Plain(plain, _median(lambda: _copy(connection, lines, psycopg.Copy.write), len(lines)))


def _copy(
    connection: psycopg.Connection[Any], rows: Sequence[Any], write: Callable[[psycopg.Copy, Any], None]
) -> float:
    """Seconds to COPY `rows` into the emptied table."""
    connection.execute("TRUNCATE span_copy")
    connection.commit()
    started = time.perf_counter()
    for chunk in _chunks(rows):
        with connection.cursor() as cursor, cursor.copy("COPY span_copy FROM STDIN") as copy:
            for row in chunk:
                write(copy, row)
        connection.commit()
    return time.perf_counter() - started


def _sqlite_rate(database: Database, limit: int) -> Plain:
    path = database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        ((definition,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'span'").fetchall()
        connection.execute(definition.replace("TABLE span", "TABLE span_copy", 1))
        rows = connection.execute("SELECT * FROM span LIMIT ?", (limit,)).fetchall()
        return Plain(_median(lambda: _insert(connection, rows), len(rows)))


def _insert(connection: sqlite3.Connection, rows: Sequence[Any]) -> float:
    """Seconds to insert `rows` into the emptied table."""
    connection.execute("DELETE FROM span_copy")
    insert = f"INSERT INTO span_copy VALUES ({', '.join('?' * len(rows[0]))})"  # noqa: S608 - question marks
    started = time.perf_counter()
    for chunk in _chunks(rows):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, chunk)
        connection.execute("COMMIT")
    return time.perf_counter() - started


def _median(seconds: Callable[[], float], count: int) -> float:
    return count / statistics.median(seconds() for _ in range(_REPEATS))


def _chunks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, SPANS_PER_EXPORT)):
        yield chunk
