"""The writing half of a store: one flow for every database, over a handful of primitives.

Dictionary rows (resources, scopes, assets) go first, in a transaction of their own. Then, in one transaction: claims on
traces, spans, marks on older traces, derived rows, rejects, runs. Every step takes its rows in key order and every
writer takes the steps in this order, so writers cannot wait for each other in a circle; the run rows, which all writers
share, come last and are held only until the commit.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import Unavailable
from ..model import Assembly, Reject, Resource, Scope, Span
from . import rejecting, rows
from .base import Assemble, TraceBatch, Written
from .queries import SqlQueries
from .rejecting import RejectBounds
from .rows import Table

# Version of conventions and assembly rules that made the derived rows; raise it when they change.
MAPPING_VERSION = 1

_MAX_KNOWN = 100_000

# A trace is assembled again after a pause that doubles each time, so that a trace which goes on for hours is not
# assembled for each of its spans. Spans that keep coming postpone it, but not for ever: to four times the first pause,
# later to the pause itself. The row that marks a trace carries the pause as the way from `dirty_since_ns` to `due_ns`.
_MAX_DOUBLINGS = 5
_POSTPONED_DOUBLINGS = 2
_PAUSE = "(excluded.due_ns - excluded.dirty_since_ns)"
_DOUBLINGS = f"CASE WHEN trace.assemblies < {_MAX_DOUBLINGS} THEN trace.assemblies ELSE {_MAX_DOUBLINGS} END"
_SINCE = "CASE WHEN trace.dirty THEN trace.dirty_since_ns ELSE excluded.dirty_since_ns END"
_NEXT = f"excluded.dirty_since_ns + {_PAUSE} * (1 << ({_DOUBLINGS}))"
_LATEST = f"""({_SINCE}) + {_PAUSE} * (
    1 << CASE WHEN trace.assemblies < {_POSTPONED_DOUBLINGS} THEN {_POSTPONED_DOUBLINGS} ELSE {_DOUBLINGS} END
)"""

_MARK_TRACE = f"""
    span_count = trace.span_count + excluded.span_count,
    root_span_id = COALESCE(trace.root_span_id, excluded.root_span_id),
    received_ns = CASE WHEN excluded.received_ns > trace.received_ns THEN excluded.received_ns
        ELSE trace.received_ns END,
    dirty_since_ns = {_SINCE},
    due_ns = CASE WHEN {_LATEST} < {_NEXT} THEN {_LATEST} ELSE {_NEXT} END,
    dirty = excluded.dirty
"""

_ASSEMBLED_TRACE = """
    run_id = excluded.run_id,
    root_span_id = excluded.root_span_id,
    first_ns = excluded.first_ns,
    last_ns = excluded.last_ns,
    dirty = excluded.dirty,
    dirty_since_ns = NULL,
    due_ns = NULL,
    assemblies = trace.assemblies + 1,
    mapping_version = excluded.mapping_version,
    assembled_ns = excluded.assembled_ns
"""

# The latest trace of a run says what the run is called; times only widen.
_MERGE_RUN = """
    name = CASE WHEN excluded.last_ns >= run.last_ns THEN COALESCE(excluded.name, run.name)
        ELSE COALESCE(run.name, excluded.name) END,
    kind = CASE WHEN excluded.last_ns >= run.last_ns THEN COALESCE(excluded.kind, run.kind)
        ELSE COALESCE(run.kind, excluded.kind) END,
    dataset = CASE WHEN excluded.last_ns >= run.last_ns THEN COALESCE(excluded.dataset, run.dataset)
        ELSE COALESCE(run.dataset, excluded.dataset) END,
    dataset_version = CASE WHEN excluded.last_ns >= run.last_ns
        THEN COALESCE(excluded.dataset_version, run.dataset_version)
        ELSE COALESCE(run.dataset_version, excluded.dataset_version) END,
    service = CASE WHEN excluded.last_ns >= run.last_ns THEN excluded.service ELSE run.service END,
    first_ns = CASE WHEN excluded.first_ns < run.first_ns THEN excluded.first_ns ELSE run.first_ns END,
    last_ns = CASE WHEN excluded.last_ns > run.last_ns THEN excluded.last_ns ELSE run.last_ns END
"""


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a trace waits for more spans, in nanoseconds.

    `settle_ns` once its root is known, `quiet_ns` while the root or a parent is missing.
    """

    settle_ns: int = 100_000_000
    quiet_ns: int = 2_000_000_000


