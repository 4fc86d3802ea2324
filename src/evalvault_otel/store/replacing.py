"""What is derived from traces, replaced: assemblies in, rows out, in the transaction of the caller.

The caller holds the rows of the traces in `trace`, so nobody else replaces the same. Steps and the rows in each are in
the order that every writer keeps (`writing`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import orjson

from ..model import Assembly
from . import rows, runs
from .named_sql import statement
from .rows import Table

_ASSEMBLED_TRACE: Final = """
    run_id = excluded.run_id,
    root_span_id = excluded.root_span_id,
    first_ns = excluded.first_ns,
    last_ns = excluded.last_ns,
    dirty = excluded.dirty,
    dirty_since_ns = NULL,
    due_ns = NULL,
    assemblies = trace.assemblies + 1,
    mapping_version = excluded.mapping_version,
    assembled_ns = excluded.assembled_ns,
    changed = excluded.changed
"""


class Replacing(Protocol):
    """What is needed of a transaction; see `writing.Transaction`."""

    def insert(self, table: Table, new_rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows whose keys are known to be free."""

    def insert_missing(self, table: Table, new_rows: Sequence[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
        """Add those rows whose key is free and return their keys."""

    def merge(self, table: Table, new_rows: Sequence[tuple[Any, ...]], update: str) -> None:
        """Add rows, or apply assignments where the key exists."""

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows of a query with `?` parameters."""

    def execute(self, sql: str, params: Sequence[Any]) -> None:
        """Run a statement with `?` parameters."""


def replace_derived(tx: Replacing, dialect: str, assemblies: Sequence[Assembly], now_ns: int) -> None:
    """Put assemblies, in trace id order, in the place of what was derived from their traces before."""
    listed = listed_ids(assembly.trace_id for assembly in assemblies)
    of_these = statement(dialect, "of_listed_traces", frozenset())
    before = runs.said_before(tx, of_these, listed)
    for table in rows.DERIVED:
        tx.execute(f"DELETE FROM {table.name} WHERE {of_these}", (listed,))  # noqa: S608 - our own names
    tx.insert_missing(rows.ASSET, asset_rows(assemblies))
    for table, new_rows in rows.derived_rows(assemblies).items():
        tx.insert(table, new_rows)
    tx.merge(rows.TRACE, [assembled_row(assembly, 0, 0, now_ns) for assembly in assemblies], _ASSEMBLED_TRACE)
    runs.replace(tx, before, [part for assembly in assemblies for part in assembly.runs])


def assembled_row(assembly: Assembly, span_count: int, log_count: int, now_ns: int) -> tuple[Any, ...]:
    """The row of a trace that is assembled."""
    identity = (assembly.trace_id, assembly.run_id, assembly.root_span_id, assembly.first_ns, assembly.last_ns)
    return (*identity, span_count, False, None, None, 1, assembly.mapping_version, now_ns, now_ns, log_count)


def asset_rows(assemblies: Iterable[Assembly]) -> list[tuple[Any, ...]]:
    """Dictionary rows of all assets used, each once, by id."""
    found = {row[0]: row for assembly in assemblies for row in map(rows.asset_row, assembly.asset_uses)}
    return [found[key] for key in sorted(found)]


def listed_ids(ids: Iterable[str]) -> str:
    """Ids as the texts `of_listed_…` take them: a JSON array."""
    return orjson.dumps(list(ids)).decode()
