"""SQL scripts against the database of a test, beside the product."""

import sqlite3
from contextlib import closing

import psycopg

_SQLITE = "sqlite:///"


def run_script(db_url: str, sql: str) -> None:
    """Run the statements of a script and commit them."""
    if db_url.startswith(_SQLITE):
        with closing(sqlite3.connect(db_url.removeprefix(_SQLITE), timeout=30)) as connection:
            connection.executescript(sql)
        return
    with psycopg.connect(db_url, autocommit=True) as server:
        server.execute(sql.encode())
