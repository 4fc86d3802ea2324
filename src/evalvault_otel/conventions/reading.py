"""One span's attributes in, what the conventions make of them out.

Dialects are listed by rank: of two that type a span or fill a field, the first wins, and a disagreement is reported.
This is the hot path of ingest: what depends on the keys alone is decided once per set of keys (`plan`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model import Attributes, Span, Value
from . import (
    evalvault,
    genai,
    haystack,
    heuristics,
    langsmith,
    openinference,
    openragtrace,
    retries,
    traceloop,
    vercel,
)
from .coerce import Coerce
from .items import items_of
from .plan import Plan, Source, Tables
from .rules import STRUCTURAL, Correction, Dialect, Naming, Part, Typing
from .user_rules import Said, UserRules

# Raised with every change of what comes out for the same spans, so that `trace.mapping_version` tells who made a row.
MAPPING_VERSION = 7

# By rank (conventions, "precedence").
DIALECTS: tuple[Dialect, ...] = (
    evalvault.DIALECT,
    openragtrace.DIALECT,
    openinference.DIALECT,
    genai.DIALECT,
    traceloop.DIALECT,
    vercel.DIALECT,
    haystack.DIALECT,
    langsmith.DIALECT,
    retries.DIALECT,
)

# Plans for unusual spans are made anew: what is kept must stay small, whatever is sent.
_MAX_PLANS = 4096
_MAX_KEYS = 512
_MAX_KEY_TEXT = 16_384
_MAX_NAMES = 4096
_MAX_TEXT = 500
_MAX_ITEMS = 32
_MAX_SHOWN = 60
_REDACTED = openinference.REDACTED
_SCALARS = (bool, int, float)


_NOTHING: Mapping[str, Value] = {}


@dataclass(slots=True)
class Reading:
    """What the conventions say of one span.

    `fields` are normalised attributes (names beginning with `_` are for assembly only), `context` holds for the spans
    below too, `identity` names the stage and its payloads, `others` are short attributes that no convention claims.
    `conventions` are the dialects that have a word in it, `conflicts` where they disagree, a sentence each, `hidden`
    the keys whose value the instrumentation hid, `deprecated` the keys that have a newer name.
    """

    stage_type: str | None
    type_source: str
    explicit: bool
    conventions: tuple[str, ...]
    deprecated: tuple[str, ...]
    # Most spans have nothing in these two: one empty mapping for all.
    context: Mapping[str, Value]
    others: Mapping[str, Value]
    conflicts: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    fields: dict[str, Value] = field(default_factory=dict)
    identity: dict[str, Value] = field(default_factory=dict)


_EXPLICIT = f"attribute:{evalvault.STAGE_TYPE}"
# The answering generation may be called by either name.
_SAME_AS: Mapping[str, tuple[str, ...]] = {"output": ("output", "generation")}
# Names of one model in several forms, and texts that each convention cuts or words in its own way, are no conflict.
_VARIES = frozenset({"model_name", "provider", "query", "answer", "name", "finish_reason", "session_id", "user_id"})


class Conventions:
    """Some dialects, listed by rank, ready to read spans. Safe for many threads.

    What the rules of a user say of a span wins over everything but `evalvault.*` (ADR 0017).
    """

    def __init__(self, dialects: tuple[Dialect, ...], rules: UserRules | None = None) -> None:
        self.dialects = dialects
        self.rules = rules
        self.version = f"{MAPPING_VERSION}+rules:{rules.digest}" if rules is not None else str(MAPPING_VERSION)
        self._tables = Tables(dialects)
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._of_events = [dialect.of_events for dialect in dialects if dialect.of_events]
        self._event_names = frozenset(name for dialect in dialects for name in dialect.event_names)
        self._namings = [
            (rank + len(dialects) * naming.weak, naming)
            for rank, dialect in enumerate(dialects)
            for naming in dialect.namings
        ]
        self._named: dict[tuple[str, str], tuple[int, Naming] | None] = {}

    def read(self, span: Span, *, is_root: bool) -> Reading:
        """Everything the conventions make of `span`. Pure; never raises, whatever the attributes hold."""
        attributes = span.attributes
        if span.events:
            for event in span.events:
                if event.name in self._event_names:
                    attributes = self._with_events(span)
                    break
        plan = self._plan(attributes)
        reading = Reading(None, "", False, plan.seen, plan.deprecated, _NOTHING, _NOTHING)  # noqa: FBT003 - explicit
        self._classify(span, attributes, plan, reading)
        if self.rules is None:
            self._fill(attributes, plan, reading)
        else:
            self._fill_with_rules(span, attributes, plan, reading, self.rules)
        if reading.stage_type is None and not reading.type_source:
            _guess(span, attributes, plan, reading, is_root=is_root)
        elif reading.stage_type == STRUCTURAL:
            reading.stage_type = None
        if reading.stage_type is not None:
            _derive(span, attributes, plan, reading, reading.stage_type)
        return reading

    def _with_events(self, span: Span) -> Attributes:
        """The attributes of a span, and those that its events carry for it."""
        attributes = dict(span.attributes)
        for of_events in self._of_events:
            attributes = {**of_events(span.events), **attributes}
        return attributes

    def _plan(self, attributes: Attributes) -> Plan:
        keys = tuple(attributes)
        plan = self._plans.get(keys)
        if plan is None:
            plan = self._tables.plan(keys)
            if len(keys) <= _MAX_KEYS and sum(map(len, keys)) <= _MAX_KEY_TEXT:
                if len(self._plans) >= _MAX_PLANS:
                    self._plans.clear()
                self._plans[keys] = plan
        return plan

    def _classify(self, span: Span, attributes: Attributes, plan: Plan, reading: Reading) -> None:
        """Stage type and where it comes from: the first of ranked typings and namings that says one."""
        found = []
        for rank, typing in plan.typings:
            said = typing.stage_type(attributes[typing.key])
            if said is not None:
                found.append((rank, said, typing))
        if plan.corrections:
            found = [meant for one in found if (meant := _corrected(span, plan.corrections, one)) is not None]
        if self._namings and (named := self._name(span)) is not None and (not found or named[0] <= found[0][0]):
            reading.stage_type, reading.type_source = named[1].stage_type, named[1].rule
            return
        if not found:
            return
        _, stage_type, typing = found[0]
        reading.stage_type, reading.type_source = stage_type, typing.source
        reading.explicit = reading.type_source == _EXPLICIT
        if len(found) > 1:
            same = _SAME_AS.get(stage_type, (stage_type,))
            differing = [f"{one.key} says {said}" for _, said, one in found[1:] if said not in same and not one.weak]
            if differing and not typing.weak:
                said = f"{typing.key} says {stage_type}, {', '.join(differing)}; the first wins"
                reading.conflicts = (*reading.conflicts, said)

    def _name(self, span: Span) -> tuple[int, Naming] | None:
        key = (span.name, span.scope.name)
        try:
            return self._named[key]
        except KeyError:
            if len(self._named) >= _MAX_NAMES or len(span.name) > _MAX_TEXT:
                self._named.clear()
            fitting = [ranked for ranked in self._namings if ranked[1].fits(*key)]
            found = self._named[key] = min(fitting, key=lambda ranked: ranked[0], default=None)
            return found

    def _fill(self, attributes: Attributes, plan: Plan, reading: Reading) -> None:
        context: dict[str, Value] = {}
        parts = (reading.fields, context, reading.identity, reading.fields)
        for key, name, coerce, part in plan.single:
            value = attributes[key]
            if value == _REDACTED:
                reading.hidden = (*reading.hidden, key)
                continue
            coerced = coerce(value)
            if coerced is None:
                if part:
                    continue
                # A field that cannot be read keeps what was sent, so that its metric can say what is wrong.
                coerced = value
            parts[part][name] = coerced
        for name, part, sources in plan.several:
            found = _best(attributes, name, sources, reading)
            if found is not None:
                parts[part][name] = found
        if context:
            reading.context = context
        if plan.others:
            reading.others = {name: attributes[key] for key, name in plan.others if _is_short(attributes[key])}
        if plan.flat or plan.whole:
            self._unfold(attributes, plan, reading)

    def _fill_with_rules(
        self, span: Span, attributes: Attributes, plan: Plan, reading: Reading, rules: UserRules
    ) -> None:
        said = rules.said_of(span, attributes)
        if said is not None and said.typed:
            _overrule(said, reading)
        self._fill(attributes, plan, reading)
        if said is not None:
            reading.conventions = (*reading.conventions, "user_rules")
            context = reading.context = dict(reading.context)
            parts = {Part.FIELD: reading.fields, Part.CONTEXT: context, Part.IDENTITY: reading.identity}
            for (part, name), value in said.values.items():
                parts[part][name] = value
            reading.others = {key: value for key, value in reading.others.items() if key not in said.claimed}

    def _unfold(self, attributes: Attributes, plan: Plan, reading: Reading) -> None:
        """Lists that are spread over keys, and lists in one value, as fields."""
        lists = {
            prefix: {index: {rest: attributes[key] for rest, key in keys} for index, keys in items.items()}
            for prefix, items in plan.flat.items()
        }
        for prefix, key in plan.whole:
            if prefix not in lists and (items := items_of(attributes[key])):
                lists[prefix] = items
        for prefix, items in lists.items():
            for name, value in self._tables.unfolds[prefix](items).items():
                reading.fields.setdefault(name, value)


def _derive(span: Span, attributes: Attributes, plan: Plan, reading: Reading, stage_type: str) -> None:
    """What needs the type: the name of the stage where the span's name says more, and fields out of several keys."""
    if plan.names and "name" not in reading.identity:
        said = (name(span.name, attributes, stage_type) for name in plan.names)
        reading.identity["name"] = next(filter(None, said), span.name)
    for derive in plan.derives:
        for name, value in derive(attributes, stage_type, reading.fields).items():
            reading.fields.setdefault(name, value)


