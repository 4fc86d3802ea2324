"""Which assets a stage used: from events, from the aggregate attribute, and from what conventions say in passing.

An asset belongs to the stage whose span recorded it, or to the nearest stage above, also when that stage raised.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..conventions.coerce import boolean, parse_json, text
from ..conventions.evalvault import ASSET_EVENTS
from .nodes import Node

_SINGULAR = {
    **{f"{kind}s": kind for kind in ("prompt", "mapping", "source", "schema", "catalog", "resolver", "screen", "tool")},
    **{"policies": "policy", "queries": "query", "models": "model", "indexes": "index", "indices": "index"},
}
_PREFIX = "evalvault.asset."

# Assets that other conventions name: kind, field with the name, field with the version.
_BY_CONVENTION = (
    ("prompt", "prompt_name", "prompt_version"),
    ("tool", "tool_name", None),
    ("model", "model_name", None),
)
_CALLS_MODEL = frozenset({"generation", "output", "embedding", "rerank"})


@dataclass(frozen=True, slots=True)
class Recorded:
    """One use of an asset as recorded, before it is given to a stage."""

    kind: str
    name: str
    asset_id: str | None
    version: str | None
    digest: str | None
    origin: str | None
    fallback: bool
    subtype: str | None
    role: str | None
    used_ns: int | None


def recorded(node: Node) -> Iterator[Recorded]:
    """The asset uses that this span recorded, in its own order. Entries without kind or name are left out."""
    for event in node.span.events:
        if event.name in ASSET_EVENTS:
            yield from _recorded(event.attributes, _EVENT_KEYS, event.time_ns)
    aggregate = parse_json(node.reading.identity.get("assets"))
    for entry in aggregate if isinstance(aggregate, list) else ():
        if isinstance(entry, Mapping):
            yield from _recorded(entry, _ENTRY_KEYS, None)


_ENTRY_KEYS = ("kind", "name", "id", "version", "digest", "origin", "fallback", "subtype", "role", "type")
_EVENT_KEYS = tuple(f"{_PREFIX}{key}" for key in _ENTRY_KEYS)


def _recorded(entry: Mapping[str, Any], keys: tuple[str, ...], used_ns: int | None) -> Iterator[Recorded]:
    get = entry.get
    kind, name, asset_id, version, digest, origin, fallback, subtype, role, kind_alias = map(get, keys)
    asset_id = text(asset_id)
    kind = text(kind) or text(kind_alias)
    name = text(name) or asset_id
    if kind is None or name is None:
        return
    kind = kind.strip().lower()
    version = text(version)
    yield Recorded(
        _SINGULAR.get(kind, kind),
        name,
        asset_id,
        None if version == "unversioned" else version,
        text(digest),
        text(origin),
        bool(boolean(fallback)) or origin == "fallback",
        text(subtype),
        text(role),
        used_ns,
    )


def by_convention(stage: Node, known: Iterable[Recorded]) -> Iterator[Recorded]:
    """Assets that a foreign convention named on the stage, unless the stage recorded that asset itself."""
    have = {(use.kind, use.name) for use in known}
    for kind, name_field, version_field in _BY_CONVENTION:
        name = text(stage.fields.get(name_field))
        if name is None or (kind, name) in have or (kind == "model" and stage.stage_type not in _CALLS_MODEL):
            continue
        version = text(stage.fields.get(version_field)) if version_field else None
        yield Recorded(kind, name, None, version, None, "convention", False, None, None, None)
