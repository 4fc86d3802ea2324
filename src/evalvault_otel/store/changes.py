"""What changed in the store, for those who follow it: traces in the order of the transactions that wrote them.

A trace carries the number of the transaction that last made its stages (ADR 0030). PostgreSQL gives numbers before
transactions end, and they end in any order. So only numbers below that of the oldest transaction under way are read:
nothing can appear there any more, and whoever reads on from a position misses nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from ..errors import InvalidInput
from ..model import RunTrace, StageEvent
from . import read_rows as rows

# The largest number that a database has.
_MAX_NUMBER: Final = 2**63 - 1
_DIGITS: Final = 19


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far somebody has read: all transactions before `number`, and of that one the traces up to `trace_id`."""

    number: int
    trace_id: str = ""

    def __str__(self) -> str:
        return f"{self.number}-{self.trace_id}" if self.trace_id else str(self.number)

    @classmethod
    def of(cls, text: str) -> "Position":
        """The position that `str` wrote; `0` is before everything.

        Raises:
            InvalidInput: the text is none.
        """
        number, _, trace_id = text.strip().partition("-")
        if not (number.isascii() and number.isdigit() and len(number) <= _DIGITS and int(number) <= _MAX_NUMBER):
            raise InvalidInput(f"{text!r} is not the id of an event of the stream")
        return cls(int(number), trace_id)


@dataclass(frozen=True, slots=True)
class Change:
    """A trace whose stages were made, for the `assemblies`-th time."""

    position: Position
    trace_id: str
    run_id: str | None
    assemblies: int


@dataclass(frozen=True, slots=True)
class RunWords:
    """What a run says of itself, without counts: those of a large run take time."""

    run_id: str
    name: str | None
    kind: str | None
    dataset: str | None
    dataset_version: str | None
    service: str
    first_ns: int
    last_ns: int


class Following(Protocol):
    """The reads of those who follow. All raise `Unavailable` when the database cannot be reached."""

    def settled(self) -> Position:
        """Before this position nothing will appear any more."""

    def may_know(self, position: Position) -> bool:
        """Whether this database can have given the position: it is not later than everything here."""

    def latest_change(self) -> int:
        """Another number when there are other changes than before; cheap to ask."""

    def changes(self, after: Position, limit: int) -> list[Change]:
        """Assembled traces whose stages were made after a position, oldest change first, each as it is now.

        A trace that waits for its assembly is left out: it changes when that is done.
        """

    def changed_parts(self, trace_ids: Sequence[str]) -> list[RunTrace]:
        """What traces add to their runs, by trace, then run."""

    def changed_stages(self, trace_ids: Sequence[str]) -> list[StageEvent]:
        """All stages of traces, by trace, then start, then id."""

    def changed_runs(self, run_ids: Sequence[str]) -> list[RunWords]:
        """Runs by id; unknown ones are left out."""


class SqlFollowing(ABC):
    """`Following` over the named statements of `sql/changes.sql`."""

    @abstractmethod
    def _read(self, name: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named statement."""

    def settled(self) -> Position:
        """See `Following.settled`."""
        return Position(self._read("settled_number")[0]["n"])

    def may_know(self, position: Position) -> bool:
        """See `Following.may_know`."""
        return bool(position.number <= self._read("newest_number")[0]["n"])

    def latest_change(self) -> int:
        """See `Following.latest_change`."""
        return int(self._read("latest_change")[0]["n"])

    def changes(self, after: Position, limit: int) -> list[Change]:
        """See `Following.changes`."""
        return [
            _change_of(row) for row in self._read("changes", number=after.number, trace_id=after.trace_id, limit=limit)
        ]

    def changed_parts(self, trace_ids: Sequence[str]) -> list[RunTrace]:
        """See `Following.changed_parts`."""
        return list(map(rows.part_of, self._read("changed_parts", traces=_listed(trace_ids))))

    def changed_stages(self, trace_ids: Sequence[str]) -> list[StageEvent]:
        """See `Following.changed_stages`."""
        return list(map(rows.stage_of, self._read("changed_stages", traces=_listed(trace_ids))))

    def changed_runs(self, run_ids: Sequence[str]) -> list[RunWords]:
        """See `Following.changed_runs`."""
        return [RunWords(**row) for row in self._read("changed_runs", runs=_listed(run_ids))]


def _listed(ids: Sequence[str]) -> str:
    return orjson.dumps(list(ids)).decode()


def _change_of(row: Mapping[str, Any]) -> Change:
    position = Position(row["changed"], row["trace_id"])
    return Change(position, row["trace_id"], row["run_id"], row["assemblies"])
