"""Which assets a stage used: from events, from the aggregate attribute, and from what conventions say in passing.

An asset belongs to the stage whose span recorded it, or to the nearest stage above, also when that stage raised.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..conventions import names
from ..conventions.coerce import boolean, integer, number, parse_json, text
from ..conventions.evalvault import ASSET_EVENTS
from ..conventions.openinference import REDACTED
from ..conventions.tools import digest
from ..model import Value
from .context import LATEST_NS
from .nodes import Node

_SINGULAR = {
    **{f"{kind}s": kind for kind in ("prompt", "mapping", "source", "schema", "catalog", "resolver", "screen", "tool")},
    "policies": "policy",
    "queries": "query",
    "models": "model",
    "indexes": "index",
    "indices": "index",
}

# Assets that other conventions name: kind, field with the name, field with the version.
_BY_CONVENTION = (
    ("prompt", "prompt_name", "prompt_version"),
    ("tool", "tool_name", None),
    ("model", "model_name", None),
    ("policy", "policy_name", "policy_version"),
    ("source", "data_source", None),
    ("agent", "agent_name", "agent_version"),
)
_NAMES = frozenset({"_tools", *(name for _, name, _ in _BY_CONVENTION)})
_CALLS_MODEL = frozenset({"generation", "output", "embedding", "rerank"})


@dataclass(frozen=True, slots=True)
class Content:
    """What was used, apart from when and where."""

    kind: str
    name: str
    asset_id: str | None = None
    version: str | None = None
    digest: str | None = None
    origin: str | None = None
    fallback: bool = False
    subtype: str | None = None
    role: str | None = None


Loading = tuple[float | None, bool | None]
"""What loading an asset took, in milliseconds, and whether it came from a cache; None where nobody said."""
NOT_SAID: Loading = (None, None)

Recorded = tuple[Content, int, Loading]
"""An asset, when it was used, and how it was loaded, before it is given to a stage."""


def recorded(node: Node) -> list[Recorded]:
    """The asset uses that this span recorded, in its own order. Entries without kind or name are left out.

    What has no time of its own was used when the span began, or after the last use before it: entries of the aggregate
    attribute follow the events, because SDKs put there what a span has no room for in its events.
    """
    found: list[Recorded] = []
    latest_ns = node.span.start_ns
    for event in node.span.events:
        if event.name not in ASSET_EVENTS:
            continue
        said, used_ns = event.attributes, event.time_ns
        if (content := _read(said, _EVENT_KEYS)) is None:
            continue
        if not 0 < used_ns < LATEST_NS:
            used_ns = latest_ns
        elif used_ns > latest_ns:
            latest_ns = used_ns
        loading = _loading(said, _EVENT_LOADING) if _DURATION in said or _HIT in said else NOT_SAID
        found.append((content, used_ns, loading))
    if "assets" in node.reading.identity:
        found += _aggregate(node.reading.identity["assets"], latest_ns)
    return found


def _aggregate(said: Value, latest_ns: int) -> Iterator[Recorded]:
    entries = parse_json(said, _LARGEST_AGGREGATE)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and (content := _read(entry, _ENTRY_KEYS)) is not None:
            used_ns = integer(entry.get(_ENTRY_TIME)) if _ENTRY_TIME in entry else None
            if used_ns is None or not 0 < used_ns < LATEST_NS:
                used_ns = latest_ns
            latest_ns = max(latest_ns, used_ns)
            yield content, used_ns, _loading(entry, _ENTRY_LOADING)


def _loading(entry: Mapping[str, Any], keys: tuple[str, str]) -> Loading:
    said_seconds, said_hit = entry.get(keys[0]), entry.get(keys[1])
    if said_seconds.__class__ is float and said_hit is None and 0 <= said_seconds <= _LONGEST_S:  # as nearly all say it
        return said_seconds * 1000.0, None
    seconds, hit = number(said_seconds), boolean(said_hit)
    return (seconds * 1000.0 if seconds is not None and 0 <= seconds <= _LONGEST_S else None), hit


_EVENT_KEYS = (
    *(names.ASSET_KIND, names.ASSET_NAME, names.ASSET_ID, names.ASSET_VERSION, names.ASSET_DIGEST),
    *(names.ASSET_ORIGIN, names.ASSET_FALLBACK, names.ASSET_SUBTYPE, names.ASSET_ROLE, names.ASSET_TYPE_ALIAS),
)
_EVENT_LOADING = _DURATION, _HIT = names.ASSET_LOAD_DURATION, names.ASSET_CACHE_HIT
# An entry of the aggregate attribute has them without the prefix.
_PREFIX = "evalvault.asset."
_ENTRY_KEYS = tuple(key.removeprefix(_PREFIX) for key in _EVENT_KEYS)
_ENTRY_LOADING = (_DURATION.removeprefix(_PREFIX), _HIT.removeprefix(_PREFIX))
# What an event has by itself, as OTLP/JSON calls it.
_ENTRY_TIME = "time_unix_nano"
# Thousands of entries, where payloads are read up to 64 KiB only.
_LARGEST_AGGREGATE = 1024 * 1024
# A longer load is a mistake, and times of a thousand years cannot be summed.
_LONGEST_S = 1e9


def _read(entry: Mapping[str, Any], keys: tuple[str, ...]) -> Content | None:
    said = tuple(map(entry.get, keys))
    # What cannot be hashed, or is equal without being the same (1 and True, 0.0 and -0.0), is read each time.
    return _known(*said) if _CACHED.issuperset(map(type, said)) else _content(*said)


_CACHED = frozenset({str, bool, type(None)})


def _content(  # noqa: PLR0913, PLR0917 - the keys of an entry
    kind: Value,
    name: Value,
    asset_id: Value,
    version: Value,
    digest: Value,
    origin: Value,
    fallback: Value,
    subtype: Value,
    role: Value,
    kind_alias: Value,
) -> Content | None:
    said_kind, said_name, said_version = text(kind) or text(kind_alias), text(name) or text(asset_id), text(version)
    if said_kind is None or said_name is None:
        return None
    word = said_kind.strip().lower()
    return Content(
        kind=_SINGULAR.get(word, word),
        name=said_name,
        asset_id=text(asset_id),
        version=None if said_version == "unversioned" else said_version,
        digest=text(digest),
        origin=text(origin),
        fallback=bool(boolean(fallback)) or origin == "fallback",
        subtype=text(subtype),
        role=text(role),
    )


# The same few assets are used all the time.
_known = lru_cache(maxsize=10_000)(_content)


def names_some(stage: Node) -> bool:
    """Whether a foreign convention names an asset on the stage."""
    return not _NAMES.isdisjoint(stage.fields)


def by_convention(stage: Node, known: Iterable[Content]) -> Iterator[Content]:
    """Assets that a foreign convention named on the stage, unless it recorded that asset itself (`known`)."""
    fields = stage.fields
    named = [entry for entry in _BY_CONVENTION if entry[1] in fields]
    have = {(content.kind, content.name) for content in known}
    tools = dict(fields.get("_tools", ()))
    for kind, name_field, version_field in named:
        name = text(fields[name_field])
        if name is None or (kind, name) in have or (kind == "model" and stage.stage_type not in _CALLS_MODEL):
            continue
        version = text(fields.get(version_field)) if version_field else None
        made_of = _digest(fields.get("_template")) if kind == "prompt" else tools.pop(name, None)
        yield Content(kind, name, version=version, digest=made_of, origin="convention")
    for name, made_of in tools.items():
        if ("tool", name) not in have:
            yield Content("tool", name, digest=made_of, origin="convention", role=_OFFERED)


def _digest(template: Value) -> str | None:
    return digest(template) if template and template != REDACTED else None


# A tool that the model could have called; whether it did is another stage.
_OFFERED = "offered"
