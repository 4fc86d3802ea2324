"""The writing half of a store: one flow for every database, over a handful of primitives.

Dictionary rows (resources, scopes, assets) go first, in a transaction of their own. Then, in one transaction: claims on
traces, spans, log events, marks on older traces, derived rows, rejects, runs. Every step takes its rows in key order
and every writer takes the steps in this order, so writers cannot wait for each other in a circle; the run rows, which
all writers share, come last and are held only until the commit.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..errors import Unavailable
from ..model import Assembly, LogEvent, Reject, Resource, Scope, Span
from . import rejecting, rows, runs
from .archive import read_trace
from .base import Assemble, TraceBatch, Written
from .log_rows import log_row
from .queries import SqlQueries
from .rejecting import RejectBounds
from .replacing import assembled_row, asset_rows, replace_derived
from .rows import Table

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
# A trace of which only log events came has nothing to assemble yet: its first spans mark it.
_HAS_SPANS = "trace.span_count + excluded.span_count > 0"

_MARK_TRACE = f"""
    span_count = trace.span_count + excluded.span_count,
    log_count = trace.log_count + excluded.log_count,
    root_span_id = COALESCE(trace.root_span_id, excluded.root_span_id),
    received_ns = CASE WHEN excluded.received_ns > trace.received_ns THEN excluded.received_ns
        ELSE trace.received_ns END,
    dirty_since_ns = CASE WHEN {_HAS_SPANS} THEN {_SINCE} END,
    due_ns = CASE WHEN {_HAS_SPANS} THEN CASE WHEN {_LATEST} < {_NEXT} THEN {_LATEST} ELSE {_NEXT} END END,
    dirty = {_HAS_SPANS}
"""

# What every write that adds to a trace changes, and every assembly of it.
_STATE = "span_count, log_count, assemblies, received_ns"
_IS_DIRTY = f"SELECT {_STATE} FROM trace WHERE trace_id = ? AND dirty"  # noqa: S608 - our own names
# A trace that grows while it is assembled is assembled again, at last with its writers waiting.
_TRIES = 3


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

    def lock_dirty(self, sql: str, trace_id: str) -> list[tuple[Any, ...]]:
        """Rows of a query of one trace row, which other writers cannot change until this transaction ends."""

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows of a query with `?` parameters."""

    def execute(self, sql: str, params: Sequence[Any]) -> None:
        """Run a statement with `?` parameters."""


@dataclass(frozen=True, slots=True)
class Assembling:
    """The right to assemble a trace: where to read it, and how to begin what replaces its derived rows."""

    reading: Transaction
    begin: Callable[[], AbstractContextManager[Transaction]]


