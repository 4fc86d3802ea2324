"""The PostgreSQL store (14 or newer), also for many receivers on one database.

Rows travel by COPY: straight into the table where their keys are known to be free, through a temporary table where
other rows or other writers may hold the key.
"""

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import orjson
import psycopg
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import ConnectionPool

from ..errors import InvalidInput, Unavailable
from . import rows
from .base import Assemble, Written
from .migrations import missing
from .postgres_errors import repeated, translated
from .rejecting import RejectBounds
from .remap_records import Remapped
from .rows import Table
from .upkeep import SqlUpkeep
from .writing import Assembling, Pauses

# The pool's warnings repeat, for each attempt, what the caller is told once.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

_CONNECT_TIMEOUT_S = 5
_POOL_TIMEOUT_S = 4.0
_RECONNECT_S = 2.0
_CLOSE_S = 0.5
# A host that is gone without a word is noticed in seconds; the kernel's defaults are a quarter of an hour or more.
_PATIENCE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
_MAX_READERS = 8
_MAX_WRITERS = 4
_HAS_TABLES = "SELECT 1 WHERE to_regclass('migration') IS NOT NULL"
# A `:name` that is not part of a `::cast`.
_NAMED = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")
# Any constant: all processes of this product take the same advisory lock while they migrate.
_MIGRATION_LOCK = 7_021_977_310


class PostgresStore(SqlUpkeep):
    """A store in PostgreSQL. Any number of processes may share the database."""

    dialect = "postgres"

    def __init__(self, url: str, pauses: Pauses | None = None, rejects: RejectBounds | None = None) -> None:
        super().__init__(pauses or Pauses(), rejects or RejectBounds())
        self._url = url
        # Reports may keep all reading connections busy; ingest never waits for them.
        self._reads = _pool(url, "evalvault-read", _MAX_READERS, prepare_threshold=None)
        self._writes = _pool(url, "evalvault-write", _MAX_WRITERS)
        self._opening = threading.Lock()
        self._closed = False
        self._staged: WeakKeyDictionary[Connection[Any], _Staging] = WeakKeyDictionary()

    @contextmanager
    def _connection(self, pool: ConnectionPool[Connection[Any]]) -> Iterator[Connection[Any]]:
        with translated():
            with self._opening:
                if self._closed:
                    raise Unavailable("the store is closed")
                if pool.closed:
                    pool.open()
            with pool.connection() as connection:
                yield connection

    @contextmanager
    def _begin(self, *, durable: bool) -> Iterator["_PostgresTransaction"]:
        with self._connection(self._writes) as connection:
            if not durable:
                connection.execute("SET LOCAL synchronous_commit = off")
            staged = self._staged.setdefault(connection, _Staging())
            try:
                yield _PostgresTransaction(connection, staged)
            except BaseException:
                staged.ready = False  # what this transaction created goes with it
                raise

    @contextmanager
    def _snapshot(self) -> Iterator["_PostgresTransaction"]:
        with self._connection(self._reads) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield _PostgresTransaction(connection, _Staging())

    @contextmanager
    def _assembling(self, trace_id: str) -> Iterator[Assembling | None]:
        # Not the lock of the trace's row: receivers that add to the trace need that one.
        with self._begin(durable=False) as tx:
            ((free,),) = tx.fetch("SELECT pg_try_advisory_xact_lock(hashtextextended(?, 0))", (trace_id,))
            yield Assembling(tx, lambda: nullcontext(tx)) if free else None

    def _fetch(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        with self._connection(self._reads) as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_named_params(sql), params).fetchall()

    def _write(self, *args: Any) -> Written:
        return repeated(partial(super()._write, *args))

    def reassemble(self, trace_id: str, assemble: Assemble, now_ns: int) -> bool:
        """See `Store.reassemble`."""
        return repeated(partial(super().reassemble, trace_id, assemble, now_ns))

    def _replace_same(self, *args: Any) -> frozenset[str]:
        return repeated(partial(super()._replace_same, *args))

    def _remap_locked(self, *args: Any) -> Remapped:
        return repeated(partial(super()._remap_locked, *args))

    def migrate(self) -> int:
        """See `Store.migrate`."""
        with self._own_connection() as connection:
            tx = _PostgresTransaction(connection, _Staging())
            tx.execute("SELECT pg_advisory_xact_lock(?)", (_MIGRATION_LOCK,))
            tx.execute("CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL)", ())
            done = {row[0] for row in tx.fetch("SELECT version FROM migration", ())}
            todo = missing(self.dialect, done)
            for version, name, sql in todo:
                tx.run_script(sql)
                tx.execute("INSERT INTO migration (version, name) VALUES (?, ?)", (version, name))
        return len(todo)

    def ping(self) -> None:
        """See `Store.ping`."""
        with self._own_connection() as connection:
            if not connection.execute(_HAS_TABLES).fetchall():
                raise Unavailable("the database has no tables of evalvault-otel: start `evalvault-otel serve` with it")
            applied = connection.execute("SELECT version FROM migration").fetchall()
        self._refuse_older(version for (version,) in applied)

    @contextmanager
    def _own_connection(self) -> Iterator[Connection[Any]]:
        """A connection beside the pools: it fails at once and says why, where a pool would only wait."""
        if self._closed:
            raise Unavailable("the store is closed")
        with translated(), psycopg.connect(self._url, connect_timeout=_CONNECT_TIMEOUT_S) as connection:
            yield connection

    def _has_tables(self) -> bool:
        with self._own_connection() as connection:
            return bool(connection.execute(_HAS_TABLES).fetchall())

    def _integrity(self) -> None:
        return None

    def _size_bytes(self) -> int:
        return self._number("SELECT pg_database_size(current_database()) AS n")

    def due_traces(self, now_ns: int, limit: int) -> list[str]:
        """See `Store.due_traces`."""
        sql = "SELECT trace_id FROM trace WHERE dirty AND due_ns <= :now_ns ORDER BY due_ns LIMIT :limit"
        return [row["trace_id"] for row in self._fetch(sql, {"now_ns": now_ns, "limit": limit})]

    def close(self) -> None:
        """See `Store.close`."""
        with self._opening:
            self._closed = True
        for pool in (self._reads, self._writes):
            pool.close(timeout=_CLOSE_S)


