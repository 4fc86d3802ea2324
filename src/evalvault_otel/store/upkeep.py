"""Looking after a database: what state it is in, and what is old enough to go.

A slice of `prune` is one short transaction. It takes the traces that nobody else holds, oldest first, then everything
that hangs on them. Then it waits for writers of the same runs: every writer locks runs last, so these wait for nobody.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, Final

import orjson

from ..errors import Unavailable
from . import rejecting, rows
from .migrations import scripts
from .named_sql import statement
from .remapping import SqlRemapping
from .rows import Table
from .runs import new_change
from .selecting import SqlSelecting
from .upkeep_records import Condition, Prunable, Pruned, Schema, TableRows
from .writing import Transaction

PER_TRACE: Final[tuple[Table, ...]] = (rows.SPAN, rows.LOG_EVENT, *rows.DERIVED)
"""Tables whose rows belong to a trace and go with it. All have `trace_id`, and an index that begins with it."""

# Where the database can tell, larger tables are not counted but estimated.
_MANY_ROWS: Final = 100_000
_OTHERS: Final = (rows.TRACE, rows.RUN, rows.RESOURCE, rows.SCOPE, rows.ASSET, rows.REJECT)


class SqlUpkeep(SqlRemapping, SqlSelecting):
    """`Upkeep` for every database. See `Upkeep` for what each method promises."""

    @abstractmethod
    def _has_tables(self) -> bool:
        """Whether any migration ran; raises `Unavailable` when the database cannot be reached."""

    @abstractmethod
    def _integrity(self) -> tuple[str, ...] | None:
        """What the database's own check complains about; None if it has no check of its own."""

    @abstractmethod
    def _size_bytes(self) -> int:
        """What the database takes on the disk."""

    def schema(self) -> Schema:
        """See `Upkeep.schema`."""
        known = [version for version, _, _ in scripts(self.dialect)]
        applied = {row["version"] for row in self._read("migrations_done")} if self._has_tables() else set()
        return Schema(max(applied, default=0), known[-1], len(set(known) - applied))

    def _refuse_older(self, applied: Iterable[int]) -> None:
        lacking = {version for version, _, _ in scripts(self.dialect)} - set(applied)
        if lacking:
            raise Unavailable("the tables are of an older version: run `evalvault-otel db migrate`, or start `serve`")

    def condition(self, *, thorough: bool = True) -> Condition:
        """See `Upkeep.condition`."""
        ((waiting, oldest),) = [(row["n"], row["oldest_ns"]) for row in self._read("waiting")]
        return Condition(
            tables=self._counted(),
            waiting=waiting,
            oldest_waiting_ns=oldest,
            orphans=self._orphans() if thorough else (),
            integrity=self._integrity() if thorough else None,
            size_bytes=self._size_bytes(),
        )

    def _counted(self) -> tuple[TableRows, ...]:
        estimates = {row["name"]: row["n"] for row in self._read("estimates", many=_MANY_ROWS)}
        names = [table.name for table in (*PER_TRACE, *_OTHERS)]
        return tuple(
            TableRows(name, estimates[name], exact=False)
            if name in estimates
            else TableRows(name, self._number(f"SELECT count(*) AS n FROM {name}"), exact=True)  # noqa: S608 - our own names
            for name in names
        )

    def _orphans(self) -> tuple[TableRows, ...]:
        counted = (
            TableRows(table.name, self._number(_ORPHANS.format(table=table.name)), exact=True) for table in PER_TRACE
        )
        return tuple(found for found in counted if found.rows)

    def _number(self, sql: str) -> int:
        ((number,),) = [tuple(row.values()) for row in self._fetch(sql, {})]
        return int(number)

    def prunable(self, before_ns: int) -> Prunable:
        """See `Upkeep.prunable`."""
        (found,) = self._read("prunable", before_ns=before_ns)
        return Prunable(**found)

    def prune(self, before_ns: int, limit: int) -> Pruned:
        """See `Upkeep.prune`."""
        # If it is lost in a crash it is simply done again.
        with self._begin(durable=False) as tx:
            oldest = tx.fetch(self._text("oldest_traces"), (before_ns, limit))
            return Pruned(self._delete(tx, _list(row[0] for row in oldest)) if oldest else {})

    def _delete(self, tx: Transaction, traces: str) -> dict[str, int]:
        """Delete the traces of a list and what hangs on them; how many rows of each table went."""
        given = self._text("of_listed_traces")
        runs = tx.fetch(f"SELECT DISTINCT run_id FROM run_trace WHERE {given}", (traces,))  # noqa: S608 - our own text
        gone = {
            table.name: len(tx.fetch(f"DELETE FROM {table.name} WHERE {given} RETURNING 1", (traces,)))  # noqa: S608 - our own names
            for table in (*PER_TRACE, rows.TRACE)
        }
        # Last, as writers do. Locked first and looked at again: a trace of the run may have come meanwhile.
        listed = _list(row[0] for row in runs)
        tx.fetch(self._text("locked_runs"), (listed,))
        tx.execute(f"UPDATE run SET change = ? WHERE {self._text('of_listed_runs')}", (new_change(), listed))  # noqa: S608 - our own text
        empty = _list(row[0] for row in tx.fetch(self._text("empty_runs"), (listed,)))
        return {**gone, rows.RUN.name: len(tx.fetch(self._text("delete_empty_runs"), (empty,)))}

    def prune_rejects(self, before_ns: int) -> int:
        """See `Upkeep.prune_rejects`."""
        with self._begin(durable=False) as tx:
            rejecting.lock(tx, self.dialect)
            return len(tx.fetch("DELETE FROM reject WHERE received_ns < ? RETURNING 1", (before_ns,)))

    def _text(self, name: str) -> str:
        return statement(self.dialect, name, frozenset())


_ORPHANS: Final = """
SELECT count(*) AS n FROM {table} AS x WHERE NOT EXISTS (SELECT 1 FROM trace AS t WHERE t.trace_id = x.trace_id)
"""


def _list(values: Iterable[Any]) -> str:
    return orjson.dumps(list(values)).decode()
