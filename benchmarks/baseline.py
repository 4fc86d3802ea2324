"""What the same machine and database do with the same archive rows when nothing else is to be done: the yardstick.

PostgreSQL: psycopg COPY in text format. SQLite: `executemany`. Both over one connection, from rows encoded beforehand,
into a table like `span` with its key, with a durable commit for every 512 rows.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import psycopg

from .database import Database
from .traces import SPANS_PER_EXPORT

_READ_SPANS = "COPY (SELECT * FROM span LIMIT %s) TO STDOUT"


def plain_rate(database: Database, limit: int) -> float:
    """Rows per second of plain inserts of the first `limit` rows of `span`, in the order in which they arrived."""
    return _sqlite_rate(database, limit) if database.kind == "sqlite" else _postgres_rate(database, limit)


def _postgres_rate(database: Database, limit: int) -> float:
    with psycopg.connect(database.url) as connection:
        connection.execute("CREATE TABLE span_copy (LIKE span INCLUDING ALL)")
        with connection.cursor() as cursor, cursor.copy(_READ_SPANS, (limit,)) as copy:
            lines = [bytes(line) for line in copy]
        connection.commit()
        started = time.perf_counter()
        for chunk in _chunks(lines):
            with connection.cursor() as cursor, cursor.copy("COPY span_copy FROM STDIN") as copy:
                copy.write(b"".join(chunk))
            connection.commit()
        return len(lines) / (time.perf_counter() - started)


def _sqlite_rate(database: Database, limit: int) -> float:
    path = database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        ((definition,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'span'").fetchall()
        connection.execute(definition.replace("TABLE span", "TABLE span_copy", 1))
        rows = connection.execute(f"SELECT * FROM span LIMIT {int(limit)}").fetchall()  # noqa: S608 - a number
        insert = f"INSERT INTO span_copy VALUES ({', '.join('?' * len(rows[0]))})"  # noqa: S608 - question marks
        started = time.perf_counter()
        for chunk in _chunks(rows):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, chunk)
            connection.execute("COMMIT")
        return len(rows) / (time.perf_counter() - started)


def _chunks(rows: Sequence[Any]) -> Iterator[list[Any]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, SPANS_PER_EXPORT)):
        yield chunk
