"""The registry file as records.

The form is the semantic convention YAML of OpenTelemetry Weaver (open-telemetry/weaver, schemas/semconv-syntax.md).
Only what our registry uses of it is read, and an unknown key of an attribute is an error rather than lost.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
REGISTRY = ROOT / "src" / "evalvault_otel" / "conventions" / "registry.yaml"
PREFIX = "evalvault."

_ATTRIBUTE_KEYS = frozenset(
    {"id", "type", "stability", "deprecated", "brief", "note", "examples", "requirement_level", "annotations"}
)
_ANNOTATION_KEYS = frozenset({"part", "field", "read", "pattern", "minimum"})


class RegistryError(Exception):
    """The registry file does not have the form that it should have."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. `members` are the values of an enum; `part`, `name` and `read` say what becomes of it."""

    key: str
    type: str
    brief: str
    note: str
    examples: tuple[Any, ...]
    level: str
    condition: str
    stability: str
    renamed_to: str | None
    part: str
    name: str | None
    read: str | None
    members: tuple[str, ...] = ()
    pattern: str | None = None
    minimum: int | None = None

    @property
    def constant(self) -> str:
        """The name of its Python constant; an older name would often be that of the newer one."""
        word = self.key.removeprefix(PREFIX).replace(".", "_").upper()
        return word if self.renamed_to is None else f"{word}_ALIAS"


@dataclass(frozen=True, slots=True)
class Group:
    """Attributes that belong together, in the order of precedence."""

    id: str
    title: str
    brief: str
    note: str
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """An event: attribute key -> requirement level."""

    name: str
    brief: str
    note: str
    renamed_to: str | None
    attributes: Mapping[str, str]

    @property
    def constant(self) -> str:
        """The name of its Python constant."""
        word = self.name.removeprefix(PREFIX).replace(".", "_").upper()
        return f"{word}_EVENT" if self.renamed_to is None else f"{word}_EVENT_ALIAS"


@dataclass(frozen=True, slots=True)
class Registry:
    """All of the file, in its order."""

    groups: tuple[Group, ...]
    events: tuple[Event, ...] = field(default=())

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The attributes of all groups."""
        return tuple(attribute for group in self.groups for attribute in group.attributes)


def load(path: Path = REGISTRY) -> Registry:
    """The registry of a file.

    Raises:
        RegistryError: a key or value that the form does not have; the message names the place.
    """
    return parse(path.read_text())


def parse(text: str) -> Registry:
    """The registry that YAML text holds; raises as `load`."""
    groups: list[Group] = []
    events: list[Event] = []
    for said in yaml.safe_load(text)["groups"]:
        match said["type"]:
            case "attribute_group":
                groups.append(_group(said))
            case "event":
                events.append(_event(said))
            case other:
                raise RegistryError(f"{said['id']}: groups of type {other!r} are not used here")
    return Registry(tuple(groups), tuple(events))


def _group(said: Mapping[str, Any]) -> Group:
    attributes = tuple(map(_attribute, said["attributes"]))
    return Group(said["id"], said["display_name"], said["brief"], said.get("note", ""), attributes)


def _event(said: Mapping[str, Any]) -> Event:
    levels = {entry["ref"]: _level(entry)[0] for entry in said["attributes"]}
    return Event(said["name"], said["brief"], said.get("note", ""), _renamed_to(said), levels)


def _attribute(said: Mapping[str, Any]) -> Attribute:
    key = said.get("id", "(an attribute without id)")
    _check_keys(key, said, _ATTRIBUTE_KEYS)
    kind = said["type"]
    ours = said["annotations"]["evalvault"]
    _check_keys(key, ours, _ANNOTATION_KEYS)
    level, condition = _level(said)
    return Attribute(
        key,
        "enum" if isinstance(kind, dict) else kind,
        said["brief"],
        said.get("note", ""),
        tuple(said["examples"]),
        level,
        condition,
        said["stability"],
        _renamed_to(said),
        ours["part"],
        ours.get("field"),
        ours.get("read"),
        _members(key, kind["members"]) if isinstance(kind, dict) else (),
        ours.get("pattern"),
        ours.get("minimum"),
    )


def _members(key: str, members: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    for member in members:
        if member["id"] != member["value"]:
            raise RegistryError(f"{key}: the value {member['value']!r} should be its id {member['id']!r}")
    return tuple(member["value"] for member in members)


def _level(said: Mapping[str, Any]) -> tuple[str, str]:
    level = said["requirement_level"]
    return next(iter(level.items())) if isinstance(level, dict) else (level, "")


def _renamed_to(said: Mapping[str, Any]) -> str | None:
    deprecated = said.get("deprecated")
    return None if deprecated is None else str(deprecated["renamed_to"])


def _check_keys(place: str, said: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(said.keys() - known):
        raise RegistryError(f"{place}: unknown key {', '.join(unknown)}")
