"""The views for people: their columns are as documented, the queries of the page run, a reader cannot write."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from evalvault_otel.model import Finding
from evalvault_otel.store import Store, open_store
from tests.support.stages import RUN, assembly, save, stage, tid, use

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
QUERIES = re.findall(r"^```sql(?: (\w+))?\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
VIEWS = {
    name: re.findall(r"`(\w+)`", columns)
    for name, columns in re.findall(r"^\| `(v_\w+)` \|.*?\|(.*)\|$", PAGE, re.MULTILINE)
}


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A plain connection to a database, as a person's tool makes it."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            yield connection
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection


@pytest.fixture
def filled(store: Store, db_url: str) -> str:
    """A database with two traces: stages, a failed one, assets, metrics, a finding."""
    found = {"doc_ids": ["a", "b"], "scores": [0.5, 0.25]}
    save(
        store,
        assembly(
            [
                stage(1, 1, "retrieval", 0, 10, attributes=found, metrics={"retrieval.hits": 2.0}),
                stage(1, 2, "output", 10, 20, tokens_in=5, tokens_out=7, cost_total=0.5),
            ],
            [use(1, 2, "model", "gpt", "4")],
            [Finding(tid(1), 0, RUN, "usage_twice", "warning", "said twice", "t1-s2")],
        ),
        assembly(
            [stage(2, 1, "output", 100, 50, status="error", error_type="Timeout")], [use(2, 1, "model", "gpt", "5")]
        ),
    )
    return db_url


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with connected(url) as connection:
        return [tuple(row) for row in connection.execute(query).fetchall()]


def _columns(connection: Any, view: str) -> list[str]:
    cursor = connection.execute("SELECT * FROM " + view)  # noqa: S608 - a name of our own page
    return [column[0] for column in cursor.description]


def test_page_says_every_view_and_column(filled: str) -> None:
    with connected(filled) as connection:
        found = {name: _columns(connection, name) for name in VIEWS}
        kept = (
            "SELECT name FROM sqlite_master WHERE type = 'view'"
            if filled.startswith("sqlite")
            else "SELECT viewname FROM pg_views WHERE schemaname = 'public'"
        )
        views = {row[0] for row in connection.execute(kept).fetchall()}

    assert found == VIEWS
    assert views == set(VIEWS)


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_queries_of_the_page_run_and_find(filled: str, number: int) -> None:
    only, query = QUERIES[number]
    dialect = "sqlite" if filled.startswith("sqlite") else "postgres"
    if only not in ("", dialect):
        return

    assert rows(filled, query)


def test_views_say_what_was_stored(filled: str) -> None:
    assert rows(filled, "SELECT run_id, traces, failed_traces, stages, errors, tokens_in FROM v_run") == [
        (RUN, 2, 1, 3, 1, 5)
    ]
    assert rows(filled, "SELECT trace_id, duration_ms FROM v_trace ORDER BY trace_id") == [(tid(1), 30), (tid(2), 50)]
    assert rows(filled, "SELECT stage_id, score FROM v_metric WHERE metric_name = 'retrieval.hits'") == [("t1-s1", 2)]
    assert rows(filled, "SELECT stage_id, score FROM v_metric WHERE metric_name LIKE '%.latency_ms' ORDER BY 1") == [
        ("t1-s1", 10),
        ("t1-s2", 20),
        ("t2-s1", 50),
    ]
    assert rows(filled, "SELECT code, stage_id FROM v_finding WHERE started_ns > 0") == [("usage_twice", "t1-s2")]


def test_reader_role_reads_views_and_nothing_else(postgres_url: str) -> None:
    store = open_store(postgres_url)
    store.migrate()
    store.close()
    recipe = next(text for kind, text in QUERIES if kind == "role")
    reads, failures = 0, 0
    with psycopg.connect(postgres_url) as connection:  # roles belong to the server: undone at the end
        connection.execute(recipe)
        connection.execute("SET ROLE evalvault_reader")
        for view in VIEWS:
            connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(view)))
            reads += 1
        for forbidden in ("SELECT * FROM span", "SELECT * FROM reject", "DELETE FROM run", "DELETE FROM trace"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(forbidden)
            failures += 1
        connection.rollback()

    assert (reads, failures) == (len(VIEWS), 4)
