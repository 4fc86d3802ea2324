"""What users say of their own spans: a span in, what the rules of a user make of it out (ADR 0017).

Rules are looked at in the order of the file, and all that apply count: for the stage type, the name and each field the
first one that says it. `rules_file` reads them; `reading` puts them between `evalvault.*` and every other convention.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from ..model import Attributes, Span, Value
from .coerce import Coerce, text
from .evalvault import stage_type as as_stage_type
from .json_path import JsonPath
from .names import FILLS
from .openinference import REDACTED
from .rules import Part

# A rule of ours would have to be quick on any text; what tells spans apart stands at the beginning.
_MOST_MATCHED = 1000
_NUMBERS = re.compile(r"([0-9]+)")

# Which `evalvault.*` attributes fill a field: those a rule does not overrule.
_OURS: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    (part, name): tuple(key for key, other_part, other, _ in FILLS if (other_part, other) == (part, name))
    for _, part, name, _ in FILLS
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text that a value must be: the same, or matched by a regular expression somewhere."""

    exact: str | None = None
    regex: re.Pattern[str] | None = None

    def matches(self, value: Value) -> bool:
        """Whether a value is meant. Numbers and booleans are compared as JSON writes them."""
        said = str(value).lower() if isinstance(value, bool) else text(value)
        if said is None:
            return False
        return said == self.exact if self.regex is None else self.regex.search(said[:_MOST_MATCHED]) is not None


