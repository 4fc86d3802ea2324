"""The file of a user's rules: YAML text in, `UserRules` out, or what is wrong with it, line by line.

The form is described in docs/rules.md.
"""

import re
from collections.abc import Container, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from yaml.nodes import MappingNode, Node

from ..errors import SettingsError
from . import yaml_nodes
from .coerce import Coerce, anything
from .coercions import COERCIONS
from .evalvault import stage_type as as_stage_type
from .json_path import JsonPath
from .names import STAGE_TYPE_VALUES
from .reading import DEFAULT, DIALECTS, Conventions, known_fields
from .rules import Part
from .user_rules import Condition, Fill, Pattern, Source, StageRule, UserRule, UserRules
from .yaml_nodes import START, Problem, Wrong, items, mapping, pairs, plain, sequence, yes
from .yaml_nodes import text as text_of

_KINDS: Final = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RULE_KEYS: Final = ("name", "when", "stage", "structural", "stage_name", "fields")
_WHEN_KEYS: Final = ("span", "scope", "service", "kind", "attributes")
_TWO_63: Final = 1 << 63
_SOURCE_KEYS: Final = ("attribute", "json", "as", "value")

# Field names of the conventions: where each belongs and how it is read.
_Known = Mapping[str, tuple[Part, Coerce]]


def conventions_of(path: str) -> Conventions:
    """The conventions with the rules of a file; without a file those of the product.

    Raises:
        SettingsError: as `load`.
    """
    return Conventions(DIALECTS, load(path)) if path else DEFAULT


def load(path: str) -> UserRules:
    """The rules of a file.

    Raises:
        SettingsError: it cannot be read, or says something that is no rule; the message names file, line and remedy.
    """
    rules, problems = parse(read(path))
    if problems:
        more = f" ({len(problems) - 1} more: evalvault-otel rules check {path})" if len(problems) > 1 else ""
        raise SettingsError(f"{path}:{problems[0].line}: {problems[0].sentence}{more}")
    return rules


