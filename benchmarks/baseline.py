"""What the same machine and database do with the same archive rows when nothing else is to be done: the yardstick.

PostgreSQL: psycopg COPY in text format, `write_row` for each row (the C implementation; rows encoded beforehand gain
little over it). SQLite: `executemany`. One connection, rows in memory with JSON as text as the product holds them, a
table like `span` with its key, a durable commit for every 512 rows. Medians of three.
"""

import sqlite3
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import psycopg

from .database import Database
from .traces import SPANS_PER_EXPORT

_REPEATS = 3
_READ_ROWS = "SELECT {} FROM span LIMIT %s"
_JSON = {"attributes", "events", "links"}


def plain_rate(database: Database, limit: int) -> float:
    """Rows per second of the first `limit` rows of `span`, in the order of arrival, into a table like it."""
    return _sqlite_rate(database, limit) if database.kind == "sqlite" else _postgres_rate(database, limit)


def _postgres_rate(database: Database, limit: int) -> float:
    with psycopg.connect(database.url) as connection:
        connection.execute("CREATE TABLE span_copy (LIKE span INCLUDING ALL)")
        columns = [column.name for column in connection.execute("SELECT * FROM span LIMIT 0").description or ()]
        listed = ", ".join(f"{name}::text" if name in _JSON else name for name in columns)
        rows = connection.execute(_READ_ROWS.format(listed).encode(), (limit,)).fetchall()
        return _median_rate(lambda: _copy(connection, rows), len(rows))


def _copy(connection: psycopg.Connection[Any], rows: Sequence[tuple[Any, ...]]) -> float:
    """Seconds to COPY `rows` into the emptied table."""
    connection.execute("TRUNCATE span_copy")
    connection.commit()
    started = time.perf_counter()
    for chunk in _chunks(rows):
        with connection.cursor() as cursor, cursor.copy("COPY span_copy FROM STDIN") as copy:
            for row in chunk:
                copy.write_row(row)
        connection.commit()
    return time.perf_counter() - started


def _sqlite_rate(database: Database, limit: int) -> float:
    path = database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        ((definition,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'span'").fetchall()
        connection.execute(definition.replace("TABLE span", "TABLE span_copy", 1))
        rows = connection.execute("SELECT * FROM span LIMIT ?", (limit,)).fetchall()
        return _median_rate(lambda: _insert(connection, rows), len(rows))


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> float:
    """Seconds to insert `rows` into the emptied table."""
    connection.execute("DELETE FROM span_copy")
    insert = f"INSERT INTO span_copy VALUES ({', '.join('?' * len(rows[0]))})"  # noqa: S608 - question marks
    started = time.perf_counter()
    for chunk in _chunks(rows):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, chunk)
        connection.execute("COMMIT")
    return time.perf_counter() - started


def _median_rate(seconds: Callable[[], float], count: int) -> float:
    return count / statistics.median(seconds() for _ in range(_REPEATS))


def _chunks(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, SPANS_PER_EXPORT)):
        yield chunk
