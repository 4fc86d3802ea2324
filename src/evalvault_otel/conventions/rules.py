"""What a dialect is: tables that say which attribute key fills which field, and which says the stage type.

A dialect (one module each) lists its rules; `reading` merges them by rank. Of two keys for one field, the dialect
listed first wins; within a dialect, the key listed first.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ..model import Attributes, SpanEvent, Value
from .coerce import Coerce


class Part(Enum):
    """Where a field belongs."""

    IDENTITY = "identity"  # who the stage is: name, id, parent, attempt, status, payload references
    CONTEXT = "context"  # holds for what is below it too: run, data set, test case, session
    FIELD = "field"  # the stage's normalised attributes


@dataclass(frozen=True, slots=True)
class Rule:
    """Attribute key `key` fills `name` of a part, read by `coerce`.

    A field that cannot be read keeps what was sent, so that its metric can say what is wrong; an `optional` one, looked
    for in a value that holds other things too, is absent then.
    """

    key: str
    name: str
    coerce: Coerce
    part: Part = Part.FIELD
    optional: bool = False


# A type for spans of which a rule says that they are no stage.
STRUCTURAL = "structural"


@dataclass(frozen=True, slots=True)
class Typing:
    """Attribute `key` names the stage type: by `types` (lower-case values), or by `parse` for open vocabularies.

    A `weak` one counts only where no convention has a strong one. `rule` names a user's rule.
    """

    key: str
    types: Mapping[str, str] = field(default_factory=dict)
    parse: Callable[[str], str | None] | None = None
    weak: bool = False
    rule: str = ""
    source: str = field(init=False, default="", compare=False)
    """Why a stage has its type, if this one said so."""

    def __post_init__(self) -> None:
        """Worded once: it is asked for with every span."""
        object.__setattr__(self, "source", f"{self.rule}:{self.key}" if self.rule else f"attribute:{self.key}")

    def stage_type(self, value: Value) -> str | None:
        """The stage type that the attribute's value means, or None."""
        if not isinstance(value, str):
            return None
        return self.parse(value) if self.parse else self.types.get(value.strip().lower())


@dataclass(frozen=True, slots=True)
class Naming:
    """Spans whose name (and scope) match are of a stage type: for what says its kind in its name only."""

    rule: str
    stage_type: str
    name: re.Pattern[str] | None = None
    scope: re.Pattern[str] | None = None
    weak: bool = False

    def fits(self, name: str, scope: str) -> bool:
        """Whether a span of this name, made by this instrumentation scope, is meant."""
        return (self.name is None or self.name.search(name) is not None) and (
            self.scope is None or self.scope.search(scope) is not None
        )


@dataclass(frozen=True, slots=True)
class Correction:
    """What an instrumentation is known to say wrongly: of a span that is `meant`, `key` says the type `said`.

    Without `said`, nothing that the key says counts; without `meant`, the span is what other conventions make of it.
    `scope` and `name` say whose spans these are; they have keys that begin with each of `having`, and none that begins
    with one of `lacking`.
    """

    rule: str
    key: str
    scope: re.Pattern[str]
    said: str = ""
    meant: str = ""
    name: re.Pattern[str] | None = None
    having: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    def may_apply(self, keys: Collection[str]) -> bool:
        """Whether spans with these attribute keys can be meant."""
        return (
            self.key in keys
            and all(any(key.startswith(prefix) for key in keys) for prefix in self.having)
            and not (self.lacking and any(key.startswith(self.lacking) for key in keys))
        )

    def applies(self, stage_type: str, name: str, scope: str) -> bool:
        """Whether a span for which `may_apply` has this wrong type."""
        return (
            (not self.said or self.said == stage_type)
            and self.scope.search(scope) is not None
            and (self.name is None or self.name.search(name) is not None)
        )

    @property
    def typing(self) -> Typing:
        """Who says the type that is meant."""
        return Typing(self.key, rule=f"rule:{self.rule}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One convention for naming attributes.

    `flattened` are prefixes of lists spread over keys (`retrieval.documents.0.document.id`); what turns the collected
    items of one prefix into fields also reads the list as one value. `derive` may add fields that need several
    attributes and the type. `of_events` are attributes that events of the span, of these names, carry for it.
    `wrappers` are values of a key that say "some step": its name decides which (`heuristics`). `named_by` is where such
    a step has its name. `stage_name` finds the name of a stage, without what else the span's name says, where no
    attribute has it.
    """

    name: str
    typings: tuple[Typing, ...] = ()
    rules: tuple[Rule, ...] = ()
    flattened: Mapping[str, "Unfold"] = field(default_factory=dict)
    derive: "Derive | None" = None
    of_events: "OfEvents | None" = None
    event_names: frozenset[str] = frozenset()
    wrappers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    named_by: str = ""
    namings: tuple[Naming, ...] = ()
    corrections: tuple[Correction, ...] = ()
    stage_name: "StageName | None" = None


# Items of a flattened list: index -> (rest of the key -> value), and the fields they make.
Unfold = Callable[[dict[int, dict[str, Value]]], dict[str, Value]]
# (attributes, stage type, fields so far) -> fields to add where missing.
Derive = Callable[[Attributes, str, Mapping[str, Value]], dict[str, Value]]
# (name of the span, attributes, stage type) -> name of the stage.
StageName = Callable[[str, Attributes, str], str | None]
# Events of a span -> attributes that it lacks.
OfEvents = Callable[[Sequence[SpanEvent]], Mapping[str, Value]]
