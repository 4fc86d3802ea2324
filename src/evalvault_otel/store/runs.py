"""The rows of `run`: what the traces of a run say about it, as a function of their rows in `run_trace`.

The latest trace that names a run (or its kind, data set, …) has the last word: latest by its end, then by its id, as
the text in the column `*_by` says. Such words can be merged in any order. Only where a trace takes back what it said,
because it moved to another run or changed, the row is made again from all traces of the run.

Every write also gives the row a new `change`, so that whoever kept an answer about the run knows that it is old.
"""

import secrets
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Protocol

from ..model import Assembly, RunTrace
from . import rows
from .rows import Table

# Words of a run, and the columns of `run_trace` that say them.
_WORDS = {
    "name": "run_name",
    "kind": "run_kind",
    "dataset": "dataset",
    "dataset_version": "dataset_version",
    "service": "service",
}
_LATEST = (1 << 63) - 1


class Writing(Protocol):
    """What is needed of a transaction."""

    def merge(self, table: Table, new_rows: Sequence[tuple[Any, ...]], update: str) -> None:
        """See `Transaction.merge`."""

    def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """See `Transaction.fetch`."""

    def execute(self, sql: str, params: Sequence[Any]) -> None:
        """See `Transaction.execute`."""


def _merged_word(word: str) -> str:
    later = f"excluded.{word}_by IS NOT NULL AND (run.{word}_by IS NULL OR excluded.{word}_by >= run.{word}_by)"
    return ",\n".join(
        f"{column} = CASE WHEN {later} THEN excluded.{column} ELSE run.{column} END" for column in (word, f"{word}_by")
    )


_MERGE = ",\n".join(
    (
        *map(_merged_word, _WORDS),
        "first_ns = CASE WHEN excluded.first_ns < run.first_ns THEN excluded.first_ns ELSE run.first_ns END",
        "last_ns = CASE WHEN excluded.last_ns > run.last_ns THEN excluded.last_ns ELSE run.last_ns END",
        "change = excluded.change",
    )
)

_SAID = """
SELECT trace_id, run_id, service, started_ns, finished_ns, run_name, run_kind, dataset, dataset_version FROM run_trace
"""
_TIMES = "SELECT min(started_ns), max(finished_ns) FROM run_trace WHERE run_id = ?"
_LAST_WORD = """
SELECT {column}, finished_ns, trace_id FROM run_trace WHERE run_id = ? AND {column} IS NOT NULL
ORDER BY finished_ns DESC, trace_id DESC LIMIT 1
"""
_EXTREMES = f"SELECT first_ns, last_ns, {', '.join(f'{word}_by' for word in _WORDS)} FROM run WHERE run_id = ?"  # noqa: S608 - our own names


def merge_new(tx: Writing, assemblies: Iterable[Assembly]) -> None:
    """Add what new traces say about their runs, in run id order."""
    found = run_rows(part for assembly in assemblies for part in assembly.runs)
    if found:
        tx.merge(rows.RUN, found, _MERGE)


def said_before(tx: Writing, of_these: str, traces: str) -> list[RunTrace]:
    """What traces say about their runs as it is stored now; only the fields that matter for runs are real.

    `of_these` is the condition over the list `traces`, as `of_listed_traces` has it.
    """
    return [
        RunTrace(
            trace_id, run_id, service, "", started, finished, 0, 0, (),
            run_name=name, run_kind=kind, dataset=dataset, dataset_version=version,
        )
        for trace_id, run_id, service, started, finished, name, kind, dataset, version in tx.fetch(
            f"{_SAID} WHERE {of_these}", (traces,)
        )
    ]  # fmt: skip


