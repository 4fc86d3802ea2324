"""The rules for names. A registry in, sentences about what is wrong out.

Source: OpenTelemetry semantic conventions, docs/general/naming.md and docs/general/events.md.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from .source import PREFIX, Attribute, Registry

_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*(?:\.[a-z][a-z0-9]*(?:_[a-z0-9]+)*)+")
_EVENT_NAME = re.compile(r"[a-z]+(?:[._][a-z]+)+")
_WORD = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_LEVELS: Final = frozenset({"required", "conditionally_required", "recommended", "opt_in"})
# Words that end in "s" and are one thing; token counts are named as `gen_ai.usage.input_tokens` is.
_SINGULAR: Final = frozenset({"status", "input_tokens", "output_tokens", "total_tokens"})

# How an attribute of a type may be read. A double is also read from an int: JavaScript has no difference.
_READ_AS: Final = {
    "string": {"text", "question", "citations"},
    "enum": {"text"},
    "int": {"integer"},
    "double": {"number"},
    "boolean": {"boolean"},
    "string[]": {"texts", "citations", "anything"},
    "double[]": {"numbers"},
    "any": {"anything"},
}
_EXAMPLE: Final[dict[str, Callable[[object], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "enum": lambda value: isinstance(value, str),
    "int": lambda value: type(value) is int,
    "double": lambda value: isinstance(value, float),
    "boolean": lambda value: isinstance(value, bool),
    "string[]": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "double[]": lambda value: isinstance(value, list) and all(isinstance(item, float) for item in value),
    "any": lambda value: value is not None,
}
_READ_PARTS: Final = frozenset({"identity", "context", "field", "asset"})


def lint(registry: Registry) -> list[str]:
    """What breaks the rules, a sentence each; none for a good registry."""
    found = [sentence for attribute in registry.attributes for sentence in _of_attribute(attribute)]
    return [*found, *_of_names(registry), *_of_renamed(registry), *_of_events(registry)]


def _of_attribute(attribute: Attribute) -> Iterator[str]:
    key = attribute.key
    if not _NAME.fullmatch(key):
        yield f"{key}: lower-case words of letters, digits and _, joined by dots"
    if not key.startswith(PREFIX):
        yield f"{key}: only our own namespace {PREFIX}* is ours to fill"
    if attribute.type not in _READ_AS:
        yield f"{key}: unknown type {attribute.type}"
        return
    yield from _of_number(attribute)
    yield from _of_description(attribute)
    yield from _of_reading(attribute)


def _of_number(attribute: Attribute) -> Iterator[str]:
    """Plural for what holds several values, singular for what holds one."""
    word = attribute.key.rpartition(".")[2]
    plural = word.endswith("s") and word not in _SINGULAR
    several = attribute.type.endswith("[]")
    if plural and not several and attribute.type != "any":
        yield f"{attribute.key}: a plural, but its type {attribute.type} holds one value"
    if several and not plural:
        yield f"{attribute.key}: holds several values, so its name is a plural"


def _of_description(attribute: Attribute) -> Iterator[str]:
    key = attribute.key
    if not attribute.brief or attribute.brief.endswith("."):
        yield f"{key}: the brief is a phrase without a full stop"
    if attribute.level not in _LEVELS:
        yield f"{key}: unknown requirement level {attribute.level}"
    if not attribute.examples or not all(map(_EXAMPLE[attribute.type], attribute.examples)):
        yield f"{key}: needs examples of type {attribute.type}"
    for value in attribute.members:
        if not _WORD.fullmatch(value):
            yield f"{key}: the value {value!r} is not in lower_snake_case"
    if attribute.members and attribute.pattern is None and not set(attribute.examples) <= set(attribute.members):
        yield f"{key}: the examples are not among the values"


def _of_reading(attribute: Attribute) -> Iterator[str]:
    key = attribute.key
    if attribute.part in _READ_PARTS:
        if attribute.name is None or attribute.read not in _READ_AS[attribute.type]:
            allowed = " or ".join(sorted(_READ_AS[attribute.type]))
            yield f"{key}: needs a field, and to be read as {allowed}, since its type is {attribute.type}"
    elif attribute.part != "archive":
        yield f"{key}: unknown part {attribute.part}"


def _of_names(registry: Registry) -> Iterator[str]:
    keys = [attribute.key for attribute in registry.attributes]
    for key, count in Counter(keys).items():
        if count > 1:
            yield f"{key}: named {count} times"
    names = [*keys, *(event.name for event in registry.events if event.renamed_to is None)]
    namespaces = {key.rpartition(".")[0] for key in keys}
    namespaces |= {above for space in namespaces for above in _above(space)}
    for name in sorted(set(names) & namespaces):
        yield f"{name}: is a name and the namespace of other names"
    constants = [attribute.constant for attribute in registry.attributes]
    constants += [event.constant for event in registry.events]
    for constant, count in Counter(constants).items():
        if count > 1:
            yield f"{constant}: would be the Python name of {count} things"


def _above(namespace: str) -> Iterator[str]:
    while "." in namespace:
        namespace = namespace.rpartition(".")[0]
        yield namespace


def _of_renamed(registry: Registry) -> Iterator[str]:
    current = {attribute.key: attribute for attribute in registry.attributes if attribute.renamed_to is None}
    for old in registry.attributes:
        if old.renamed_to is None:
            continue
        new = current.get(old.renamed_to)
        if new is None:
            yield f"{old.key}: is renamed to {old.renamed_to}, which is no current attribute"
        elif (old.part, old.name, old.read) != (new.part, new.name, new.read):
            yield f"{old.key}: is read in another way than {new.key}"


def _of_events(registry: Registry) -> Iterator[str]:
    keys = {attribute.key for attribute in registry.attributes}
    current = {event.name for event in registry.events if event.renamed_to is None}
    for event in registry.events:
        if not (_EVENT_NAME.fullmatch(event.name) and event.name.startswith(PREFIX)):
            yield f"{event.name}: the name of an event is static: lower-case words in our namespace, no ids in it"
        for key in event.attributes:
            if key not in keys:
                yield f"{event.name}: its attribute {key} is not defined"
        if event.renamed_to is not None and event.renamed_to not in current:
            yield f"{event.name}: is renamed to {event.renamed_to}, which is no current event"