def _corrected(
    span: Span, corrections: list[Correction], said: tuple[int, str, Typing]
) -> tuple[int, str, Typing] | None:
    """What a key says of the type, as it is meant; None if it does not count."""
    rank, stage_type, typing = said
    for one in corrections:
        if one.key == typing.key and one.applies(stage_type, span.name, span.scope.name):
            return (rank, one.meant, one.typing) if one.meant else None
    return said


def _overrule(said: Said, reading: Reading) -> None:
    """A rule decides, so that what other conventions say is no conflict; only `evalvault.stage.type` stands above."""
    stage_type = said.stage_type or STRUCTURAL
    if not reading.explicit:
        reading.stage_type, reading.type_source, reading.conflicts = stage_type, said.source, ()
    elif reading.stage_type != stage_type:
        found = f"{evalvault.STAGE_TYPE} says {reading.stage_type}, {said.source} says {stage_type}; the first wins"
        reading.conflicts = (*reading.conflicts, found)


def _best(attributes: Attributes, name: str, sources: list[Source], reading: Reading) -> Value:
    """Of several keys for a field the value of the first that can be read, else what the first says."""
    found: tuple[str, Value, int] | None = None
    unread: Value = None
    for key, coerce, rank, kept in sources:
        value = attributes[key]
        if value == _REDACTED:
            reading.hidden = (*reading.hidden, key)
            continue
        coerced = coerce(value)
        if coerced is None:
            unread = value if unread is None and kept else unread
        elif found is None:
            found = (key, coerced, rank)
        elif rank != found[2] and name[0] != "_" and name not in _VARIES and _differ(found[1], coerced):
            both = f"{found[0]} says {str(found[1])[:_MAX_SHOWN]}, {key} says {str(coerced)[:_MAX_SHOWN]}"
            reading.conflicts = (*reading.conflicts, f"{both} for {name}; the first wins")
    return unread if found is None else found[1]