class SqlStore(SqlQueries):
    """Writes of a store; a database adds `_begin` and a `Transaction`."""

    def __init__(self, pauses: Pauses, rejects: RejectBounds) -> None:
        super().__init__()
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

    @abstractmethod
    def _assembling(self, trace_id: str) -> AbstractContextManager[Assembling | None]:
        """The right to assemble a trace until the end of the context; None when another process has it.

        Reading needs not be of one moment: `reassemble` compares the state of the trace before and after.
        """

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
            runs.merge_new(tx, written.fresh)
        return written.counts

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
            return _Progress((), Written(0, 0, 0))
        claimed = tx.insert_missing(rows.TRACE, [self._trace_row(batch, received_ns) for batch in traces])
        fresh = [batch for batch in traces if (batch.trace_id,) in claimed]
        older = [batch for batch in traces if (batch.trace_id,) not in claimed]
        spans, logs = _span_rows(fresh, received_ns), _log_rows(fresh, received_ns)
        tx.insert(rows.SPAN, spans)
        tx.insert(rows.LOG_EVENT, logs)
        grown = self._write_older(tx, older, received_ns)
        assemblies = tuple(batch.assembly for batch in fresh if batch.assembly is not None)
        for table, new_rows in rows.derived_rows(assemblies).items():
            tx.insert(table, new_rows)
        counts = replace(grown, stored=grown.stored + len(spans), logs_stored=grown.logs_stored + len(logs))
        return _Progress(assemblies, counts)

    def _write_older(self, tx: Transaction, older: list[TraceBatch], received_ns: int) -> Written:
        """What came for traces that exist: add what is new, count the rest, mark the changed traces."""
        if not older:
            return Written(0, 0, 0)
        spans, logs = _span_rows(older, received_ns), _log_rows(older, received_ns)
        added = tx.insert_missing(rows.SPAN, spans) if spans else set()
        logged = tx.insert_missing(rows.LOG_EVENT, logs) if logs else set()
        repeated = [row for row in spans if row[:2] not in added]
        conflicts = tx.count_conflicts(repeated) if repeated else 0
        new_spans, new_logs = (Counter(trace_id for trace_id, _ in keys) for keys in (added, logged))
        marks = [
            self._mark_row(batch, new_spans[batch.trace_id], new_logs[batch.trace_id], received_ns)
            for batch in older
            if new_spans[batch.trace_id] or new_logs[batch.trace_id]
        ]
        tx.merge(rows.TRACE, marks, _MARK_TRACE)
        return Written(len(added), len(repeated), conflicts, len(logged), len(logs) - len(logged))

    def _trace_row(self, batch: TraceBatch, received_ns: int) -> tuple[Any, ...]:
        if batch.assembly is not None:
            return assembled_row(batch.assembly, len(batch.spans), len(batch.logs), received_ns)
        if not batch.spans:
            return (batch.trace_id, *[None] * 4, 0, False, None, None, 0, None, None, received_ns, len(batch.logs))
        return self._mark_row(batch, len(batch.spans), len(batch.logs), received_ns)

    def _mark_row(self, batch: TraceBatch, span_count: int, log_count: int, received_ns: int) -> tuple[Any, ...]:
        # Log events alone wait for no span: what they belong to is there, or marks the trace when it comes.
        waits = bool(batch.spans) and (batch.missing_root or batch.missing_parent)
        due_ns = received_ns + (self._pauses.quiet_ns if waits else self._pauses.settle_ns)
        root = min((span.span_id for span in batch.spans if not span.parent_span_id), default=None)
        counts = (span_count, True, received_ns, due_ns, 0, None, None, received_ns, log_count)
        return (batch.trace_id, None, root, None, None, *counts)

    def reassemble(self, trace_id: str, assemble: Assemble, now_ns: int) -> bool:
        """See `Store.reassemble`."""
        for _ in range(_TRIES):
            done = self._reassemble(trace_id, assemble, now_ns)
            if done is not None:
                return done
        return self._reassemble_locked(trace_id, assemble, now_ns)

    def _reassemble(self, trace_id: str, assemble: Assemble, now_ns: int) -> bool | None:
        """Assemble while nobody waits; None when the trace grew meanwhile, so that nothing was replaced."""
        with self._assembling(trace_id) as claim:
            seen = claim.reading.fetch(_IS_DIRTY, (trace_id,)) if claim else []
            if claim is None or not seen:
                return False
            assembly = _assembly_of(claim.reading, self.dialect, trace_id, assemble)
            with claim.begin() as tx:
                state = tx.lock_dirty(_IS_DIRTY, trace_id)
                if state != seen:
                    return None if state else False
                replace_derived(tx, self.dialect, [assembly], now_ns)
        return True

    def _reassemble_locked(self, trace_id: str, assemble: Assemble, now_ns: int) -> bool:
        """Assemble while writers of the trace wait."""
        with self._assembling(trace_id) as claim:
            if claim is None:
                return False
            with claim.begin() as tx:
                if not tx.lock_dirty(_IS_DIRTY, trace_id):
                    return False
                assembly = _assembly_of(tx, self.dialect, trace_id, assemble)
                replace_derived(tx, self.dialect, [assembly], now_ns)
        return True

    def spans(self, trace_id: str) -> list[Span]:
        """See `Store.spans`."""
        with self._snapshot() as tx:
            return read_trace(tx, self.dialect, trace_id).spans

    def logs(self, trace_id: str) -> list[LogEvent]:
        """See `Store.logs`."""
        with self._snapshot() as tx:
            return read_trace(tx, self.dialect, trace_id).logs


def _assembly_of(tx: Transaction, dialect: str, trace_id: str, assemble: Assemble) -> Assembly:
    archived = read_trace(tx, dialect, trace_id)
    return assemble(archived.spans, archived.logs)


@dataclass(frozen=True, slots=True)
class _Progress:
    fresh: tuple[Assembly, ...]
    counts: Written


def _span_rows(batches: Iterable[TraceBatch], received_ns: int) -> list[tuple[Any, ...]]:
    return [rows.span_row(span, received_ns) for batch in batches for span in batch.spans]


def _log_rows(batches: Iterable[TraceBatch], received_ns: int) -> list[tuple[Any, ...]]:
    return [log_row(event, received_ns) for batch in batches for event in batch.logs]


def _dictionary_rows(traces: Sequence[TraceBatch], known: set[str]) -> dict[Table, list[tuple[Any, ...]]]:
    resources: dict[str, Resource] = {}
    scopes: dict[str, Scope] = {}
    for batch in traces:
        made: tuple[Span | LogEvent, ...] = (*batch.spans, *batch.logs)
        for item in made:
            resources[item.resource.id] = item.resource
            scopes[item.scope.id] = item.scope
    assets = asset_rows(batch.assembly for batch in traces if batch.assembly is not None)
    found = {
        rows.RESOURCE: [rows.resource_row(resources[key]) for key in sorted(resources.keys() - known)],
        rows.SCOPE: [rows.scope_row(scopes[key]) for key in sorted(scopes.keys() - known)],
        rows.ASSET: [row for row in assets if row[0] not in known],
    }
    return {table: new_rows for table, new_rows in found.items() if new_rows}
