"""Many traces assembled again, beside writers: read as of one moment, assembled while nobody waits, then replaced.

What changed between reading and replacing is left for the next try; the last try holds the rows of its traces, so that
writers of these wait (ADR 0020).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..model import Assembly, StageEvent
from ..values import plain_json
from .archive import Archived, Reading, read_traces
from .base import Assemble
from .named_sql import statement
from .remap_records import Remapped
from .replacing import listed_ids, replace_derived
from .writing import SqlStore, Transaction

_LOG = logging.getLogger(__name__)
_TRIES: Final = 3
_STATE: Final = "SELECT trace_id, span_count, log_count, assemblies, received_ns FROM trace WHERE span_count > 0 AND "
_STAGES: Final = """
SELECT trace_id, stage_id, stage_type, run_id, stage_name, parent_stage_id, status, attempt, tokens_in, tokens_out,
    CAST(attributes AS text)
FROM stage_event WHERE """
_IDENTITY: Final = 2

State = dict[str, tuple[Any, ...]]
# What people see of a stage, by its id; the type comes first.
Shown = dict[str, tuple[Any, ...]]


class SqlRemapping(SqlStore):
    """`Store.remap` for every database."""

    def remap(self, trace_ids: Sequence[str], assemble: Assemble, now_ns: int, *, write: bool = True) -> Remapped:
        """See `Store.remap`."""
        left, done = sorted(set(trace_ids)), Remapped()
        for _ in range(_TRIES):
            with self._snapshot() as tx:
                attempt = _attempt(tx, self.dialect, left, assemble)
            if not write:
                return attempt.result(frozenset(left))
            same = self._replace_same(attempt, now_ns)
            done += attempt.result(same)
            left = [trace_id for trace_id in attempt.states if trace_id not in same]
            if not left:
                return done
        return done + self._remap_locked(left, assemble, now_ns)

    def _replace_same(self, attempt: "_Attempt", now_ns: int) -> frozenset[str]:
        """Replace what was derived from traces that are as they were read; gives those, and the ones that failed."""
        with self._begin(durable=False) as tx:
            now = _states(tx, self.dialect, list(attempt.states), locked=True)
            same = frozenset(trace_id for trace_id, state in now.items() if state == attempt.states[trace_id])
            _replace(tx, self.dialect, [made for made in attempt.assemblies if made.trace_id in same], now_ns)
        gone = attempt.states.keys() - now.keys()
        for trace_id in gone:
            del attempt.states[trace_id]
        return same

    def _remap_locked(self, trace_ids: Sequence[str], assemble: Assemble, now_ns: int) -> Remapped:
        """Assemble while writers of these traces wait."""
        with self._begin(durable=False) as tx:
            _states(tx, self.dialect, trace_ids, locked=True)
            attempt = _attempt(tx, self.dialect, trace_ids, assemble)
            _replace(tx, self.dialect, attempt.assemblies, now_ns)
        return attempt.result(frozenset(trace_ids))


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Traces as they were read: their state, their assemblies in trace id order, and what people see before."""

    states: State
    assemblies: list[Assembly]
    spans: dict[str, int]
    before: dict[str, Shown]

    def result(self, of: frozenset[str]) -> Remapped:
        """What became of these traces, when they are replaced."""
        made = [assembly for assembly in self.assemblies if assembly.trace_id in of]
        compared = [_differing(self.before.get(one.trace_id, {}), _shown(one.stages)) for one in made]
        assembled = {assembly.trace_id for assembly in self.assemblies}
        return Remapped(
            traces=len(made),
            spans=sum(self.spans[assembly.trace_id] for assembly in made),
            changed=sum(differs for differs, _ in compared),
            retyped=sum(retyped for _, retyped in compared),
            failed=tuple(trace_id for trace_id in self.states if trace_id in of and trace_id not in assembled),
        )


def _attempt(tx: Reading, dialect: str, trace_ids: Sequence[str], assemble: Assemble) -> _Attempt:
    states = _states(tx, dialect, trace_ids, locked=False)
    archived = read_traces(tx, dialect, list(states))
    assemblies = [made for one in archived if (made := _assembled(one, assemble)) is not None]
    return _Attempt(
        states, assemblies, {one.trace_id: len(one.spans) for one in archived}, _shown_now(tx, dialect, trace_ids)
    )


def _assembled(archived: Archived, assemble: Assemble) -> Assembly | None:
    try:
        return assemble(archived.spans, archived.logs)
    except Exception:  # noqa: BLE001 - whatever is wrong with one trace, the others go on
        _LOG.exception("trace %s could not be assembled", archived.trace_id)
        return None


def _states(tx: Reading, dialect: str, trace_ids: Sequence[str], *, locked: bool) -> State:
    """What each write to a trace and each assembly of it changes; in trace id order, as locks are taken."""
    lock = statement(dialect, "for_update", frozenset()) if locked else ""
    sql = f"{_STATE}{statement(dialect, 'of_listed_traces', frozenset())} ORDER BY trace_id {lock}"
    return {row[0]: row[1:] for row in tx.fetch(sql, (listed_ids(trace_ids),))}


def _replace(tx: Transaction, dialect: str, assemblies: Sequence[Assembly], now_ns: int) -> None:
    if assemblies:
        replace_derived(tx, dialect, assemblies, now_ns)


def _shown_now(tx: Reading, dialect: str, trace_ids: Sequence[str]) -> dict[str, Shown]:
    found: dict[str, Shown] = {}
    for row in tx.fetch(_STAGES + statement(dialect, "of_listed_traces", frozenset()), (listed_ids(trace_ids),)):
        found.setdefault(row[0], {})[row[1]] = row[_IDENTITY:]
    return found


def _shown(stages: Sequence[StageEvent]) -> Shown:
    return {
        stage.stage_id: (
            stage.stage_type,
            stage.run_id,
            stage.stage_name,
            stage.parent_stage_id,
            stage.status,
            stage.attempt,
            stage.tokens_in,
            stage.tokens_out,
            plain_json(stage.attributes),
        )
        for stage in stages
    }


def _differing(before: Shown, after: Shown) -> tuple[bool, int]:
    """Whether the stages differ, and how many have another type, are new or have vanished."""
    if before == after:
        return False, 0
    kept = {stage_id for stage_id in before.keys() & after.keys() if before[stage_id][0] == after[stage_id][0]}
    return True, len(before.keys() | after.keys()) - len(kept)