def _differ(one: Value, other: Value) -> bool:
    """Whether two short values contradict each other; of longer ones nobody can say."""
    if isinstance(one, _SCALARS) and isinstance(other, _SCALARS):
        return one != other
    return isinstance(one, str) and isinstance(other, str) and max(len(one), len(other)) <= _MAX_TEXT and one != other


def _guess(span: Span, attributes: Attributes, plan: Plan, reading: Reading, *, is_root: bool) -> None:
    """The type of a span that no convention types: by its name where it says that it is a step, else by what it has."""
    for key, values, named_by in plan.wrappers:
        said = attributes[key]
        if not isinstance(said, str) or said.strip().lower() not in values:
            continue
        if is_root:  # `RetrieverQueryEngine.query` retrieves, but not only that
            reading.stage_type, reading.type_source = "workflow", f"rule:root_chain:{key}"
            return
        names = (attributes.get(named_by), span.name)
        found = next((guess for name in names if isinstance(name, str) and (guess := heuristics.guess(name))), None)
        if found is not None:
            reading.stage_type, reading.type_source = found[0], f"heuristic:{found[1]}"
            return
        break
    if reading.conventions:
        for stage_type, needed in heuristics.PRESENCE:
            if all(name in reading.fields for name in needed):
                has = "_and_".join(needed).lstrip("_")
                reading.stage_type, reading.type_source = stage_type, f"heuristic:has_{has}"
                return


def _is_short(value: Value) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT
    if isinstance(value, _SCALARS):
        return True
    if isinstance(value, list):
        return len(value) <= _MAX_ITEMS and all(
            isinstance(item, (*_SCALARS, str)) and _is_short(item) for item in value
        )
    return False


DEFAULT = Conventions(DIALECTS)


def known_fields() -> dict[str, tuple[Part, Coerce]]:
    """Names that the dialects fill: where each belongs, and how the dialect of the highest rank reads it."""
    found: dict[str, tuple[Part, Coerce]] = {}
    for rule in (rule for dialect in DIALECTS for rule in dialect.rules):
        found.setdefault(rule.name, (rule.part, rule.coerce))
    return found