class Transaction(Protocol):
    """What a database must offer inside a transaction."""

    def insert(self, table: Table, new_rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows whose keys are known to be free: the fast way."""

    def insert_missing(self, table: Table, new_rows: Sequence[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
        """Add those rows whose key is free and return their keys; waits for other writers of the same key."""

    def merge(self, table: Table, new_rows: Sequence[tuple[Any, ...]], update: str) -> None:
        """Add rows, or apply the assignments `update` (over `excluded`) where the key exists. Rows in key order."""

    def count_conflicts(self, span_rows: Sequence[tuple[Any, ...]]) -> int:
        """How many of these span rows differ in content from the stored row of the same key."""

    def lock_dirty(self, trace_id: str) -> bool:
        """Lock the trace row if it is marked for assembly; False when it is not or another process holds it."""

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows of a query with `?` parameters."""

    def execute(self, sql: str, params: Sequence[Any]) -> None:
        """Run a statement with `?` parameters."""


class SqlStore(SqlQueries):
    """Writes of a store; a database adds `_begin` and a `Transaction`."""

    def __init__(self, pauses: Pauses, rejects: RejectBounds) -> None:
        self._pauses = pauses
        self._reject_bounds = rejects
        # Ids of dictionary rows known to be committed; only a saving, so it is simply emptied when large.
        self._known: set[str] = set()

    @abstractmethod
    def _begin(self, *, durable: bool) -> AbstractContextManager[Transaction]:
        """A transaction, committed at the end, rolled back on an exception; database errors come out as ours.

        With `durable` false the commit need not reach the disk at once (work that would simply be done again).
        """

    @abstractmethod
    def _snapshot(self) -> AbstractContextManager[Transaction]:
        """A transaction for reading only; it never waits for writers."""

    def write(self, traces: Sequence[TraceBatch], rejects: Sequence[Reject], received_ns: int) -> Written:
        """See `Store.write`."""
        try:
            return self._write(traces, rejects, received_ns)
        except Unavailable:
            # It may come back as another database, without the dictionary rows that this one had.
            self._known = set()
            raise

    def _write(self, traces: Sequence[TraceBatch], rejects: Sequence[Reject], received_ns: int) -> Written:
        self._write_dictionaries(_dictionary_rows(traces, self._known))
        with self._begin(durable=True) as tx:
            written = self._write_traces(tx, traces, received_ns)
            rejecting.write(tx, self.dialect, self._reject_bounds, rejects, received_ns)
            _merge_runs(tx, written.fresh)
        return Written(written.stored, written.duplicates, written.conflicts)

    def _write_dictionaries(self, dictionary: Mapping[Table, Sequence[tuple[Any, ...]]]) -> None:
        """Add unknown resources, scopes and assets, in a transaction of their own.

        So nobody holds such a row while waiting for a trace; one that ends up unused does no harm.
        """
        if not dictionary:
            return
        with self._begin(durable=True) as tx:
            for table, new_rows in dictionary.items():
                tx.insert_missing(table, new_rows)
        if len(self._known) > _MAX_KNOWN:
            self._known = set()
        for new_rows in dictionary.values():
            self._known.update(row[0] for row in new_rows)

    def _write_traces(self, tx: Transaction, traces: Sequence[TraceBatch], received_ns: int) -> "_Progress":
        if not traces:
            return _Progress((), 0, 0, 0)
        claimed = tx.insert_missing(rows.TRACE, [self._trace_row(batch, received_ns) for batch in traces])
        fresh = [batch for batch in traces if (batch.trace_id,) in claimed]
        older = [batch for batch in traces if (batch.trace_id,) not in claimed]
        tx.insert(rows.SPAN, _span_rows(fresh, received_ns))
        stored, duplicates, conflicts = self._write_older(tx, older, received_ns)
        assemblies = tuple(batch.assembly for batch in fresh if batch.assembly is not None)
        for table, new_rows in rows.derived_rows(assemblies).items():
            tx.insert(table, new_rows)
        return _Progress(assemblies, stored + sum(len(batch.spans) for batch in fresh), duplicates, conflicts)

    def _write_older(self, tx: Transaction, older: list[TraceBatch], received_ns: int) -> tuple[int, int, int]:
        """Spans of traces that exist: add what is new, count the rest, mark the changed traces."""
        if not older:
            return 0, 0, 0
        incoming = _span_rows(older, received_ns)
        added = tx.insert_missing(rows.SPAN, incoming)
        repeated = [row for row in incoming if row[:2] not in added]
        conflicts = tx.count_conflicts(repeated) if repeated else 0
        grown: dict[str, int] = {}
        for trace_id, _ in added:
            grown[trace_id] = grown.get(trace_id, 0) + 1
        marks = [
            self._mark_row(batch, grown[batch.trace_id], received_ns) for batch in older if batch.trace_id in grown
        ]
        tx.merge(rows.TRACE, marks, _MARK_TRACE)
        return len(added), len(repeated), conflicts

    def _trace_row(self, batch: TraceBatch, received_ns: int) -> tuple[Any, ...]:
        if batch.assembly is not None:
            return _assembled_row(batch.assembly, len(batch.spans), received_ns)
        return self._mark_row(batch, len(batch.spans), received_ns)

    def _mark_row(self, batch: TraceBatch, span_count: int, received_ns: int) -> tuple[Any, ...]:
        waits = batch.missing_root or batch.missing_parent
        due_ns = received_ns + (self._pauses.quiet_ns if waits else self._pauses.settle_ns)
        root = min((span.span_id for span in batch.spans if not span.parent_span_id), default=None)
        counts = (span_count, True, received_ns, due_ns, 0, None, None, received_ns)
        return (batch.trace_id, None, root, None, None, *counts)

    def reassemble(self, trace_id: str, assemble: Assemble, now_ns: int) -> bool:
        """See `Store.reassemble`."""
        with self._begin(durable=False) as tx:
            if not tx.lock_dirty(trace_id):
                return False
            assembly = assemble(_read_spans(tx, trace_id))
            for table in rows.DERIVED:
                tx.execute(f"DELETE FROM {table.name} WHERE trace_id = ?", (trace_id,))  # noqa: S608 - our own names
            tx.insert_missing(rows.ASSET, _asset_rows([assembly]))
            for table, new_rows in rows.derived_rows([assembly]).items():
                tx.insert(table, new_rows)
            tx.merge(rows.TRACE, [_assembled_row(assembly, 0, now_ns)], _ASSEMBLED_TRACE)
            _merge_runs(tx, [assembly])
        return True

    def spans(self, trace_id: str) -> list[Span]:
        """See `Store.spans`."""
        with self._snapshot() as tx:
            return _read_spans(tx, trace_id)


@dataclass(frozen=True, slots=True)
class _Progress:
    fresh: tuple[Assembly, ...]
    stored: int
    duplicates: int
    conflicts: int


def _span_rows(batches: Iterable[TraceBatch], received_ns: int) -> list[tuple[Any, ...]]:
    return [rows.span_row(span, received_ns) for batch in batches for span in batch.spans]


def _dictionary_rows(traces: Sequence[TraceBatch], known: set[str]) -> dict[Table, list[tuple[Any, ...]]]:
    resources: dict[str, Resource] = {}
    scopes: dict[str, Scope] = {}
    for batch in traces:
        for span in batch.spans:
            resources[span.resource.id] = span.resource
            scopes[span.scope.id] = span.scope
    assets = _asset_rows(batch.assembly for batch in traces if batch.assembly is not None)
    found = {
        rows.RESOURCE: [rows.resource_row(resources[key]) for key in sorted(resources.keys() - known)],
        rows.SCOPE: [rows.scope_row(scopes[key]) for key in sorted(scopes.keys() - known)],
        rows.ASSET: [row for row in assets if row[0] not in known],
    }
    return {table: new_rows for table, new_rows in found.items() if new_rows}


def _asset_rows(assemblies: Iterable[Assembly]) -> list[tuple[Any, ...]]:
    found = {row[0]: row for assembly in assemblies for row in map(rows.asset_row, assembly.asset_uses)}
    return [found[key] for key in sorted(found)]


def _assembled_row(assembly: Assembly, span_count: int, now_ns: int) -> tuple[Any, ...]:
    identity = (assembly.trace_id, assembly.run_id, assembly.root_span_id, assembly.first_ns, assembly.last_ns)
    return (*identity, span_count, False, None, None, 1, MAPPING_VERSION, now_ns, now_ns)


def _merge_runs(tx: Transaction, assemblies: Sequence[Assembly]) -> None:
    run_rows = rows.run_rows(assemblies)
    if run_rows:
        tx.merge(rows.RUN, run_rows, _MERGE_RUN)


_SELECT_SPANS = """
SELECT trace_id, span_id, parent_span_id, name, kind, start_ns, end_ns, status_code, status_message,
    CAST(attributes AS TEXT), CAST(events AS TEXT), CAST(links AS TEXT),
    dropped_attributes, dropped_events, dropped_links, flags, trace_state, resource_id, scope_id
FROM span WHERE trace_id = ?
"""
_SELECT_RESOURCES = """
SELECT id, CAST(attributes AS TEXT), dropped_attributes, schema_url FROM resource
WHERE id IN (SELECT resource_id FROM span WHERE trace_id = ?)
"""
_SELECT_SCOPES = """
SELECT id, name, version, CAST(attributes AS TEXT), dropped_attributes, schema_url FROM scope
WHERE id IN (SELECT scope_id FROM span WHERE trace_id = ?)
"""


def _read_spans(tx: Transaction, trace_id: str) -> list[Span]:
    resources = {row[0]: rows.resource_of(row) for row in tx.fetch(_SELECT_RESOURCES, (trace_id,))}
    scopes = {row[0]: rows.scope_of(row) for row in tx.fetch(_SELECT_SCOPES, (trace_id,))}
    spans = [rows.span_of(row, resources, scopes) for row in tx.fetch(_SELECT_SPANS, (trace_id,))]
    # Not in SQL: times beyond 2^63 are negative there.
    return sorted(spans, key=lambda span: (span.start_ns, span.span_id))
