"""What is to be done with the attributes of a span, decided once for all spans with the same keys.

The same instrumentation emits the same keys again and again, so the tables of all dialects are consulted per set of
keys, not per attribute: a `Plan` lists which keys fill which fields.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..text import clean_text
from .coerce import Coerce
from .deprecated import DEPRECATED
from .rules import Correction, Derive, Dialect, Part, Rule, StageName, Typing, Unfold

# Attributes that describe machinery, not the stage: kept in the archive, not copied to stages.
_MACHINERY = (
    *("http.", "url.", "net.", "network.", "server.", "client.", "code.", "thread.", "process.", "peer.", "host."),
    *("rpc.", "db.", "messaging.", "telemetry.", "otel.", "exception.", "openinference.", "service."),
    *("user_agent.",),
)
_PARTS = (Part.FIELD, Part.CONTEXT, Part.IDENTITY)
_INDEX_DIGITS = 8

# Beside the three parts: fields that are absent when they cannot be read.
OPTIONAL = len(_PARTS)
# (key, how to read it, rank of its dialect, whether it is kept as sent when it cannot be read)
Source = tuple[str, Coerce, int, bool]


@dataclass(slots=True)
class Plan:
    """What a set of attribute keys means.

    `single` are fields with one key: (key, field, how to read it, part), `several` those with more, best first.
    `flat` are lists spread over keys: list -> index -> (rest of the key, key); `whole` are lists in one value.
    `others` are keys that no convention claims, with the name they have on the stage. `typings` are ranked.
    `deprecated` are keys that have a newer name.
    """

    typings: list[tuple[int, Typing]] = field(default_factory=list)
    single: list[tuple[str, str, Coerce, int]] = field(default_factory=list)
    several: list[tuple[str, int, list[Source]]] = field(default_factory=list)
    flat: dict[str, dict[int, list[tuple[str, str]]]] = field(default_factory=dict)
    whole: list[tuple[str, str]] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)
    wrappers: list[tuple[str, frozenset[str], str]] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    derives: list[Derive] = field(default_factory=list)
    names: list[StageName] = field(default_factory=list)
    seen: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = ()


class Tables:
    """The tables of some dialects, listed by rank, as one."""

    def __init__(self, dialects: tuple[Dialect, ...]) -> None:
        self._dialects = dialects
        self._rules: dict[str, list[tuple[int, int, Rule]]] = {}
        order = 0
        for rank, dialect in enumerate(dialects):
            for rule in dialect.rules:
                known = self._rules.setdefault(rule.key, [])
                if all((one.name, one.part) != (rule.name, rule.part) for _, _, one in known):
                    known.append((order, rank, rule))
                order += 1
        self.unfolds: dict[str, Unfold] = {}
        self._lists: dict[str, int] = {}
        for rank, dialect in enumerate(dialects):
            for prefix, unfold in dialect.flattened.items():
                self.unfolds.setdefault(prefix, unfold)
                self._lists.setdefault(prefix, rank)
        self._prefixes = tuple(self._lists)

    def plan(self, keys: Iterable[str]) -> Plan:
        """The plan for a set of keys."""
        plan, present, seen = Plan(), list(keys), set[int]()
        fields: dict[tuple[str, int], list[tuple[int, Source]]] = {}
        for key in present:
            if key in self._rules:
                for order, rank, rule in self._rules[key]:
                    seen.add(rank)
                    place = (rule.name, _PARTS.index(rule.part))
                    fields.setdefault(place, []).append((order, (key, rule.coerce, rank, _is_kept(rule))))
            elif (place_in_list := self._in_list(key)) is not None:
                seen.add(self._lists[place_in_list[0]])
                prefix, index, rest = place_in_list
                plan.flat.setdefault(prefix, {}).setdefault(index, []).append((rest, key))
            elif f"{key}." not in self._lists and not key.startswith((*self._prefixes, *_MACHINERY)):
                plan.others.append((key, clean_text(key)))
            if (prefix := f"{key}.") in self._lists:
                seen.add(self._lists[prefix])
                plan.whole.append((prefix, key))
        _add_fields(plan, fields)
        self._add_typings(plan, set(present), seen)
        speaking = [self._dialects[rank] for rank in sorted(seen)]
        plan.derives = [dialect.derive for dialect in speaking if dialect.derive]
        plan.names = [dialect.stage_name for dialect in speaking if dialect.stage_name]
        plan.corrections = [one for dialect in self._dialects for one in dialect.corrections if one.may_apply(present)]
        plan.seen = tuple(dialect.name for dialect in speaking)
        plan.deprecated = tuple(sorted(DEPRECATED.keys() & present))
        return plan

    def _add_typings(self, plan: Plan, present: set[str], seen: set[int]) -> None:
        """Typings of keys that are there, the strong ones first; what they claim is no other attribute."""
        claimed = set()
        for rank, dialect in enumerate(self._dialects):
            for typing in dialect.typings:
                if typing.key in present:
                    plan.typings.append((rank + len(self._dialects) * typing.weak, typing))
                    claimed.add(typing.key)
                    seen.add(rank)
            for key, values in dialect.wrappers.items():
                if key in present:
                    plan.wrappers.append((key, values, dialect.named_by))
                    claimed.add(key)
                    seen.add(rank)
        plan.typings.sort(key=lambda ranked: ranked[0])
        plan.others = [(key, name) for key, name in plan.others if key not in claimed]

    def _in_list(self, key: str) -> tuple[str, int, str] | None:
        """The place of `retrieval.documents.3.document.id`: the fourth document of its list."""
        prefix = next((prefix for prefix in self._prefixes if key.startswith(prefix)), None)
        if prefix is None:
            return None
        index, _, rest = key.removeprefix(prefix).partition(".")
        if not index.isdecimal() or len(index) >= _INDEX_DIGITS:
            return None
        return prefix, int(index), rest


def _add_fields(plan: Plan, fields: dict[tuple[str, int], list[tuple[int, Source]]]) -> None:
    for (name, part), found in fields.items():
        if len(found) == 1:
            key, coerce, _, kept = found[0][1]
            plan.single.append((key, name, coerce, part if part or kept else OPTIONAL))
        else:
            ranked = sorted(found, key=lambda ordered: ordered[0])
            plan.several.append((name, part, [source for _, source in ranked]))


def _is_kept(rule: Rule) -> bool:
    return rule.part is Part.FIELD and not rule.optional
