"""Traces of the archive, picked and read page by page, as `export` and `remap` go through them."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from .archive import Archived, Reading, read_traces
from .named_sql import statement

# What is in memory together; and, on SQLite, replaced together while all writers wait.
_BATCH_SPANS: Final = 512
_BATCH_TRACES: Final = 128
_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which traces: all, or those for which everything holds that is given.

    `run_id`: they belong to this run now. `since_ns`: something of them was received since. `assembled`: they are.
    `waiting`: they are marked for assembly. `not_mapping`: another mapping than this one made their rows.
    """

    trace_id: str | None = None
    run_id: str | None = None
    since_ns: int | None = None
    assembled: bool = False
    waiting: bool = False
    not_mapping: str | None = None


@dataclass(frozen=True, slots=True)
class Selected:
    """How many traces a selection holds, and how many spans these have."""

    traces: int
    spans: int


@dataclass(frozen=True, slots=True)
class TraceSize:
    """A trace and how much of it was received."""

    trace_id: str
    span_count: int
    log_count: int


class Selecting(Protocol):
    """The part of a store that goes through its archive."""

    def selected(self, wanted: Selection) -> Selected:
        """How many traces and spans that are."""

    def selected_mappings(self, wanted: Selection) -> dict[str, int]:
        """How many of these traces each mapping assembled; an empty one where nobody knows."""

    def selected_traces(self, wanted: Selection, limit: int, after: str = "") -> list[TraceSize]:
        """The first `limit` of these traces by their ids, of those whose ids come after `after`."""

    def archived(self, trace_ids: Sequence[str]) -> list[Archived]:
        """All that was received of these traces, as of one moment and in their order; nothing for unknown ones."""


def batches(store: Selecting, wanted: Selection) -> Iterator[list[TraceSize]]:
    """Selected traces by their ids, in groups that fit into memory; a larger trace is a group of its own.

    Those that come to be selected meanwhile are among them or not.
    """
    batch: list[TraceSize] = []
    size = 0
    for trace in _walk(store, wanted):
        if batch and (size + trace.span_count > _BATCH_SPANS or len(batch) == _BATCH_TRACES):
            yield batch
            batch, size = [], 0
        batch.append(trace)
        size += trace.span_count + trace.log_count
    if batch:
        yield batch


def _walk(store: Selecting, wanted: Selection) -> Iterator[TraceSize]:
    after = ""
    while page := store.selected_traces(wanted, _PAGE, after):
        yield from page
        after = page[-1].trace_id


class SqlSelecting:
    """`Selecting` over SQL."""

    dialect: str

    @abstractmethod
    def _fetch(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows of a query with `:name` parameters, as dicts by column name."""

    @abstractmethod
    def _snapshot(self) -> AbstractContextManager[Reading]:
        """A transaction for reading only."""

    def selected(self, wanted: Selection) -> Selected:
        """See `Selecting.selected`."""
        return Selected(**self._select("selected", wanted)[0])

    def selected_mappings(self, wanted: Selection) -> dict[str, int]:
        """See `Selecting.selected_mappings`."""
        return {row["mapping"]: row["traces"] for row in self._select("selected_mappings", wanted)}

    def selected_traces(self, wanted: Selection, limit: int, after: str = "") -> list[TraceSize]:
        """See `Selecting.selected_traces`."""
        return [TraceSize(**row) for row in self._select("selected_page", wanted, limit=limit, after=after or None)]

    def archived(self, trace_ids: Sequence[str]) -> list[Archived]:
        """See `Selecting.archived`."""
        with self._snapshot() as tx:
            return read_traces(tx, self.dialect, trace_ids)

    def _select(self, name: str, wanted: Selection, **more: Any) -> list[dict[str, Any]]:
        said = {**asdict(wanted), "assembled": wanted.assembled or None, "waiting": wanted.waiting or None, **more}
        given = {key: value for key, value in said.items() if value is not None}
        return self._fetch(statement(self.dialect, name, frozenset(given)), given)
