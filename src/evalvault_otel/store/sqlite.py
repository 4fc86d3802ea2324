"""The embedded store: one SQLite file, no other process.

WAL with `synchronous=FULL`: a commit is on the disk before it returns. One connection writes, readers have their own
and never wait for it.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import EvalVaultError, InvalidInput, Unavailable
from . import rows
from .migrations import missing
from .named_sql import statement
from .percentile import Percentiles
from .rejecting import RejectBounds
from .reminder import remind
from .rows import Table
from .upkeep import SqlUpkeep
from .writing import Assembling, Pauses

_BUSY_S = 10.0
_READ_CONNECTIONS = 8
_CLOSE_S = 0.5


class SqliteStore(SqlUpkeep):
    """A store in one file. Safe for many threads; other processes may read and write the file as well."""

    dialect = "sqlite"

    def __init__(self, path: Path, pauses: Pauses | None = None, rejects: RejectBounds | None = None) -> None:
        super().__init__(pauses or Pauses(), rejects or RejectBounds())
        self._path = path
        self._writing = threading.Lock()
        self._reading = threading.BoundedSemaphore(_READ_CONNECTIONS)
        self._writer: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._readers: list[sqlite3.Connection] = []
        self._closed = False

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise Unavailable("the store is closed")
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.create_aggregate("percentiles", 1, Percentiles)  # type: ignore[arg-type]  # typeshed wants int|str only
        return connection

    @contextmanager
    def _begin(self, *, durable: bool) -> Iterator["_SqliteTransaction"]:  # noqa: ARG002 - WAL commits are always durable
        with self._writing, _translated(self._path):
            if self._writer is None:
                self._writer = self._connect()
                self._file = _identity(self._path)
            self._refuse_lost_file()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(self._writer)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def _refuse_lost_file(self) -> None:
        """SQLite goes on writing to a file that nobody finds any more: nothing may be acknowledged from there."""
        if _identity(self._path) != self._file:
            message = f"SQLite: {self._path} was removed or replaced while it was in use: restart the server"
            remind(message)
            raise Unavailable(message)

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with self._reading, _translated(self._path):
            connection = self._readers.pop() if self._readers else self._connect()
            try:
                yield connection
            finally:
                self._readers.append(connection)

    @contextmanager
    def _snapshot(self) -> Iterator["_SqliteTransaction"]:
        with self._reader() as connection:
            connection.execute("BEGIN")
            try:
                yield _SqliteTransaction(connection)
            finally:
                connection.execute("COMMIT")

    @contextmanager
    def _assembling(self, trace_id: str) -> Iterator[Assembling]:  # noqa: ARG002 - one server has the file, and one assembler
        with self._snapshot() as tx:
            yield Assembling(tx, lambda: self._begin(durable=False))

    def _fetch(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        with self._reader() as connection:
            cursor = connection.execute(sql, params)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def migrate(self) -> int:
        """See `Store.migrate`."""
        with self._begin(durable=True) as tx:
            tx.execute("CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL)", ())
            done = {row[0] for row in tx.fetch("SELECT version FROM migration", ())}
            todo = missing(self.dialect, done)
            for version, name, sql in todo:
                for statement in _statements(sql):
                    tx.execute(statement, ())
                tx.execute("INSERT INTO migration (version, name) VALUES (?, ?)", (version, name))
        return len(todo)

    def ping(self) -> None:
        """See `Store.ping`."""
        remedy = "start `evalvault-otel serve` with it, or name another one with --db"
        if not self._path.exists():
            raise Unavailable(f"there is no database {self._path}: {remedy}")
        if not self._has_tables():
            raise Unavailable(f"the database {self._path} has no tables of evalvault-otel: {remedy}")
        self._refuse_older(row["version"] for row in self._fetch("SELECT version FROM migration", {}))

    def _integrity(self) -> tuple[str, ...]:
        found = tuple(row["quick_check"] for row in self._fetch("PRAGMA quick_check(10)", {}))
        return () if found == ("ok",) else found

    def _size_bytes(self) -> int:
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def _has_tables(self) -> bool:
        if not self._path.exists():
            raise Unavailable(f"there is no database {self._path}: name another one with --db")
        return bool(self._fetch("SELECT name FROM sqlite_master WHERE name = 'migration'", {}))

    def due_traces(self, now_ns: int, limit: int) -> list[str]:
        """See `Store.due_traces`."""
        sql = "SELECT trace_id FROM trace WHERE dirty AND due_ns <= :now_ns ORDER BY due_ns LIMIT :limit"
        return [row["trace_id"] for row in self._fetch(sql, {"now_ns": now_ns, "limit": limit})]

    def close(self) -> None:
        """See `Store.close`."""
        self._closed = True
        # A writer that waits for another process would keep us here; what it had begun is undone when we are gone.
        if not self._writing.acquire(timeout=_CLOSE_S):
            return
        try:
            connections = [*self._readers, *([self._writer] if self._writer else [])]
            self._readers, self._writer = [], None
            for connection in connections:
                connection.close()
        finally:
            self._writing.release()


class _SqliteTransaction:
    """`Transaction` over the writing connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert(self, table: Table, new_rows: Sequence[tuple[Any, ...]]) -> None:
        self._connection.executemany(_INSERT[table], new_rows)

    def insert_missing(self, table: Table, new_rows: Sequence[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
        size = len(table.key)
        sql = f"{_INSERT[table]} ON CONFLICT DO NOTHING"
        added = set()
        for row in new_rows:
            if self._connection.execute(sql, row).rowcount:
                added.add(row[:size])
        return added

    def merge(self, table: Table, new_rows: Sequence[tuple[Any, ...]], update: str) -> None:
        sql = f"{_INSERT[table]} ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {update}"
        self._connection.executemany(sql, new_rows)

    def count_conflicts(self, span_rows: Sequence[tuple[Any, ...]]) -> int:
        sql = f"SELECT {', '.join(rows.SPAN.columns[2:-1])} FROM span WHERE trace_id = ? AND span_id = ?"  # noqa: S608 - our own names
        return sum(self._connection.execute(sql, row[:2]).fetchone() != row[2:-1] for row in span_rows)

    def lock_dirty(self, sql: str, trace_id: str) -> list[tuple[Any, ...]]:
        # BEGIN IMMEDIATE already holds the one write lock of the file.
        return self.fetch(sql, (trace_id,))

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, params).fetchall()

    def execute(self, sql: str, params: Sequence[Any]) -> None:
        self._connection.execute(sql, params)


_ARCHIVE = (rows.RESOURCE, rows.SCOPE, rows.SPAN, rows.LOG_EVENT)
_TABLES = (*_ARCHIVE, rows.ASSET, rows.TRACE, rows.RUN, rows.REJECT, *rows.DERIVED)


def _insert(table: Table) -> str:
    columns, values = list(table.columns), ["?"] * len(table.columns)
    if table is rows.TRACE:
        # PostgreSQL has a default for it.
        columns.append("changed")
        values.append(statement("sqlite", "newest", frozenset()))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(values)})"  # noqa: S608 - our own names