@dataclass(frozen=True, slots=True)
class Condition:
    """An attribute that must be there, with a value that `value` matches if it says one. `key` is for people."""

    key: str
    keys: Pattern
    value: Pattern | None

    def holds(self, attributes: Attributes) -> bool:
        """Whether any attribute is the one that is asked for."""
        if self.keys.exact is not None:
            return self.keys.exact in attributes and self._fits(attributes[self.keys.exact])
        return any(self.keys.matches(key) and self._fits(value) for key, value in attributes.items())

    def _fits(self, value: Value) -> bool:
        return self.value is None or self.value.matches(value)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: the first of `keys` that has one, a list over `every` key that fits, or `constant`."""

    keys: tuple[str, ...] = ()
    every: Pattern | None = None
    path: JsonPath | None = None
    constant: Value = None

    def value(self, attributes: Attributes) -> Value:
        """The value, or None if the span has none."""
        if self.every is not None:
            found = [attributes[key] for key in sorted(filter(self.every.matches, attributes), key=_by_number)]
            return found or None
        for key in self.keys:
            said = attributes.get(key)
            if said is not None and said != REDACTED:
                found = said if self.path is None else self.path.find(said)
                if found is not None:
                    return found
        return self.constant

    def claimed(self, attributes: Attributes) -> Iterable[str]:
        """The keys that it reads."""
        return self.keys if self.every is None else filter(self.every.matches, attributes)


def _by_number(key: str) -> list[tuple[int, str]]:
    """Keys as people count: `docs.10.id` after `docs.9.id`. Numbers may have any number of digits."""
    words = _NUMBERS.split(key)
    return [(len(word.lstrip("0")), word.lstrip("0")) if n % 2 else (-1, word) for n, word in enumerate(words)]


@dataclass(frozen=True, slots=True)
class Fill:
    """A field of a part, its source, and how it is read."""

    part: Part
    name: str
    source: Source
    coerce: Coerce


@dataclass(frozen=True, slots=True)
class StageRule:
    """The stage type: `type`, or what `types` make of the value of `key` (without them: the value itself)."""

    type: str | None = None
    key: str = ""
    types: tuple[tuple[Pattern, str], ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """The stage types that the rule names."""
        return tuple(filter(None, (self.type, *(said for _, said in self.types))))

    def stage_type(self, attributes: Attributes) -> str | None:
        """The stage type of a span with these attributes, or None if its value is not one of those named."""
        if not self.key:
            return self.type
        value = attributes.get(self.key)
        if not self.types:
            return as_stage_type(value) if isinstance(value, str) else None
        return next((said for pattern, said in self.types if pattern.matches(value)), None)


@dataclass(frozen=True, slots=True)
class UserRule:
    """One rule: a span that it applies to, and what that span is. `decided_by` names what it looks at, for people.

    If `reads` is not empty, the rule has nothing to say about spans without any of these attributes.
    """

    name: str
    decided_by: str
    span: Pattern | None = None
    scope: Pattern | None = None
    service: Pattern | None = None
    kinds: frozenset[int] = frozenset()
    attributes: tuple[Condition, ...] = ()
    stage: StageRule | None = None
    structural: bool = False
    fills: tuple[Fill, ...] = ()
    reads: tuple[str, ...] = ()

    def sources(self) -> set[str]:
        """The attributes that the rule takes values from, by their names."""
        named = {key for fill in self.fills for key in fill.source.keys}
        return named | {self.stage.key} if self.stage is not None else named

    def gathered(self) -> list[Pattern]:
        """Names of attributes that it gathers into lists."""
        return [fill.source.every for fill in self.fills if fill.source.every is not None]

    def patterns(self) -> Iterator[str]:
        """The regular expressions of the rule, as they are written."""
        types = [pattern for pattern, _ in self.stage.types] if self.stage is not None else []
        every = [fill.source.every for fill in self.fills]
        asked = [pattern for condition in self.attributes for pattern in (condition.keys, condition.value)]
        for pattern in (self.span, self.scope, self.service, *asked, *types, *every):
            if pattern is not None and pattern.regex is not None:
                yield pattern.regex.pattern

    def may_apply(self, span: str, scope: str, service: str, kind: int) -> bool:
        """Whether the rule can apply to spans of this name, scope, service and kind."""
        asked = ((self.span, span), (self.scope, scope), (self.service, service))
        return (not self.kinds or kind in self.kinds) and all(
            pattern is None or pattern.matches(value) for pattern, value in asked
        )

    def applies(self, attributes: Attributes) -> bool:
        """Whether a span for which `may_apply` has the attributes."""
        if self.reads and attributes.keys().isdisjoint(self.reads):
            return False
        return all(condition.holds(attributes) for condition in self.attributes)


@dataclass(slots=True)
class Said:
    """What the rules say of one span. `typed` and no `stage_type`: it is structural. `claimed`: keys that they read."""

    typed: bool = False
    stage_type: str | None = None
    source: str = ""
    values: dict[tuple[Part, str], Value] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)


class UserRules:
    """The rules of a file. `digest` is the same for files that say the same, and 8 characters long."""

    def __init__(self, rules: Iterable[UserRule], digest: str) -> None:
        self.rules = tuple(rules)
        self.digest = digest
        self._of_services = any(rule.service for rule in self.rules)
        # Most rules ask for a name: of the few names that a program gives its spans, each is looked at once.
        self._candidates = lru_cache(maxsize=10_000)(self._may_apply)

    def reads(self, key: str) -> bool:
        """Whether any rule looks at attributes of that name."""
        return any(
            condition.keys.exact == key or (condition.keys.regex is not None and condition.keys.matches(key))
            for rule in self.rules
            for condition in rule.attributes
        ) or any(key in rule.sources() or any(every.matches(key) for every in rule.gathered()) for rule in self.rules)

    def said_of(self, span: Span, attributes: Attributes) -> Said | None:
        """What the rules say of a span with these attributes; None if none applies. Pure; never raises."""
        service = span.resource.service if self._of_services else ""
        said: Said | None = None
        for rule in self._candidates(span.name, span.scope.name, service, span.kind):
            if rule.applies(attributes):
                said = said or Said()
                _say(rule, attributes, said)
        return said

    def _may_apply(self, span: str, scope: str, service: str, kind: int) -> Sequence[UserRule]:
        return tuple(rule for rule in self.rules if rule.may_apply(span, scope, service, kind))


def _say(rule: UserRule, attributes: Attributes, said: Said) -> None:
    if not said.typed:
        stage_type = rule.stage.stage_type(attributes) if rule.stage is not None else None
        if stage_type is not None or rule.structural:
            said.typed, said.stage_type = True, stage_type
            said.source = f"user_rule:{rule.name}:{rule.decided_by}"
            said.claimed.add(rule.stage.key if rule.stage is not None else "")
    for fill in rule.fills:
        place = (fill.part, fill.name)
        said.claimed.update(fill.source.claimed(attributes))
        if place not in said.values and not _said_by_us(attributes, *place):
            value = fill.source.value(attributes)
            read = None if value is None else fill.coerce(value)
            # A field that cannot be read keeps what was sent, so that its metric can say what is wrong.
            if read is not None or (value is not None and fill.part is Part.FIELD):
                said.values[place] = value if read is None else read


def _said_by_us(attributes: Attributes, part: Part, name: str) -> bool:
    return any(key in attributes for key in _OURS.get((part.value, name), ()))