@dataclass(slots=True)
class _Staging:
    """Whether a connection has its temporary table."""

    ready: bool = False


class _PostgresTransaction:
    """`Transaction` over one connection."""

    def __init__(self, connection: Connection[Any], staged: "_Staging") -> None:
        self._connection = connection
        self._staged = staged

    def insert(self, table: Table, new_rows: Sequence[tuple[Any, ...]]) -> None:
        if new_rows:
            self._copy(f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN", new_rows)

    def insert_missing(self, table: Table, new_rows: Sequence[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
        if table is rows.SPAN:
            self._stage_spans(new_rows)
            sql = f"{_INSERT_SPANS} ON CONFLICT DO NOTHING RETURNING trace_id, span_id"
            return set(self._connection.execute(sql).fetchall())
        sql = f"{_insert_documents(table)} ON CONFLICT DO NOTHING RETURNING {', '.join(table.key)}"
        return set(self._connection.execute(sql, (_documents(table, new_rows),)).fetchall())

    def merge(self, table: Table, new_rows: Sequence[tuple[Any, ...]], update: str) -> None:
        sql = f"{_insert_documents(table)} ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {update}"
        self._connection.execute(sql, (_documents(table, new_rows),))

    def count_conflicts(self, span_rows: Sequence[tuple[Any, ...]]) -> int:
        self._stage_spans(span_rows)
        ((count,),) = self._connection.execute(_COUNT_CONFLICTS).fetchall()
        return int(count)

    def lock_dirty(self, sql: str, trace_id: str) -> list[tuple[Any, ...]]:
        return self.fetch(f"{sql} FOR UPDATE", (trace_id,))

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._connection.execute(_numbered_params(sql), params).fetchall()

    def execute(self, sql: str, params: Sequence[Any]) -> None:
        self._connection.execute(_numbered_params(sql), params)

    def run_script(self, sql: str) -> None:
        self._connection.execute(sql)

    def _stage_spans(self, span_rows: Sequence[tuple[Any, ...]]) -> None:
        """Copy rows into this connection's temporary table `incoming_span`."""
        if not self._staged.ready:
            self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS incoming_span (LIKE span)")
            self._staged.ready = True
        self._connection.execute("TRUNCATE incoming_span")
        self._copy(f"COPY incoming_span ({', '.join(rows.SPAN.columns)}) FROM STDIN", span_rows)

    def _copy(self, statement: str, new_rows: Iterable[tuple[Any, ...]]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in new_rows:
                copy.write_row(row)


_SPAN_COLUMNS = ", ".join(rows.SPAN.columns)
_INSERT_SPANS = (
    f"INSERT INTO span ({_SPAN_COLUMNS}) SELECT {_SPAN_COLUMNS} FROM incoming_span ORDER BY trace_id, span_id"  # noqa: S608 - our own names
)


def _compared(alias: str) -> str:
    """The content of a span, without key and time of arrival; `json` has no equality, its text has."""
    return ", ".join(
        f"CAST({alias}.{name} AS text)" if name in {"attributes", "events", "links"} else f"{alias}.{name}"
        for name in rows.SPAN.columns[2:-1]
    )


_COUNT_CONFLICTS = f"""
SELECT count(*) FROM incoming_span AS i JOIN span AS s ON s.trace_id = i.trace_id AND s.span_id = i.span_id
WHERE ({_compared("i")}) IS DISTINCT FROM ({_compared("s")})
"""  # noqa: S608 - our own names


def _insert_documents(table: Table) -> str:
    """An insert of rows that come as one JSON array: a single round trip for a few small rows."""
    columns = ", ".join(table.columns)
    source = f"json_populate_recordset(CAST(NULL AS {table.name}), %s)"
    return f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {source} ORDER BY {', '.join(table.key)}"  # noqa: S608 - our own names


def _documents(table: Table, new_rows: Sequence[tuple[Any, ...]]) -> str:
    documents = [
        {
            name: orjson.Fragment(value) if name in table.json and value is not None else value
            for name, value in zip(table.columns, row, strict=True)
        }
        for row in new_rows
    ]
    try:
        return orjson.dumps(documents).decode()
    except TypeError as exc:
        raise InvalidInput(f"PostgreSQL would refuse a value: {exc}") from exc


def _named_params(sql: str) -> str:
    """`:name` parameters in psycopg's form."""
    return _NAMED.sub(r"%(\1)s", sql.replace("%", "%%"))


def _numbered_params(sql: str) -> str:
    """`?` parameters in psycopg's form."""
    return sql.replace("?", "%s")


def _pool(url: str, name: str, size: int, prepare_threshold: int | None = 5) -> ConnectionPool[Connection[Any]]:
    # Reads are not prepared (None): a prepared statement has one plan for all pages of a long list, and the plan of a
    # first page is a bad one for the last.
    return ConnectionPool(
        url,
        kwargs={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "application_name": name,
            "prepare_threshold": prepare_threshold,
            **{option: value for option, value in _PATIENCE.items() if f"{option}=" not in url},
        },
        min_size=1,
        max_size=size,
        timeout=_POOL_TIMEOUT_S,
        # Give up soon: the next caller starts a fresh attempt, where a patient pool would sleep longer and longer.
        reconnect_timeout=_RECONNECT_S,
        configure=_configure,
        open=False,
        name=name,
    )


def _configure(connection: Connection[Any]) -> None:
    set_json_loads(orjson.loads, connection)
