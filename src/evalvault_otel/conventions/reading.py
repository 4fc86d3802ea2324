"""One span's attributes in, what the conventions make of them out.

Dialects are listed by rank: of two that type a span or fill a field, the first wins, and a disagreement about the type
is reported. The walk over the attributes is the hot path of ingest, so it is one loop over one merged table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ..model import Attributes, Span, Value
from ..text import clean_text
from . import evalvault, genai, openinference
from .coerce import Coerce
from .rules import Dialect, Part, Unfold
from .user_rules import Said, UserRules

# Raised with every change of what comes out for the same spans, so that `trace.mapping_version` tells who made a row.
MAPPING_VERSION = 3

# By rank (conventions, "precedence").
DIALECTS: tuple[Dialect, ...] = (evalvault.DIALECT, openinference.DIALECT, genai.DIALECT)

_TYPINGS = tuple((dialect.name, typing) for dialect in DIALECTS for typing in dialect.typings)
_DERIVES = tuple(dialect.derive for dialect in DIALECTS if dialect.derive)


_PARTS = (Part.FIELD, Part.CONTEXT, Part.IDENTITY)


def _merged() -> dict[str, tuple[int, str, Coerce, int]]:
    """Attribute key -> (rank, field name, how to read it, which part of a `Reading` it goes to)."""
    table: dict[str, tuple[int, str, Coerce, int]] = {}
    for rule in (rule for dialect in DIALECTS for rule in dialect.rules):
        table.setdefault(rule.key, (len(table), rule.name, rule.coerce, _PARTS.index(rule.part)))
    return table


_RULES = _merged()
# Keyed by the first two words of a key: `retrieval.documents.3.document.id`.
_FLATTENED: dict[tuple[str, str], Unfold] = {
    (prefix.split(".")[0], prefix.split(".")[1]): unfold for d in DIALECTS for prefix, unfold in d.flattened.items()
}
_FLAT_PREFIXES = tuple(prefix for dialect in DIALECTS for prefix in dialect.flattened)
_FLAT_WORDS = 4
_INDEX_DIGITS = 8

# Attributes that describe machinery, not the stage: kept in the archive, not copied to stages.
_MACHINERY = (
    *("http.", "url.", "net.", "network.", "server.", "client.", "code.", "thread.", "process.", "peer.", "host."),
    *("rpc.", "db.", "messaging.", "telemetry.", "otel.", "exception.", "openinference.", "service."),
    *("user_agent.",),
)
_MAX_TEXT = 500
_MAX_ITEMS = 32
_SCALARS = (bool, int, float)


@dataclass(slots=True)
class Reading:
    """What the conventions say of one span.

    `fields` are normalised attributes (names beginning with `_` are for assembly only), `context` holds for the spans
    below too, `identity` names the stage and its payloads, `others` are short attributes that no convention claims.
    """

    stage_type: str | None
    type_source: str
    explicit: bool
    conflict: str | None
    fields: dict[str, Value] = field(default_factory=dict)
    context: dict[str, Value] = field(default_factory=dict)
    identity: dict[str, Value] = field(default_factory=dict)
    others: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conventions:
    """The dialects, and what a user says of spans: the latter wins over everything but `evalvault.*` (ADR 0017)."""

    rules: UserRules | None = None

    @property
    def version(self) -> str:
        """Which mapping this is: `3`, or with rules `3+rules:ab12cd34`."""
        return f"{MAPPING_VERSION}+rules:{self.rules.digest}" if self.rules else str(MAPPING_VERSION)

    def read(self, span: Span, *, is_root: bool) -> Reading:
        """See the function `read`."""
        return read(span, is_root=is_root, rules=self.rules)


CONVENTIONS = Conventions()
"""The dialects without rules."""


def known_fields() -> dict[str, tuple[Part, Coerce]]:
    """Names that the dialects fill: where each belongs, and how the dialect of the highest rank reads it."""
    found: dict[str, tuple[Part, Coerce]] = {}
    for rule in (rule for dialect in DIALECTS for rule in dialect.rules):
        found.setdefault(rule.name, (rule.part, rule.coerce))
    return found


def read(span: Span, *, is_root: bool, rules: UserRules | None = None) -> Reading:
    """Everything the conventions make of `span`. Pure; never raises, whatever the attributes hold."""
    attributes = span.attributes
    if span.events and (content := genai.event_content(span.events)):
        attributes = {**content, **attributes}
    stage_type, source, conflict = classify(attributes, is_root=is_root)
    said = rules.said_of(span, attributes) if rules is not None else None
    if said is not None and said.typed:
        stage_type, source, conflict = _ruled(said, stage_type, source, conflict)
    reading = Reading(stage_type, source, source == _EXPLICIT, conflict)
    _walk(attributes, reading)
    if said is not None:
        parts = {Part.FIELD: reading.fields, Part.CONTEXT: reading.context, Part.IDENTITY: reading.identity}
        for (part, name), value in said.values.items():
            parts[part][name] = value
    if stage_type is not None:
        for derive in _DERIVES:
            for name, value in derive(attributes, stage_type, reading.fields).items():
                reading.fields.setdefault(name, value)
    return reading


def _ruled(said: Said, stage_type: str | None, source: str, conflict: str | None) -> tuple[str | None, str, str | None]:
    """A rule decides, so that what other conventions say is no conflict; only `evalvault.stage.type` stands above."""
    if source != _EXPLICIT:
        return said.stage_type, said.source, None
    if said.stage_type == stage_type:
        return stage_type, source, conflict
    other = said.stage_type or "structural"
    return stage_type, source, f"{evalvault.STAGE_TYPE} says {stage_type}, {said.source} says {other}; the first wins"


_EXPLICIT = f"attribute:{evalvault.STAGE_TYPE}"


def classify(attributes: Attributes, *, is_root: bool) -> tuple[str | None, str, str | None]:
    """Stage type, where it comes from, and a sentence if conventions disagree. (None, "", …) is no stage."""
    found: list[tuple[str, str]] = []
    for _, typing in _TYPINGS:
        if typing.key in attributes:
            stage_type = typing.stage_type(attributes[typing.key])
            if stage_type is not None:
                found.append((stage_type, typing.key))
    if not found:
        return _chain(attributes, is_root=is_root)
    stage_type, key = found[0]
    differing = [
        f"{other} says {said}" for said, other in found[1:] if said not in _SAME_AS.get(stage_type, (stage_type,))
    ]
    conflict = f"{key} says {stage_type}, {', '.join(differing)}; the first wins" if differing else None
    return stage_type, f"attribute:{key}", conflict


# The answering generation may be called by either name.
_SAME_AS: Mapping[str, tuple[str, ...]] = {"output": ("output", "generation")}


def _chain(attributes: Attributes, *, is_root: bool) -> tuple[str | None, str, str | None]:
    kind = attributes.get(openinference.SPAN_KIND)
    if is_root and isinstance(kind, str) and kind.strip().lower() == openinference.CHAIN:
        return "workflow", f"rule:root_chain:{openinference.SPAN_KIND}", None
    return None, "", None


def _walk(attributes: Attributes, reading: Reading) -> None:
    parts = (reading.fields, reading.context, reading.identity)
    ranks: dict[str, int] = {}
    flat: dict[tuple[str, str], dict[int, dict[str, Value]]] = {}
    for key, value in attributes.items():
        rule = _RULES.get(key)
        if rule is not None:
            rank, name, coerce, part = rule
            if ranks.get(name, rank) < rank or value == openinference.REDACTED:
                continue
            coerced = coerce(value)
            if coerced is None:
                if part:
                    continue
                # A field that cannot be read keeps what was sent, so that its metric can say what is wrong.
                coerced = value
            parts[part][name] = coerced
            ranks[name] = rank
            continue
        place = _place(key)
        if place is None:
            if _is_short(value):
                reading.others[clean_text(key)] = value
        elif place is not _ARCHIVED:
            prefix, index, rest = place
            flat.setdefault(prefix, {}).setdefault(index, {})[rest] = value
    _unfold(flat, reading)


def _unfold(flat: Mapping[tuple[str, str], dict[int, dict[str, Value]]], reading: Reading) -> None:
    for prefix, items in flat.items():
        for name, value in _FLATTENED[prefix](items).items():
            reading.fields.setdefault(name, value)


_Place = tuple[tuple[str, str], int, str]
_ARCHIVED: _Place = (("", ""), 0, "")


@lru_cache(maxsize=50_000)  # keys are few, spans are many
def _place(key: str) -> _Place | None:
    """Where a key without a rule goes.

    `retrieval.documents.3.document.id` goes to the fourth document of its list, machinery stays in the archive
    (`_ARCHIVED`), anything else is an attribute of the stage (None).
    """
    if key.startswith(_FLAT_PREFIXES):
        words = key.split(".", _FLAT_WORDS - 1)
        if len(words) == _FLAT_WORDS and words[2].isdecimal() and len(words[2]) < _INDEX_DIGITS:
            return (words[0], words[1]), int(words[2]), words[3]
        return _ARCHIVED
    return _ARCHIVED if key.startswith(_MACHINERY) else None


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
