"""What a dialect is: tables that say which attribute key fills which field.

A dialect (one module each) lists its rules; `reading` merges all of them into one table, so that a span's attributes
are walked once however many dialects there are. Of two keys for one field, the dialect listed first wins.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from ..model import Attributes, Value
from .coerce import Coerce


class Part(Enum):
    """Where a field belongs."""

    IDENTITY = "identity"  # who the stage is: name, id, parent, attempt, status, payload references
    CONTEXT = "context"  # holds for what is below it too: run, data set, test case, session
    FIELD = "field"  # the stage's normalised attributes


@dataclass(frozen=True, slots=True)
class Rule:
    """Attribute key `key` fills `name` of a part, read by `coerce`."""

    key: str
    name: str
    coerce: Coerce
    part: Part = Part.FIELD


@dataclass(frozen=True, slots=True)
class Typing:
    """Attribute `key` names the stage type: by `types` (lower-case values), or by `parse` for open vocabularies."""

    key: str
    types: Mapping[str, str] = field(default_factory=dict)
    parse: Callable[[str], str | None] | None = None

    def stage_type(self, value: Value) -> str | None:
        """The stage type that the attribute's value means, or None."""
        if not isinstance(value, str):
            return None
        return self.parse(value) if self.parse else self.types.get(value.strip().lower())


@dataclass(frozen=True, slots=True)
class Dialect:
    """One convention for naming attributes.

    `flattened` are prefixes of lists spread over keys (`retrieval.documents.0.document.id`), `unfold` turns the
    collected items of one prefix into fields. `derive` may add fields that need several attributes and the type.
    """

    name: str
    typings: tuple[Typing, ...]
    rules: tuple[Rule, ...]
    flattened: Mapping[str, "Unfold"] = field(default_factory=dict)
    derive: "Derive | None" = None


# Items of a flattened list: index -> (rest of the key -> value), and the fields they make.
Unfold = Callable[[dict[int, dict[str, Value]]], dict[str, Value]]
# (attributes, stage type, fields so far) -> fields to add where missing.
Derive = Callable[[Attributes, str, Mapping[str, Value]], dict[str, Value]]
