"""`asset(...)`: which asset was used, as an event of the span that is active at that moment (ADR 0021).

So the order, nesting, threads, tasks and exceptions of the work decide where a use belongs, and nothing else does. An
SDK keeps 128 events of a span: from the 101st use on they go into the attribute `evalvault.assets`, and where that is
full, or the span has ended, into a span of their own below it. None is lost.
"""

import json
import threading
import time
from collections.abc import Callable
from enum import Enum
from itertools import count
from typing import Any, Final, TypedDict, Unpack
from weakref import WeakKeyDictionary

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import Span, get_current_span, set_span_in_context

from ..conventions import names
from . import compat, guard
from .context import STAGE_KEY

FOLLOW_UP: Final = "evalvault.follow_up"
"""Name of the spans that carry what their parent had no place for. They are no stages."""
MAX_EVENTS: Final = 100
MAX_AGGREGATE: Final = 48_000  # characters; a server reads JSON text in attributes up to 64 KiB

_PREFIX: Final = "evalvault.asset."
_UNVERSIONED: Final = "unversioned"


class AssetFields(TypedDict, total=False):
    """What can be said of a use besides kind and name; docs/attributes.md has their meaning."""

    version: object
    id: object
    digest: str | None
    origin: str | None
    fallback: bool | None
    subtype: str | None
    role: str | None
    scope: str | None
    engine: str | None
    status: str | None
    cache_hit: bool | None
    load_duration: float | None


def _text(said: object) -> str:
    return said if said.__class__ is str else str(said.value if isinstance(said, Enum) else said)


_FIELDS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "version": (names.ASSET_VERSION, _text),
    "id": (names.ASSET_ID, _text),
    "digest": (names.ASSET_DIGEST, _text),
    "origin": (names.ASSET_ORIGIN, _text),
    "fallback": (names.ASSET_FALLBACK, bool),
    "subtype": (names.ASSET_SUBTYPE, _text),
    "role": (names.ASSET_ROLE, _text),
    "scope": (names.ASSET_SCOPE, _text),
    "engine": (names.ASSET_ENGINE, _text),
    "status": (names.ASSET_STATUS, _text),
    "cache_hit": (names.ASSET_CACHE_HIT, bool),
    "load_duration": (names.ASSET_LOAD_DURATION, float),
}

Said = dict[str, Any]


def asset(kind: str, name: str | None = None, **fields: Unpack[AssetFields]) -> None:
    """The work going on now uses this asset: an event `evalvault.asset.used` on the current span.

    `kind` is `prompt`, `policy`, `query` … or a word of your own; a name or an `id` is needed. All values are copied:
    what happens to them afterwards changes nothing. `version` may be a number or text; `load_duration` is in seconds.
    Without a current span nothing is recorded: that is counted, with one warning. Never raises (in strict mode:
    `WrongUse` where kind, or both name and id, are missing, or a field is unknown).
    """
    try:
        said: Said = {
            names.ASSET_KIND: kind if kind.__class__ is str else _text(kind),
            names.ASSET_VERSION: _UNVERSIONED,
        }
        if name is not None:
            said[names.ASSET_NAME] = name if name.__class__ is str else _text(name)
        for field, value in fields.items():
            if value is not None:
                key, read = _FIELDS[field]
                said[key] = read(value)
        if not kind or not (name or fields.get("id")):
            guard.wrong("asset without a name", f"an asset needs a kind and a name or an id, not {kind!r}, {name!r}")
            return
        _use(get_current(), said)
    except KeyError as error:
        guard.wrong("asset field", f"unknown field of an asset: {error}; known are {', '.join(_FIELDS)}")
    except Exception as error:  # noqa: BLE001 - called in the program's thread
        guard.failed("asset", error)


def use_on(context: Context, kind: str, name: str | None, fields: AssetFields) -> None:
    """As `asset`, on the span of `context`."""
    token = None
    try:
        token = attach(context)
        asset(kind, name, **fields)
    finally:
        if token is not None:
            compat.detach(token)


def _use(context: Context, said: Said) -> None:
    span = get_current_span(context)
    if span.is_recording():
        uses = _by_span.get(span)
        if uses is None:
            uses = _first_on(span, context)
        uses.add(span, said)
    elif compat.has_ended(span):
        _follow_up(context, [(said, time.time_ns())])
    elif not span.get_span_context().is_valid:
        guard.note("asset without a span", "an asset was used where no span is active: it is not recorded")


class _Uses:
    """The uses that one span recorded: how many, and those that are no events."""

    __slots__ = ("_at_end", "_events", "_length", "_limit", "_lock", "_numbers", "_rest", "_texts")

    def __init__(self, span: Span, *, at_end: bool) -> None:
        self._numbers = count()
        self._lock = threading.Lock()
        self._events = min(MAX_EVENTS, compat.event_limit(span) * MAX_EVENTS // 128)
        self._limit = min(MAX_AGGREGATE, compat.value_limit(span, MAX_AGGREGATE))
        self._at_end = at_end
        self._texts: list[str] = []
        self._length = 2
        self._rest: list[tuple[Said, int]] = []

    def add(self, span: Span, said: Said) -> None:
        if next(self._numbers) < self._events:
            span.add_event(names.ASSET_USED_EVENT, said)
            return
        with self._lock:
            self._further(span, said)

    def _further(self, span: Span, said: Said) -> None:
        now = time.time_ns()
        text = _entry(said, now)
        if not self._rest and self._length + len(text) + 1 <= self._limit:
            self._texts.append(text)
            self._length += len(text) + 1
            if not self._at_end:
                self._write(span)
        elif self._at_end:
            self._rest.append((said, now))
        else:
            _follow_up(set_span_in_context(span), [(said, now)])

    def _write(self, span: Span) -> None:
        if self._texts:
            span.set_attribute(names.ASSETS, f"[{','.join(self._texts)}]")

    def close(self, span: Span) -> None:
        """The span is about to end: write what was kept for this moment; what comes after is written at once."""
        with self._lock:
            self._at_end = False
            self._write(span)
            rest, self._rest = self._rest, []
        for first in range(0, len(rest), self._events or 1):
            _follow_up(set_span_in_context(span), rest[first : first + (self._events or 1)])


_by_span: Final[WeakKeyDictionary[Span, _Uses]] = WeakKeyDictionary()
_making: Final = threading.Lock()


def _first_on(span: Span, context: Context) -> _Uses:
    """Spans of our stages tell when they end, so their aggregate is written once; other spans' at each use."""
    stage: Any = context.get(STAGE_KEY)
    with _making:
        return _by_span.setdefault(span, _Uses(span, at_end=stage is not None and stage.span is span))


@guard.guarded
def close(span: Span) -> None:
    """Called by a stage before its span ends."""
    uses = _by_span.pop(span, None)
    if uses is not None:
        uses.close(span)


def _entry(said: Said, now_ns: int) -> str:
    """A use as an item of `evalvault.assets`, with the time of day it happened, which an event has by itself."""
    entry = {key.removeprefix(_PREFIX): value for key, value in said.items()}
    return json.dumps({**entry, "time_unix_nano": now_ns}, separators=(",", ":"))


def _follow_up(context: Context, uses: list[tuple[Said, int]]) -> None:
    """A span below the one in `context`, with these uses as its events."""
    span = compat.tracer().start_span(FOLLOW_UP, context, start_time=uses[0][1])
    for said, when in uses:
        span.add_event(names.ASSET_USED_EVENT, said, when)
    span.end(uses[-1][1])
