"""Which assets a stage used: from events, from the aggregate attribute, and from what conventions say in passing.

An asset belongs to the stage whose span recorded it, or to the nearest stage above, also when that stage raised.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..conventions.coerce import boolean, parse_json, text
from ..conventions.evalvault import ASSET_EVENTS
from ..model import Attributes, Value
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
            yield from _recorded(_own_keys(event.attributes), event.time_ns)
    aggregate = parse_json(node.reading.identity.get("assets"))
    for entry in aggregate if isinstance(aggregate, list) else ():
        if isinstance(entry, Mapping):
            yield from _recorded(entry, None)


def _own_keys(attributes: Attributes) -> dict[str, Value]:
    return {key[len(_PREFIX) :]: value for key, value in attributes.items() if key.startswith(_PREFIX)}


def _recorded(entry: Mapping[str, Any], used_ns: int | None) -> Iterator[Recorded]:
    kind = text(entry.get("kind") or entry.get("type"))
    asset_id = text(entry.get("id"))
    name = text(entry.get("name")) or asset_id
    if kind is None or name is None:
        return
    kind = kind.strip().lower()
    version = text(entry.get("version"))
    yield Recorded(
        kind=_SINGULAR.get(kind, kind),
        name=name,
        asset_id=asset_id,
        version=None if version == "unversioned" else version,
        digest=text(entry.get("digest")),
        origin=text(entry.get("origin")),
        fallback=boolean(entry.get("fallback")) or entry.get("origin") == "fallback",
        subtype=text(entry.get("subtype")),
        role=text(entry.get("role")),
        used_ns=used_ns,
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