def replace(tx: Writing, before: Sequence[RunTrace], after: Sequence[RunTrace]) -> None:
    """Runs of traces that said `before` and say `after` now; their rows in `run_trace` are replaced already."""
    said = {(part.trace_id, part.run_id): part for part in after}
    taken_back = [part for part in before if not _covers(said.get((part.trace_id, part.run_id)), part)]
    still_said = {part.run_id for part in after}
    locks = {part.run_id: _neutral(part) for part in taken_back if part.run_id not in still_said}
    # One statement for all, in run id order: every writer locks runs in this order.
    merged = sorted([*run_rows(after), *locks.values()], key=itemgetter(0))
    if merged:
        tx.merge(rows.RUN, merged, _MERGE)
    for part in sorted(taken_back, key=lambda part: part.run_id):
        _take_back(tx, part)


def run_rows(parts: Iterable[RunTrace]) -> list[tuple[Any, ...]]:
    """One row per run, in run id order: the widest times, and the last word of each kind."""
    merged: dict[str, tuple[dict[str, str | None], dict[str, str | None], int, int]] = {}
    for part in sorted(parts, key=lambda part: (part.run_id, part.finished_ns, part.trace_id)):
        words, speakers, first, last = merged.get(part.run_id, ({}, {}, part.started_ns, part.finished_ns))
        said = {word: getattr(part, column) for word, column in _WORDS.items()}
        known = {word: value for word, value in said.items() if value is not None}
        words = {**words, **known}
        speakers = {**speakers, **dict.fromkeys(known, _speaker(part.finished_ns, part.trace_id))}
        merged[part.run_id] = words, speakers, min(first, part.started_ns), max(last, part.finished_ns)
    return [_row(run_id, *known) for run_id, known in merged.items()]


def _row(
    run_id: str, words: dict[str, str | None], speakers: dict[str, str | None], first: int, last: int
) -> tuple[Any, ...]:
    return (run_id, *map(words.get, _WORDS), first, last, *map(speakers.get, _WORDS), new_change())


def new_change() -> int:
    """A number that no run had before: drawn, since a run that is removed may come back and would count again."""
    return secrets.randbits(62)


def _speaker(finished_ns: int, trace_id: str) -> str:
    """Texts that sort as (end of the trace, its id) does."""
    return f"{finished_ns:019d}{trace_id}"


def _neutral(part: RunTrace) -> tuple[Any, ...]:
    """A row that locks the run and changes nothing of it."""
    return _row(part.run_id, {"service": part.service}, {}, _LATEST, 0)


def _covers(new: RunTrace | None, old: RunTrace) -> bool:
    """Whether merging `new` leaves nothing in the run that only `old` had said."""
    if new is None or new.finished_ns < old.finished_ns or new.started_ns > old.started_ns:
        return False
    return all(getattr(old, word) is None or getattr(new, word) is not None for word in _WORDS.values())


def _take_back(tx: Writing, part: RunTrace) -> None:
    """Make again what the run, which is locked, has only from this trace; a run without traces goes."""
    found = tx.fetch(_EXTREMES, (part.run_id,))
    if not found:  # another trace that left it before was its last
        return
    ((first, last, *speakers),) = found
    changes: dict[str, Any] = {}
    if part.started_ns <= first or part.finished_ns >= last:
        ((first, last),) = tx.fetch(_TIMES, (part.run_id,))
        if first is None:
            tx.execute("DELETE FROM run WHERE run_id = ?", (part.run_id,))
            return
        changes = {"first_ns": first, "last_ns": last}
    spoke = _speaker(part.finished_ns, part.trace_id)
    for word, speaker in zip(_WORDS, speakers, strict=True):
        # Rows of the first version know the time, not the trace.
        if speaker is not None and spoke.startswith(speaker):
            changes |= _last_word(tx, part.run_id, word)
    if changes:
        assignments = ", ".join(f"{column} = ?" for column in changes)
        tx.execute(f"UPDATE run SET {assignments} WHERE run_id = ?", (*changes.values(), part.run_id))  # noqa: S608 - our own names


def _last_word(tx: Writing, run_id: str, word: str) -> dict[str, Any]:
    found = tx.fetch(_LAST_WORD.format(column=_WORDS[word]), (run_id,))
    if not found:
        return {word: None, f"{word}_by": None}
    ((said, finished_ns, trace_id),) = found
    return {word: said, f"{word}_by": _speaker(finished_ns, trace_id)}