def read(path: str) -> str:
    """The text of a rules file.

    Raises:
        SettingsError: there is none that can be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise SettingsError(
            f"{path}: {reason}: give --rules (EVALVAULT_RULES) a YAML file; `evalvault-otel rules example` prints one"
        ) from exc


def parse(text: str) -> tuple[UserRules, list[Problem]]:
    """The rules in a text, and what is wrong with it in the order of lines; rules that are wrong are left out."""
    problems: list[Problem] = []
    rules: dict[str, UserRule] = {}
    said: list[Any] = []
    known = known_fields()
    try:
        nodes = _rule_nodes(text)
    except Wrong as exc:
        return UserRules((), ""), [exc.problem]
    for node in nodes:
        try:
            said.append(plain(node))
            rule = _rule(node, known, rules)
            rules[rule.name] = rule
        except Wrong as exc:
            problems.append(exc.problem)
    return UserRules(rules.values(), "" if problems else _digest(said)), problems


def notes(rules: UserRules) -> list[str]:
    """What is allowed and may be a slip of the pen: types and fields that only these rules know."""
    known = known_fields()
    types = {said for rule in rules.rules if rule.stage is not None for said in rule.stage.said}
    fields = {fill.name for rule in rules.rules for fill in rule.fills}
    own = sorted(said for said in types - set(STAGE_TYPE_VALUES) if not said.startswith("custom."))
    return [
        *(f"stage type {said} is none of the usual words: metrics of stages do not know it" for said in own),
        *(
            f"field {name} is none of the conventions': the stage has it under this name"
            for name in sorted(fields - known.keys())
        ),
        *(
            f"rule {rule.name}: the pattern {pattern!r} repeats what repeats itself: some texts take it forever, and "
            f"nothing else is done meanwhile"
            for rule in rules.rules
            for pattern in rule.patterns()
            if _repeats_repeats(pattern)
        ),
    ]


_NO_SYNTAX: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]])*\]", re.DOTALL)
_NESTED: Final = re.compile(r"\([^()]*(?:[+*]|\{\d*,\d*\})[^()]*\)(?:[+*]|\{\d*,\d*\})")


def _repeats_repeats(pattern: str) -> bool:
    """Whether a group that repeats something is itself repeated, as in `(a+)+`."""
    return _NESTED.search(_NO_SYNTAX.sub("x", pattern)) is not None


def _digest(said: list[Any]) -> str:
    """The same for files that differ in comments and layout only. The order of rules counts."""
    try:
        text = orjson.dumps(said, option=_SORTED, default=str)
    except TypeError:  # a number of more than 64 bits
        text = repr(said).encode()
    return sha256(text).hexdigest()[:8]


_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def _rule_nodes(text: str) -> list[Node]:
    top = yaml_nodes.compose(text)
    if top is None:
        raise Wrong(START, "the file is empty: `evalvault-otel rules example` prints one to begin with")
    said = mapping(top, ("version", "rules"), "the file")
    if "version" in said and said["version"].value != "1":
        raise Wrong(said["version"], "only version 1 is known: write `version: 1`")
    if "rules" not in said:
        raise Wrong(top, "there are no rules: write `rules:` and a list below it")
    return sequence(said["rules"], "rules")


# One rule.


def _rule(node: Node, known: _Known, others: Container[str]) -> UserRule:
    said = mapping(node, _RULE_KEYS, "a rule")
    if "name" not in said:
        raise Wrong(node, "a rule needs a name: it is shown as the reason of every stage that the rule makes")
    name = text_of(said["name"], "name")
    if not _NAME.fullmatch(name):
        raise Wrong(said["name"], f"{name!r} is no name: use lower-case letters, digits, `-`, `_` and `.`")
    if name in others:
        raise Wrong(said["name"], f"a second rule named {name!r}: give it another name")
    when = mapping(said["when"], _WHEN_KEYS, "when") if "when" in said else {}
    conditions = tuple(_conditions(when["attributes"])) if "attributes" in when else ()
    stage = _stage(said["stage"]) if "stage" in said else None
    structural = "structural" in said and yes(said["structural"], "structural")
    fills = (*_stage_name(said), *_fills(said, known))
    _check_purpose(node, when, stage, fills, structural=structural)
    return UserRule(
        name,
        _decided_by(stage, conditions, when),
        _pattern_of(when, "span"),
        _pattern_of(when, "scope"),
        _pattern_of(when, "service"),
        _kinds(when["kind"]) if "kind" in when else frozenset(),
        conditions,
        stage,
        structural,
        fills,
        () if structural else _reads(stage, fills),
    )


def _reads(stage: StageRule | None, fills: tuple[Fill, ...]) -> tuple[str, ...]:
    """The attributes that all the rule says comes from; none if it says something else as well."""
    sources = [fill.source.keys for fill in fills] + ([(stage.key,) if stage.key else ()] if stage is not None else [])
    return tuple(key for keys in sources for key in keys) if all(sources) else ()


def _check_purpose(
    node: Node, when: Mapping[str, Node], stage: StageRule | None, fills: tuple[Fill, ...], *, structural: bool
) -> None:
    if stage is None and not fills and not structural:
        raise Wrong(node, "the rule says nothing: give it `stage`, `stage_name`, `fields` or `structural: true`")
    if structural and stage is not None:
        raise Wrong(node, "a structural span is no stage: leave out `stage` or `structural`")
    if not when and (structural or (stage is not None and not stage.key)):
        raise Wrong(node, "the rule would apply to every span: say which ones with `when`")


def _decided_by(stage: StageRule | None, conditions: tuple[Condition, ...], when: Mapping[str, Node]) -> str:
    """What the rule looks at first, as `type_source` names it."""
    if stage is not None and stage.key:
        return stage.key
    if conditions:
        return conditions[0].key
    return next((shown for key, shown in _SHOWN.items() if key in when), "")


_SHOWN: Final = {"span": "span.name", "scope": "scope.name", "service": "service.name", "kind": "span.kind"}


def _stage(node: Node) -> StageRule:
    if not isinstance(node, MappingNode):
        return StageRule(_type(node))
    said = mapping(node, ("attribute", "types"), "stage")
    if "attribute" not in said:
        raise Wrong(node, "which attribute says the stage type? Write `attribute:`, or just `stage: retrieval`")
    types = pairs(said["types"], "types") if "types" in said else ()
    return StageRule(
        key=text_of(said["attribute"], "attribute"),
        types=tuple((_pattern_in(key), _type(value)) for key, value in types),
    )


def _type(node: Node) -> str:
    said = text_of(node, "stage")
    found = as_stage_type(said)
    if found is None:
        raise Wrong(node, f"{said!r} is no stage type: use a lower-case word such as retrieval, or custom.<name>")
    return found


def _kinds(node: Node) -> frozenset[int]:
    nodes = items(node)
    for each in nodes:
        if text_of(each, "kind").lower() not in _KINDS:
            raise Wrong(each, f"{each.value!r} is no span kind: use {', '.join(_KINDS)}")
    return frozenset(_KINDS[each.value.lower()] for each in nodes)


def _conditions(node: Node) -> Iterator[Condition]:
    """`attributes: my.key`, a list of keys, or a map of keys to values."""
    if isinstance(node, MappingNode):
        for key, value in pairs(node, "attributes"):
            yield Condition(key.value, _pattern_in(key), _pattern_in(value))
    else:
        for each in items(node):
            yield Condition(text_of(each, "attributes"), _pattern_in(each), None)


# Patterns.


def _pattern_of(said: Mapping[str, Node], key: str) -> Pattern | None:
    return _pattern_in(said[key]) if key in said else None


def _pattern_in(node: Node) -> Pattern:
    """Text is compared exactly, but for `*`, which stands for anything; or `{regex: …}`, `{exact: …}`."""
    if not isinstance(node, MappingNode):
        return glob(text_of(node, "a pattern"))
    said = mapping(node, ("exact", "regex"), "a pattern")
    if len(said) != 1:
        raise Wrong(node, "a pattern is text, {regex: …} or {exact: …}")
    kind, value = next(iter(said.items()))
    text = text_of(value, kind)
    if kind == "exact":
        return Pattern(exact=text)
    try:
        return Pattern(regex=re.compile(text))
    except re.error as exc:
        raise Wrong(value, f"{text!r} is no regular expression: {exc}") from exc


def glob(text: str) -> Pattern:
    """A pattern in which `*` stands for any characters, and everything else for itself."""
    if "*" not in text:
        return Pattern(exact=text)
    return Pattern(regex=re.compile(r"\A" + ".*".join(map(re.escape, text.split("*"))) + r"\Z", re.DOTALL))


# Fields.


def _stage_name(said: Mapping[str, Node]) -> Iterator[Fill]:
    if "stage_name" in said:
        node = said["stage_name"]
        source = _source(node)[0] if isinstance(node, MappingNode) else Source(constant=text_of(node, "stage_name"))
        yield Fill(Part.IDENTITY, "name", source, COERCIONS["text"])


def _fills(said: Mapping[str, Node], known: _Known) -> Iterator[Fill]:
    for key, node in pairs(said["fields"], "fields") if "fields" in said else ():
        name = text_of(key, "fields")
        if not _FIELD.fullmatch(name):
            raise Wrong(key, f"{name!r} is no field: use lower-case letters, digits and `_`, such as doc_ids")
        part, usual = known.get(name, (Part.FIELD, anything))
        source, coerce = _source(node)
        yield Fill(part, name, source, coerce or usual)


def _source(node: Node) -> tuple[Source, Coerce | None]:
    """`my.key`, a list of keys of which the first counts, or a map that says more."""
    if not isinstance(node, MappingNode):
        return _of_keys(node, None), None
    said = mapping(node, _SOURCE_KEYS, "a field")
    coerce = _coercion(said["as"]) if "as" in said else None
    if "value" in said:
        if len(said.keys() - {"as"}) > 1:
            raise Wrong(node, "a field has either a `value` or an `attribute`, not both")
        return Source(constant=_constant(said["value"])), coerce
    if "attribute" not in said:
        raise Wrong(node, "where is the value? Write `attribute: my.key` (or `value:` for a constant)")
    return _of_keys(said["attribute"], _path(said["json"]) if "json" in said else None), coerce


def _constant(node: Node) -> Any:
    value = plain(node)
    listed = value if isinstance(value, list) else [value]
    if any(not isinstance(item, str | int | float) for item in listed):
        raise Wrong(node, "a constant is a text, a number, true, false, or a list of those: put a text in quotes")
    if any(isinstance(item, int) and not -_TWO_63 <= item < _TWO_63 for item in listed):
        raise Wrong(node, "a whole number has at most 64 bits: put this one in quotes, as a text")
    return value


def _of_keys(node: Node, path: JsonPath | None) -> Source:
    keys = tuple(text_of(each, "attribute") for each in items(node))
    if not any("*" in key for key in keys):
        return Source(keys, path=path)
    if len(keys) > 1 or path is not None:
        raise Wrong(node, "a key with `*` gathers a list by itself: it takes no other keys and no `json`")
    return Source(every=glob(keys[0]))


def _path(node: Node) -> JsonPath:
    try:
        return JsonPath.parse(text_of(node, "json"))
    except ValueError as exc:
        raise Wrong(node, str(exc)) from exc


def _coercion(node: Node) -> Coerce:
    name = text_of(node, "as")
    if name not in COERCIONS:
        raise Wrong(node, f"{name!r} is no way to read a value: use {', '.join(COERCIONS)}")
    return COERCIONS[name]
