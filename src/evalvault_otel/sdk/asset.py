"""`asset(...)`: which asset was used, as an event of the span that is active at that moment (ADR 0021).

So the order, nesting, threads, tasks and exceptions of the work decide where a use belongs, and nothing else does. An
SDK keeps 128 events of a span: from the 101st use on they go into the attribute `evalvault.assets`, and where that is
full, or the span has ended, into a span of their own below it. None is lost.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from itertools import count
from typing import Any, Final, TypedDict, Unpack
from weakref import WeakKeyDictionary

from opentelemetry.context import Context, attach, get_current, get_value
from opentelemetry.trace import INVALID_SPAN, Span, get_current_span, set_span_in_context

from ..conventions import names
from ..text import without_surrogates
from . import compat, guard
from .context import STAGE_KEY

FOLLOW_UP: Final = "evalvault.follow_up"
"""Name of the spans that carry what their parent had no place for. They are no stages."""
MAX_EVENTS: Final = 100
MAX_AGGREGATE: Final = 48_000  # characters; a server reads JSON text in attributes up to 64 KiB

_PREFIX: Final = "evalvault.asset."
_UNVERSIONED: Final = "unversioned"


class AssetDetails(TypedDict, total=False):
    """What can be said of a use besides what identifies the asset; docs/attributes.md has their meaning."""

    fallback: bool | None
    subtype: str | None
    role: str | None
    scope: str | None
    engine: str | None
    status: str | None
    cache_hit: bool | None
    load_duration: float | None


class AssetFields(AssetDetails, total=False):
    """What can be said of a use besides kind and name."""

    version: object
    id: object
    origin: str | None
    digest: str | None


def _text(said: object) -> str:
    return without_surrogates(said if isinstance(said, str) else str(said.value if isinstance(said, Enum) else said))


_DETAILS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "fallback": (names.ASSET_FALLBACK, bool),
    "subtype": (names.ASSET_SUBTYPE, _text),
    "role": (names.ASSET_ROLE, _text),
    "scope": (names.ASSET_SCOPE, _text),
    "engine": (names.ASSET_ENGINE, _text),
    "status": (names.ASSET_STATUS, _text),
    "cache_hit": (names.ASSET_CACHE_HIT, bool),
    "load_duration": (names.ASSET_LOAD_DURATION, float),
}

Said = Mapping[str, Any]


def asset(  # noqa: PLR0913 - what an asset is known by
    kind: str,
    name: str | None = None,
    *,
    version: object = None,
    id: object = None,  # noqa: A002 - the word of the registry
    origin: str | None = None,
    digest: str | None = None,
    **details: Unpack[AssetDetails],
) -> None:
    """The work going on now uses this asset: an event `evalvault.asset.used` on the current span.

    `kind` is `prompt`, `policy`, `query` … or a word of your own; a name or an `id` is needed. All values are copied:
    what happens to them afterwards changes nothing. `version` may be a number or text; `load_duration` is in seconds.
    Without a current span nothing is recorded: that is counted, with one warning. Never raises (in strict mode:
    `WrongUse` where kind, or both name and id, are missing, or a detail is unknown).
    """
    try:
        if not kind or not (name or id):
            guard.wrong("asset without a name", f"an asset needs a kind and a name or an id, not {kind!r}, {name!r}")
            return
        # A program uses the same few assets all the time. What may change its text later is read at each call.
        make = _said if version.__class__ in _CONSTANT and id.__class__ in _CONSTANT else _said.__wrapped__
        said = make(kind, name, version, id, origin, digest)
        if details:
            said = {**said, **_read(details)}
        # A context never changes, so that what was found for it stays true. One tuple: threads see all of it or none.
        context, (known, span, uses) = get_current(), _Process.last
        if context is not known:
            span, uses = _found_in(context)
        if not span.is_recording():
            _without_span(span, said)
        elif uses is None or next(uses.numbers) < uses.events:
            span.add_event(names.ASSET_USED_EVENT, said)
        else:
            uses.add(span, said)
    except Exception as error:  # noqa: BLE001 - called in the program's thread
        guard.failed("asset", error)


_CONSTANT: Final = frozenset({str, int, type(None)})


@lru_cache(maxsize=1000, typed=True)
def _said(  # noqa: PLR0913, PLR0917 - as `asset`
    kind: str,
    name: str | None,
    version: object,
    id: object,  # noqa: A002 - as `asset`
    origin: str | None,
    digest: str | None,
) -> Said:
    said = {
        names.ASSET_KIND: kind,
        names.ASSET_VERSION: _UNVERSIONED if version is None else version,
        names.ASSET_NAME: name or None,
        names.ASSET_ID: id,
        names.ASSET_ORIGIN: origin,
        names.ASSET_DIGEST: digest,
    }
    return {key: _text(value) for key, value in said.items() if value is not None}


def _read(details: AssetDetails) -> Said:
    found = {}
    for field, value in details.items():
        if field not in _DETAILS:
            guard.wrong("asset field", f"unknown field {field!r} of an asset; known are {', '.join(_DETAILS)}")
        elif value is not None:
            key, read = _DETAILS[field]
            found[key] = read(value)
    return found


def use_on(context: Context, kind: str, name: str | None, fields: AssetFields) -> None:
    """As `asset`, on the span of `context`."""
    token = attach(context)
    try:
        asset(kind, name, **fields)
    finally:
        compat.detach(token)


def _without_span(span: Span, said: Said) -> None:
    """Of a span that has ended, as in a task that outlives it, the use is carried by another."""
    if compat.has_ended(span):
        _follow_up(get_current(), [(said, time.time_ns())])
    elif not span.get_span_context().is_valid:
        guard.note("asset without a span", "an asset was used where no span is active: it is not recorded")


class _Uses:
    """The uses that one span recorded: how many, and those that are no events."""

    __slots__ = ("_at_end", "_length", "_limit", "_lock", "_rest", "_texts", "events", "numbers")

    def __init__(self, span: Span, *, at_end: bool) -> None:
        self.numbers = count()
        self._lock = threading.Lock()
        self.events = min(MAX_EVENTS, compat.event_limit(span) * MAX_EVENTS // 128)
        self._limit = min(MAX_AGGREGATE, compat.value_limit(span, MAX_AGGREGATE))
        self._at_end = at_end
        self._texts: list[str] = []
        self._length = 2
        self._rest: list[tuple[Said, int]] = []

    def add(self, span: Span, said: Said) -> None:
        """One for which there is no event left."""
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

    def put_elsewhere(self) -> None:
        """Nothing that is put on this span is ever sent."""
        self.events = self._limit = 0

    def close(self, span: Span) -> None:
        """The span is about to end: write what was kept for this moment; what comes after is written at once."""
        with self._lock:
            self._at_end = False
            self._write(span)
            rest, self._rest = self._rest, []
        for first in range(0, len(rest), self.events or 1):
            _follow_up(set_span_in_context(span), rest[first : first + (self.events or 1)])


_by_span: Final[WeakKeyDictionary[Span, _Uses]] = WeakKeyDictionary()


class _Process:
    """When this process was forked (in nanoseconds since the epoch): a span from before is its parent's to end."""

    forked_ns = 0
    last: tuple[Context | None, Span, _Uses | None] = (None, INVALID_SPAN, None)
    """The context of the last use, its span and what is known of that."""


def _found_in(context: Context) -> tuple[Span, _Uses | None]:
    """The current span and its uses; None where nothing can be remembered of it, as of some spans of other SDKs."""
    span = get_current_span(context)
    try:
        uses = (_by_span.get(span) or _first_on(span)) if span.is_recording() else None
    except TypeError:
        uses = None
    _Process.last = (context, span, uses)
    return span, uses


def _first_on(span: Span) -> _Uses:
    """Spans of our stages tell when they end, so their aggregate is written once; other spans' at each use."""
    started: int = getattr(span, "start_time", None) or _Process.forked_ns
    if started < _Process.forked_ns:
        uses = _Uses(span, at_end=False)
        uses.put_elsewhere()
    else:
        stage: Any = get_value(STAGE_KEY)
        uses = _Uses(span, at_end=stage is not None and stage.span is span)
    return _by_span.setdefault(span, uses)


def _after_fork() -> None:
    _Process.forked_ns = time.time_ns()
    _Process.last = (None, INVALID_SPAN, None)
    _by_span.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def close(span: Span) -> None:
    """Called by a stage before its span ends."""
    uses = _by_span.get(span)
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
