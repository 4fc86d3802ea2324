"""What looking after a database returns, as plain frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass

from .migrations import newer


@dataclass(frozen=True, slots=True)
class Schema:
    """Version of the tables (0: there are none), the newest this program knows, and how many migrations are missing."""

    version: int
    known: int
    missing: int

    @property
    def problem(self) -> str | None:
        """Why this program should not work with these tables, with the remedy; None if it can."""
        if self.version > self.known:
            return newer(self.version, self.known)
        if not self.version:
            return "the database has no tables of evalvault-otel: run `evalvault-otel db migrate`"
        if self.missing:
            return (
                f"the tables have version {self.version}, this program needs {self.known}: "
                f"run `evalvault-otel db migrate`"
            )
        return None


@dataclass(frozen=True, slots=True)
class TableRows:
    """How many rows a table has; not `exact` is what the database guessed last."""

    table: str
    rows: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of a database.

    `waiting` traces are to be assembled, the first since `oldest_waiting_ns`. `orphans` are rows of a trace that is not
    there; `integrity` is what the database's own check complains about. Both are empty if all is well, or not looked
    at; `integrity` is None where there is no such check.
    """

    tables: tuple[TableRows, ...]
    waiting: int
    oldest_waiting_ns: int | None
    orphans: tuple[TableRows, ...]
    integrity: tuple[str, ...] | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Prunable:
    """What was received before a time: traces, their spans, and when the oldest of them came last."""

    traces: int
    spans: int
    oldest_ns: int | None


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows went, by table. Empty when no trace was old enough or free."""

    rows: Mapping[str, int]

    @property
    def traces(self) -> int:
        """How many traces went."""
        return self.rows.get("trace", 0)
