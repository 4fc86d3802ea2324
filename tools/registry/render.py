"""The registry as a Python module, a page and a JSON Schema: text each, the same for the same registry."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from .source import PREFIX, Attribute, Event, Group, Registry

_READING_PARTS: Final = ("identity", "context", "field")
_SCHEMA_TYPES: Final[dict[str, dict[str, Any]]] = {
    "string": {"type": "string"},
    "enum": {"type": "string"},
    "int": {"type": "integer"},
    "double": {"type": "number"},
    "boolean": {"type": "boolean"},
    "string[]": {"type": "array", "items": {"type": "string"}},
    "double[]": {"type": "array", "items": {"type": "number"}},
    "any": {},
}
_LINE: Final = 120
_LEVELS: Final = {"required": "required", "recommended": "recommended", "opt_in": "opt-in"}


# The Python module.


def names_module(registry: Registry) -> str:
    """`conventions/names.py`: a constant per name, the values of enums, and the table of what fills which field."""
    return "\n".join([*_names_head(), *_constants(registry), *_values(registry), *_fills(registry)]) + "\n"


def _names_head() -> Iterator[str]:
    yield '"""Names of `evalvault.*` attributes and events. Made from registry.yaml by `make registry`: change that."""'
    yield ""
    yield "from typing import Final"


def _constants(registry: Registry) -> Iterator[str]:
    for group in registry.groups:
        yield f"\n# {group.title}."
        for attribute in group.attributes:
            yield from _constant(attribute.constant, attribute.key, attribute.brief)
    yield "\n# Events."
    for event in registry.events:
        yield from _constant(event.constant, event.name, event.brief.split(". ")[0])


def _constant(name: str, value: str, brief: str) -> Iterator[str]:
    yield f'{name}: Final = "{value}"'
    yield f'"""{brief[0].upper()}{brief[1:].removesuffix(".")}."""'


def _values(registry: Registry) -> Iterator[str]:
    yield "\n# Values of enumerations, in the order of the registry."
    for attribute in registry.attributes:
        if attribute.members:
            words = ", ".join(f'"{value}"' for value in attribute.members)
            lines = [f"{attribute.constant}_VALUES: Final = ("]
            lines += [f'    "{value}",' for value in attribute.members]
            short = f"{attribute.constant}_VALUES: Final = ({words})"
            yield from [short] if len(short) <= _LINE else [*lines, ")"]


def _fills(registry: Registry) -> Iterator[str]:
    yield "\n# Attribute, part of a reading, field there, coercion. Of two for one field the first wins."
    yield "FILLS: Final[tuple[tuple[str, str, str, str], ...]] = ("
    for attribute in registry.attributes:
        if attribute.part in _READING_PARTS:
            yield f'    ({attribute.constant}, "{attribute.part}", "{attribute.name}", "{attribute.read}"),'
    yield ")"
    yield "# The same for the attributes of an asset event."
    yield "ASSET_FILLS: Final[tuple[tuple[str, str, str], ...]] = ("
    for attribute in registry.attributes:
        if attribute.part == "asset":
            yield f'    ({attribute.constant}, "{attribute.name}", "{attribute.read}"),'
    yield ")"


# The page.


def page(registry: Registry) -> str:
    """`docs/attributes.md`: a table per group, the events, and the older names that are still read."""
    parts = [_PAGE_HEAD, *map(_section, registry.groups), _events(registry), _renamed(registry)]
    return "\n\n".join(parts) + "\n"


_PAGE_HEAD: Final = """\
# The `evalvault.*` attributes

<!-- Made from src/evalvault_otel/conventions/registry.yaml by `make registry`: change that. -->

Our own names, for applications that label their spans themselves. They win over every other convention. An application
that is instrumented otherwise needs none of them: see [conventions](conventions.md). For names of your own there are
[rules](rules.md).

