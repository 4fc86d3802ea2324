"""Writing rejects: rows in, a bounded table out.

Every reject carries the size of all payloads up to its own, so the rejects that exceed a bound are a run of rows at the
oldest end, found by key. Writers of rejects take turns until their commit, so that the sizes add up, however many
processes write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ..model import Reject
from ..text import clean_text
from . import rows
from .named_sql import statement
from .rows import Table

MAX_PAYLOAD_BYTES: Final = 64 * 1024
"""Bytes kept of one payload; `size` of a reject is its full length."""


@dataclass(frozen=True, slots=True)
class RejectBounds:
    """How many rejects are kept, and how many bytes of payload of all of them together."""

    rows: int = 10_000
    payload_bytes: int = 64 * 1024 * 1024


class _Transaction(Protocol):
    """The part of `writing.Transaction` that is needed here."""

    def insert(self, table: Table, new_rows: Sequence[tuple[Any, ...]]) -> None: ...

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]: ...

    def execute(self, sql: str, params: Sequence[Any]) -> None: ...


_LATEST: Final = "SELECT upto_bytes FROM reject ORDER BY id DESC LIMIT 1"
_BEYOND_ROWS: Final = "DELETE FROM reject WHERE id <= (SELECT max(id) FROM reject) - ?"
_BEYOND_BYTES: Final = """
DELETE FROM reject
WHERE id < (SELECT id FROM reject WHERE upto_bytes - length(payload) >= ? ORDER BY id LIMIT 1)
"""


def lock(tx: _Transaction, dialect: str) -> None:
    """Wait until no other transaction writes rejects; ours then has the turn until it ends."""
    tx.fetch(statement(dialect, "lock_rejects", frozenset()), ())


def write(tx: _Transaction, dialect: str, bounds: RejectBounds, rejects: Sequence[Reject], received_ns: int) -> None:
    """Add rejects and remove the oldest ones that are beyond the bounds."""
    if not rejects:
        return
    lock(tx, dialect)
    latest = tx.fetch(_LATEST, ())
    new_rows = list(_reject_rows(rejects[-bounds.rows :], bounds, received_ns, latest[0][0] if latest else 0))
    tx.insert(rows.REJECT, new_rows)
    tx.execute(_BEYOND_ROWS, (bounds.rows,))
    excess = new_rows[-1][-1] - bounds.payload_bytes
    if excess > 0:
        tx.execute(_BEYOND_BYTES, (excess,))


def _reject_rows(
    rejects: Sequence[Reject], bounds: RejectBounds, received_ns: int, upto_bytes: int
) -> Iterator[tuple[Any, ...]]:
    most = min(MAX_PAYLOAD_BYTES, bounds.payload_bytes)
    for reject in rejects:
        payload = reject.payload[:most]
        upto_bytes += len(payload)
        yield (
            received_ns,
            reject.transport,
            clean_text(reject.peer),
            clean_text(reject.reason),
            len(reject.payload),
            payload,
            reject.signal,
            reject.encoding,
            reject.count,
            upto_bytes,
        )