_INSERT = {table: _insert(table) for table in _TABLES}


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file has this name now, if any."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite does not wait for others here, so several starters at once try again."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _statements(sql: str) -> Iterator[str]:
    """The statements of a script: `executescript` would commit the transaction we are in."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


# What only a person can change, and what helps. Source: sqlite.org, "Result and Error Codes".
_REMEDIES = {
    "SQLITE_FULL": "free space on its disk; nothing was stored, and the file is intact",
    "SQLITE_READONLY": "give the server the right to write the file and its folder",
    "SQLITE_CANTOPEN": "check that the folder exists and that the server may write it",
    "SQLITE_NOTADB": "name another file with --db",
    "SQLITE_CORRUPT": "stop the server and restore a backup",
}


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours, once; they name the file and, where only a person can help, what helps."""
    try:
        yield
    except EvalVaultError:
        raise
    except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as exc:
        raise InvalidInput(f"SQLite refuses a value: {exc}") from exc
    except sqlite3.Error as exc:
        code = "_".join(str(getattr(exc, "sqlite_errorname", "")).split("_")[:2])
        message = f"SQLite: {exc}: {path}"
        if code in _REMEDIES:
            message = f"{message}: {_REMEDIES[code]}"
            remind(message)
        raise Unavailable(message) from exc
