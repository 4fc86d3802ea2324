"""The events of the live stream: what changed in the store, as JSON, in pages that all readers share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final, TypeVar

import orjson

from ..analysis.figures import iso
from ..analysis.stage_json import stage_json
from ..errors import InvalidInput
from ..model import AssetUse, RunTrace, StageEvent
from ..store.changes import Change, Position, RunWords
from ..store.reads import Queries

T = TypeVar("T")

KINDS: Final = ("stage", "trace", "run")

_TRACES_OF_PAGE: Final = 50
# A page ends after the trace that brings it to so many stages.
_STAGES_OF_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `data` is JSON in one line; `position`, where it is given, is what a reader has then read up to."""

    kind: str
    data: bytes
    run_ids: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    stage_type: str | None = None
    status: str | None = None
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a reader wants. `stage_type` and `status` are about stages; None is any."""

    kinds: frozenset[str] = frozenset(KINDS)
    run_id: str | None = None
    service: str | None = None
    stage_type: str | None = None
    status: str | None = None

    def has(self, event: Event) -> bool:
        """Whether the event is among them."""
        if event.kind not in self.kinds or self.run_id not in {None, *event.run_ids}:
            return False
        if self.service not in {None, *event.services}:
            return False
        if event.kind != "stage":
            return True
        return self.stage_type in {None, event.stage_type} and self.status in {None, event.status}


def kinds_of(text: str | None) -> frozenset[str]:
    """Kinds of events as a client names them, separated by commas; all if it names none.

    Raises:
        InvalidInput: one of them is no kind.
    """
    found = frozenset(part.strip() for part in (text or ",".join(KINDS)).split(",") if part.strip())
    if not found <= frozenset(KINDS):
        raise InvalidInput(f"events: {text!r} is not of {', '.join(KINDS)}, separated by commas")
    return found


@dataclass(frozen=True, slots=True)
class EventPage:
    """What changed after a position, up to another one; `more` says that there may be more already."""

    traces: tuple[tuple[Event, ...], ...]
    upto: Position
    more: bool

    def events(self, wanted: Wanted) -> Iterator[Event]:
        """The events that a reader wants, in order.

        Each trace ends in an event that carries its position, if any of it is wanted: who reads on from there gets
        all of the next trace, and of one that was cut off all again.
        """
        for events in self.traces:
            left = [event for event in events if wanted.has(event)]
            position = next(event.position for event in events if event.position)
            yield from left[:-1]
            if left:
                last = left[-1]
                yield last if last.position else _at(last, position)


def page_after(store: Queries, after: Position) -> EventPage:
    """Read the next page from the store.

    Raises:
        Unavailable: the database cannot be reached.
    """
    found = store.changes(after, _TRACES_OF_PAGE)
    parts = _by_trace(store.changed_parts([change.trace_id for change in found]))
    changes = list(_as_many_as_fit(found, parts))
    if not changes:
        return EventPage((), after, more=False)
    trace_ids = [change.trace_id for change in changes]
    stages, uses = _by_trace(store.changed_stages(trace_ids)), _by_trace(store.uses_of_traces(trace_ids))
    runs = _last_of_runs(store, changes, parts)
    traces = tuple(
        (
            *_stage_events(
                stages.get(change.trace_id, ()), uses.get(change.trace_id, ()), parts.get(change.trace_id, ())
            ),
            *map(_run_event, runs.get(change.trace_id, ())),
            _trace_event(change, parts.get(change.trace_id, ())),
        )
        for change in changes
    )
    more = len(found) == _TRACES_OF_PAGE or len(changes) < len(found)
    return EventPage(traces, changes[-1].position, more)


def heartbeat(position: Position, now_ns: int) -> Event:
    """A sign of life, and how far the reader has read."""
    return Event("heartbeat", orjson.dumps({"at": iso(now_ns)}), position=position)


def reset(asked: Position, position: Position) -> Event:
    """Says that this database never was where the reader wants to read on."""
    said = f"{asked} is later than everything in this database: it was replaced or restored"
    hint = "read what you need with GET /api/runs and GET /api/stage/events/{run_id}; the stream goes on from now"
    return Event("reset", orjson.dumps({"reason": said, "hint": hint}), position=position)


def _at(event: Event, position: Position) -> Event:
    about = (event.run_ids, event.services, event.stage_type, event.status)
    return Event(event.kind, event.data, *about, position)


def _by_trace(items: Iterable[T]) -> dict[str, list[T]]:
    return {trace_id: list(group) for trace_id, group in groupby(items, attrgetter("trace_id"))}


def _as_many_as_fit(changes: Sequence[Change], parts: Mapping[str, Sequence[RunTrace]]) -> Iterator[Change]:
    stages = 0
    for change in changes:
        if stages >= _STAGES_OF_PAGE:
            return
        stages += sum(part.stages for part in parts.get(change.trace_id, ()))
        yield change


def _last_of_runs(
    store: Queries, changes: Sequence[Change], parts: Mapping[str, Sequence[RunTrace]]
) -> dict[str, list[RunWords]]:
    """Runs by the last trace of the page that belongs to them: a run is told once a page."""
    last = {part.run_id: change.trace_id for change in changes for part in parts.get(change.trace_id, ())}
    found: dict[str, list[RunWords]] = {}
    for run in store.changed_runs(sorted(last)):
        found.setdefault(last[run.run_id], []).append(run)
    return found


def _stage_events(stages: Sequence[StageEvent], uses: Sequence[AssetUse], parts: Sequence[RunTrace]) -> Iterator[Event]:
    services = {part.run_id: frozenset({part.service}) for part in parts}
    used: dict[str, list[AssetUse]] = {}
    for use in uses:
        used.setdefault(use.stage_id, []).append(use)
    for stage in stages:
        data = orjson.dumps(stage_json(stage, used.get(stage.stage_id, ())), option=orjson.OPT_NON_STR_KEYS)
        service = services.get(stage.run_id, frozenset())
        yield Event("stage", data, frozenset({stage.run_id}), service, stage.stage_type, stage.status)


def _trace_event(change: Change, parts: Sequence[RunTrace]) -> Event:
    main = next((part for part in parts if part.run_id == change.run_id), None)
    data = {
        "trace_id": change.trace_id,
        "run_id": change.run_id,
        "run_ids": [part.run_id for part in parts],
        "service": main.service if main else None,
        "name": main.name if main else None,
        "started_at": iso(min((part.started_ns for part in parts), default=None)),
        "finished_at": iso(max((part.finished_ns for part in parts), default=None)),
        "stages": sum(part.stages for part in parts),
        "errors": sum(part.errors for part in parts),
        "assemblies": change.assemblies,
    }
    run_ids, services = frozenset(part.run_id for part in parts), frozenset(part.service for part in parts)
    return Event("trace", orjson.dumps(data), run_ids, services, position=change.position)


def _run_event(run: RunWords) -> Event:
    data = {
        "run_id": run.run_id,
        "name": run.name,
        "kind": run.kind,
        "dataset": run.dataset,
        "dataset_version": run.dataset_version,
        "service": run.service,
        "started_at": iso(run.first_ns),
        "finished_at": iso(run.last_ns),
    }
    return Event("run", orjson.dumps(data), frozenset({run.run_id}), frozenset({run.service}))
