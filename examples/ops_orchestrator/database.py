"""The database of the server, read only, over the driver that its kind needs."""

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote

Row = dict[str, Any]


def query(db: str, sql: str, params: Mapping[str, str]) -> list[Row]:
    """The rows of a query with `:name` parameters. `db` is what `--db` of the server is."""
    return _postgres(db, sql, params) if db.startswith(("postgresql://", "postgres://")) else _sqlite(db, sql, params)


def _sqlite(db: str, sql: str, params: Mapping[str, str]) -> list[Row]:
    path = quote(db.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql, params)]


def _postgres(db: str, sql: str, params: Mapping[str, str]) -> list[Row]:
    import psycopg  # noqa: PLC0415 - only where the database is PostgreSQL
    from psycopg.rows import dict_row  # noqa: PLC0415 - the same

    named = re.sub(r"(?<!:):(\w+)", r"%(\1)s", sql)
    with psycopg.connect(db, row_factory=dict_row, options="-c default_transaction_read_only=on") as connection:
        return connection.execute(named.encode(), params).fetchall()
