"""A database of the server under test, looked at from outside: by connections of our own, not the product's."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.support.postgres import running_postgres

KINDS = ("postgres", "sqlite")
_SQLITE = "sqlite:///"

_UNASSEMBLED = "SELECT count(*) FROM trace WHERE dirty OR assembled_ns IS NULL"
_COUNTS = f"""
SELECT (SELECT count(*) FROM span), (SELECT count(*) FROM stage_event WHERE NOT derived),
    (SELECT count(*) FROM asset_use), (SELECT count(*) FROM trace),
    ({_UNASSEMBLED})
"""  # noqa: S608 - one of our own statements


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows in a database; `unassembled` are traces whose stages are not up to date."""

    spans: int
    stages: int
    assets: int
    traces: int
    unassembled: int


@dataclass(frozen=True, slots=True)
class Database:
    """A database by its URL, as `--db` takes it."""

    url: str
    kind: str

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a statement (none if it gives none), over a fresh connection."""
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.url.removeprefix(_SQLITE), timeout=30)) as connection:
                return connection.execute(sql).fetchall()
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def counts(self) -> Counts:
        """What is stored now."""
        return Counts(*self.query(_COUNTS)[0])

    def unassembled(self) -> int:
        """How many traces have stages that are not up to date."""
        return int(self.query(_UNASSEMBLED)[0][0])

    def spans_of(self, trace_ids: Sequence[str]) -> int:
        """How many spans of these traces are stored."""
        listed = ", ".join(f"'{trace_id}'" for trace_id in trace_ids)
        return int(self.query(f"SELECT count(*) FROM span WHERE trace_id IN ({listed})")[0][0])  # noqa: S608 - hex ids


def of_url(url: str) -> Database:
    """The database behind a `--db` value."""
    return Database(url, "sqlite" if url.startswith(_SQLITE) else "postgres")


@contextmanager
def empty_database(kind: str, directory: Path) -> Iterator[Database]:
    """An empty database: a file in `directory`, or one on a PostgreSQL server of our own (from the pip wheel).

    Raises:
        PostgresMissing: no PostgreSQL server can be started here.
    """
    if kind == "sqlite":
        yield Database(f"{_SQLITE}{directory / 'bench.db'}", kind)
        return
    with running_postgres() as server, server.database() as url:
        yield Database(url, kind)