"Becomes" is the name that a stage has it by, in its attributes, its own fields or its metadata. A value of another type
is read where its meaning is clear: `"5"` and `5.0` are the int 5, an int is taken for a double, JSON text for a list.
The [JSON Schema](evalvault-attributes.schema.json) describes a map of attributes as a well-behaved sender makes it."""


def _section(group: Group) -> str:
    lines = [f"## {group.title}", "", " ".join(filter(None, (group.brief, group.note))), ""]
    lines += ["| Attribute | Type | Level | Becomes | Example | Meaning |", "|---|---|---|---|---|---|"]
    lines += [_row(attribute) for attribute in group.attributes if attribute.renamed_to is None]
    return "\n".join([*lines, *_values_in_words(group)])


def _row(attribute: Attribute) -> str:
    level = _LEVELS.get(attribute.level) or f"if {attribute.condition}"
    becomes = f"`{attribute.name}`" if attribute.name else "(archive)"
    cells = (f"`{attribute.key}`", attribute.type, level, becomes, _example(attribute), attribute.brief)
    return f"| {' | '.join(cells)} |"


def _example(attribute: Attribute) -> str:
    first = attribute.examples[0]
    return f"`{first if isinstance(first, str) else json.dumps(first)}`"


def _values_in_words(group: Group) -> Iterator[str]:
    for attribute in group.attributes:
        if attribute.renamed_to is None and (attribute.members or attribute.note):
            values = ", ".join(f"`{value}`" for value in attribute.members)
            said = [f"Values: {values}."] if values else []
            yield f"\n`{attribute.key}`: {' '.join([*said, *([attribute.note] if attribute.note else [])])}"


def _events(registry: Registry) -> str:
    lines = ["## Events"]
    for event in registry.events:
        if event.renamed_to is None:
            lines += ["", f"`{event.name}`: {' '.join(filter(None, (event.brief, event.note)))}", *_event_table(event)]
    return "\n".join(lines)


def _event_table(event: Event) -> Iterator[str]:
    yield from ("", "| Attribute | Level |", "|---|---|")
    for key, level in event.attributes.items():
        yield f"| `{key}` | {_LEVELS.get(level, 'one of them')} |"


def _renamed(registry: Registry) -> str:
    lines = ["## Older names", "", "Still read, wherever the newer name is not there.", ""]
    lines += ["| Older name | Now |", "|---|---|"]
    lines += [f"| `{old.key}` | `{old.renamed_to}` |" for old in registry.attributes if old.renamed_to]
    lines += [f"| event `{old.name}` | event `{old.renamed_to}` |" for old in registry.events if old.renamed_to]
    return "\n".join(lines)


# The JSON Schema.


def schema(registry: Registry) -> str:
    """`docs/evalvault-attributes.schema.json`: a map of attributes, with events under `$defs`."""
    said = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evalvault.* attributes of a span or resource",
        "description": "Made from registry.yaml. Attributes of other namespaces are left alone.",
        "type": "object",
        "properties": {attribute.key: _property(attribute) for attribute in registry.attributes},
        "propertyNames": _known_or_foreign(attribute.key for attribute in registry.attributes),
        "$defs": {event.name: _event_schema(event, registry) for event in registry.events},
    }
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def _known_or_foreign(keys: Iterable[str]) -> dict[str, Any]:
    """A name of our namespace that is not in the registry is a slip of the pen."""
    return {"anyOf": [{"enum": sorted(keys)}, {"not": {"pattern": f"^{PREFIX[:-1]}\\."}}]}


def _property(attribute: Attribute) -> dict[str, Any]:
    said = {"description": attribute.brief, **_SCHEMA_TYPES[attribute.type], "examples": list(attribute.examples)}
    if attribute.pattern is not None:
        said["pattern"] = attribute.pattern
    elif attribute.members:
        said["enum"] = list(attribute.members)
    if attribute.minimum is not None:
        said["minimum"] = attribute.minimum
    if attribute.renamed_to is not None:
        said["deprecated"] = True
    return said


def _event_schema(event: Event, registry: Registry) -> dict[str, Any]:
    by_key = {attribute.key: attribute for attribute in registry.attributes}
    either = [key for key, level in event.attributes.items() if level == "conditionally_required"]
    said: dict[str, Any] = {
        "description": event.brief,
        "type": "object",
        "properties": {key: _property(by_key[key]) for key in event.attributes},
        "required": [key for key, level in event.attributes.items() if level == "required"],
    }
    if either:
        said["anyOf"] = [{"required": [key]} for key in either]
    if event.renamed_to is not None:
        said["deprecated"] = True
    return said
