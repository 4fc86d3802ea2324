"""What a store promises. The docstrings here are the contract; `tests/store/` runs one suite over every store.

Writes come from `ingest`, already decoded and grouped by trace; reads serve `analysis` and the query API. SQL stays
behind this line: callers see records.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..model import Assembly, LogEvent, Reject, Span
from .queries import Queries
from .remap_records import Remapped
from .selecting import Selecting
from .upkeep_records import Condition, Prunable, Pruned, Schema

Assemble = Callable[[Sequence[Span], Sequence[LogEvent]], Assembly]


@dataclass(frozen=True, slots=True)
class TraceBatch:
    """Spans and log events of one trace that arrived together; either may be missing.

    `spans` are distinct by span id and in span id order, `logs` distinct by their content and in the order of its hash
    (`log_rows.log_id`). `assembly` is their assembly when the spans look like the whole trace (a root, no missing
    parent), else None. `missing_parent` says that a parent is not among the spans.
    """

    trace_id: str
    spans: tuple[Span, ...]
    assembly: Assembly | None
    missing_root: bool
    missing_parent: bool
    logs: tuple[LogEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the spans of one write: `stored + duplicates` is their number.

    `conflicts` counts those duplicates whose content differs from the stored span (the first one stays).
    `logs_stored + logs_duplicates` is the number of log events.
    """

    stored: int
    duplicates: int
    conflicts: int
    logs_stored: int = 0
    logs_duplicates: int = 0


class Upkeep(Protocol):
    """What keeps a database in order. All methods raise `Unavailable` when it cannot be reached."""

    def schema(self) -> Schema:
        """The version of the tables, also when it is not the one that this program needs."""

    def condition(self, *, thorough: bool = True) -> Condition:
        """Counts and faults. `thorough` looks for orphans and runs the database's own check: it reads every row."""

    def prunable(self, before_ns: int) -> Prunable:
        """What `prune` would remove, all slices together."""

    def prune(self, before_ns: int, limit: int) -> Pruned:
        """Remove up to `limit` traces of which nothing arrived since `before_ns`, oldest first, in one transaction.

        Everything that hangs on them goes too, and runs that are empty then. Resources, scopes and assets stay. Traces
        that someone is just writing are left out. Nothing is done when no other is old enough.
        """

    def prune_rejects(self, before_ns: int) -> int:
        """Remove the rejects received before that; how many went."""


class Store(Queries, Selecting, Upkeep, Protocol):
    """Durable home of spans and of all that is derived from them. Safe to call from many threads."""

    def migrate(self) -> int:
        """Bring the tables to the current version; returns how many migrations ran.

        Harmless when repeated and when several processes start at once.

        Raises:
            Unavailable: the database cannot be reached.
            SettingsError: a newer version of the product made the tables.
        """

    def ping(self) -> None:
        """Return when the database answers and has its tables, of this version or a newer one.

        Raises:
            Unavailable: it does not.
        """

    def write(self, traces: Sequence[TraceBatch], rejects: Sequence[Reject], received_ns: int) -> Written:
        """Store a group in one transaction; when this returns, all of it is durable and can be queried.

        `traces` come in trace id order, so that two writers never wait for each other in a circle. A span or log
        event already stored is left as it is and counted. A trace seen for the first time whose `assembly` is given
        gets its derived rows in the same transaction; any other trace that has spans and got something new is marked
        for the background assembler.

        Raises:
            Unavailable: nothing was stored, the same call may succeed later.
            InvalidInput: the database refuses a value; nothing was stored, repeating is useless.
        """

    def due_traces(self, now_ns: int, limit: int) -> list[str]:
        """Ids of traces marked for assembly whose pause is over, longest waiting first.

        Raises:
            Unavailable: the database cannot be reached.
        """

    def reassemble(self, trace_id: str, assemble: Assemble, now_ns: int) -> bool:
        """Replace everything derived from a marked trace by `assemble(its spans, its log events)`, in one transaction.

        One caller at a time assembles a trace, in whichever process. Spans may be added to it meanwhile, without
        waiting for the assembly: then `assemble` is called again, until it saw all of the trace.

        Returns False when another caller is at work on the trace or nothing is to be done. A crash in between leaves
        the trace marked, so it is assembled again.

        Raises:
            Unavailable: the database cannot be reached.
        """

    def remap(self, trace_ids: Sequence[str], assemble: Assemble, now_ns: int, *, write: bool = True) -> Remapped:
        """Replace everything derived from these traces by what `assemble` makes of them, in one transaction.

        Traces that are marked for assembly are done with it. Spans may be added meanwhile, without waiting; then
        `assemble` is called again for their trace. A trace that is gone, or has no spans, is left out; so is one whose
        assembly raises. Without `write` nothing is replaced and the answer is the same.

        Raises:
            Unavailable: the database cannot be reached; every trace has all of its old rows or all of its new ones.
        """

    def spans(self, trace_id: str) -> list[Span]:
        """All spans of a trace as they were received, by start time, then id; empty for an unknown trace.

        Raises:
            Unavailable: the database cannot be reached.
        """

    def logs(self, trace_id: str) -> list[LogEvent]:
        """All log events of a trace as they were received, by time, then content; empty for an unknown trace.

        Raises:
            Unavailable: the database cannot be reached.
        """

    def close(self) -> None:
        """Release connections and files. Calling it twice is harmless."""
