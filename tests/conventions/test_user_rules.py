"""Rules of users: what they make of a span, what they give way to, and what is said about a file that is wrong."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalvault_otel.assembly import assemble
from evalvault_otel.conventions.json_path import JsonPath
from evalvault_otel.conventions.reading import DEFAULT, DIALECTS, MAPPING_VERSION, Conventions, Reading
from evalvault_otel.conventions.rules_file import conventions_of, glob, load, notes, parse
from evalvault_otel.conventions.user_rules import Pattern, Source, StageRule, UserRule, UserRules
from evalvault_otel.conventions.yaml_nodes import Problem
from evalvault_otel.errors import SettingsError
from evalvault_otel.model import Value
from evalvault_otel.wire import identity
from tests.support.traces import RUN_ID, STAGE_TYPE, exact, kind, resource, span, stage

ROOT = Path(__file__).parents[2]


def rules(text: str) -> Conventions:
    found, problems = parse(f"rules:\n{text}")
    assert problems == []
    return Conventions(DIALECTS, found)


def problems_of(text: str) -> list[Problem]:
    return parse(text)[1]


def read(conventions: Conventions, attributes: Mapping[str, Value] | None = None, **fields: Any) -> Reading:
    return conventions.read(span(1, attributes=attributes, **fields), is_root=True)


# What a rule applies to.


@pytest.mark.parametrize(
    "when, fits, differs",
    [
        ("{span: search}", {"name": "search"}, {"name": "search 2"}),
        ("{span: 'search *'}", {"name": "search docs"}, {"name": "research docs"}),
        ("{span: '*.(x)*'}", {"name": "a.(x)b"}, {"name": "a.x"}),
        ("{span: {exact: 'a*'}}", {"name": "a*"}, {"name": "ab"}),
        ("{span: {regex: '^Vector(Store)?$'}}", {"name": "VectorStore"}, {"name": "VectorStores"}),
        ("{span: {regex: 'Store'}}", {"name": "a Store b"}, {"name": "a store b"}),
        (
            "{scope: my.*}",
            {"scope": identity.scope("my.lib", "", {}, 0, "")},
            {"scope": identity.scope("", "", {}, 0, "")},
        ),
        ("{service: rag-api}", {}, {"resource": resource(service__name="other")}),
        ("{kind: client}", {"kind": 3}, {"kind": 1}),
        ("{kind: [CLIENT, server]}", {"kind": 2}, {"kind": 5}),
        ("{attributes: my.key}", {"attributes": {"my.key": None}}, {"attributes": {"my.keys": 1}}),
        ("{attributes: [a, b]}", {"attributes": {"a": 1, "b": 2}}, {"attributes": {"a": 1}}),
        ("{attributes: 'my.*'}", {"attributes": {"my.key": 1}}, {"attributes": {"our.key": 1}}),
        ("{attributes: {a: search}}", {"attributes": {"a": "search"}}, {"attributes": {"a": "searching"}}),
        ("{attributes: {a: 's*'}}", {"attributes": {"a": "search"}}, {"attributes": {"a": ["search"]}}),
        ("{attributes: {a: 5}}", {"attributes": {"a": 5}}, {"attributes": {"a": 5.5}}),
        ("{attributes: {a: true}}", {"attributes": {"a": True}}, {"attributes": {"a": False}}),
        ("{attributes: {'a.*': x}}", {"attributes": {"a.1": "y", "a.2": "x"}}, {"attributes": {"a.1": "y"}}),
        ("{span: s, kind: client}", {"name": "s", "kind": 3}, {"name": "s", "kind": 1}),
    ],
)
def test_a_rule_applies_when_all_it_asks_for_is_so(when: str, fits: dict[str, Any], differs: dict[str, Any]) -> None:
    conventions = rules(f"- {{name: it, when: {when}, stage: retrieval}}")

    assert read(conventions, **fits).stage_type == "retrieval"
    assert read(conventions, **differs).stage_type is None


# What it makes of the span.


@pytest.mark.parametrize(
    "rule, source",
    [
        ("{name: by-name, when: {span: 'step *'}, stage: rerank}", "user_rule:by-name:span.name"),
        ("{name: by-key, when: {span: 'step *', attributes: my.step}, stage: rerank}", "user_rule:by-key:my.step"),
        ("{name: by-scope, when: {scope: my.library}, stage: rerank}", "user_rule:by-scope:scope.name"),
        ("{name: by-value, stage: {attribute: my.step, types: {'reorder*': rerank}}}", "user_rule:by-value:my.step"),
        ("{name: as-said, stage: {attribute: my.type}}", "user_rule:as-said:my.type"),
    ],
)
def test_the_stage_says_which_rule_and_attribute_made_it(rule: str, source: str) -> None:
    made = assemble([span(1, attributes={"my.step": "reorder-2", "my.type": "Rerank"})], (), rules(f"- {rule}"))

    assert [(event.stage_type, event.type_source) for event in made.stages] == [("rerank", source)]


def test_a_value_without_a_type_of_its_own_leaves_the_span_as_it_was() -> None:
    conventions = rules("- {name: it, stage: {attribute: my.step, types: {a: rerank}}}")

    assert read(conventions, {"my.step": "b"}).stage_type is None
    assert read(conventions, {"my.step": ["a"], STAGE_TYPE: "input"}).stage_type == "input"


DOCS = '[{"id": "d1", "score": 0.5}, {"id": 7}, "x"]'


@pytest.mark.parametrize(
    "fields, attributes, expected",
    [
        ("{query: my.q}", {"my.q": '{"question": "why?"}'}, {"query": "why?"}),
        ("{query: [my.q, my.q2]}", {"my.q2": "b"}, {"query": "b"}),
        ("{query: [my.q, my.q2]}", {"my.q": "__REDACTED__", "my.q2": "b"}, {"query": "b"}),
        ("{top_k: my.k}", {"my.k": "5"}, {"top_k": 5}),
        ("{top_k: my.k}", {"my.k": "many"}, {"top_k": "many"}),
        ("{doc_ids: {attribute: my.docs, json: '$[*].id'}}", {"my.docs": DOCS}, {"doc_ids": ["d1", "7", None]}),
        ("{scores: {attribute: my.docs, json: '$[*].score'}}", {"my.docs": DOCS}, {"scores": [0.5, None, None]}),
        ("{doc_ids: {attribute: my.docs, json: '$[*].id'}}", {"my.docs": [{"id": "a"}]}, {"doc_ids": ["a"]}),
        ("{doc_ids: {attribute: my.docs, json: '$[*].id'}}", {"my.docs": "[broken"}, {}),
        ("{top_k: {attribute: my.c, json: '$.search.k'}}", {"my.c": '{"search": {"k": 3}}'}, {"top_k": 3}),
        (
            "{doc_ids: 'my.docs.*.id'}",
            {"my.docs.10.id": "k", "my.docs.9.id": "j", "my.docs.9.x": 1},
            {"doc_ids": ["j", "k"]},
        ),
        ("{provider: {value: acme}}", {}, {"provider": "acme"}),
        ("{our_own: my.x}", {"my.x": {"a": 1}}, {"our_own": {"a": 1}}),
        ("{our_own: {attribute: my.x, as: number}}", {"my.x": "1.5"}, {"our_own": 1.5}),
        ("{query: my.q}", {}, {}),
    ],
)
def test_fields_are_filled(fields: str, attributes: dict[str, Value], expected: dict[str, Value]) -> None:
    reading = read(rules(f"- {{name: it, fields: {fields}}}"), attributes)

    assert exact(reading.fields) == exact(expected)


def test_fields_of_the_case_and_of_the_stage_go_where_they_belong() -> None:
    text = (
        "- {name: it, when: {span: '*'}, stage: retrieval, stage_name: bm25, fields: {run_id: my.run, attempt: my.try}}"
    )
    made = assemble([span(1, attributes={"my.run": "r-1", "my.try": 2})], (), rules(text))

    assert [(event.stage_name, event.run_id, event.attempt) for event in made.stages] == [("bm25", "r-1", 2)]


def test_the_name_may_come_from_an_attribute() -> None:
    conventions = rules("- {name: it, stage_name: {attribute: my.index}}")

    assert read(conventions, {"my.index": "policies"}).identity == {"name": "policies"}
    assert read(conventions, {}).identity == {}


def test_what_follows_from_the_type_follows_from_the_type_of_a_rule() -> None:
    conventions = rules("- {name: it, when: {span: 'step *'}, stage: retrieval}")

    assert read(conventions, {"input.value": "why?"}).fields == {"query": "why?"}


def test_a_structural_span_is_no_stage_and_its_children_go_up() -> None:
    spans = [stage(1, 0, "agent"), kind(2, 1, "TOOL", name="wrapper"), stage(3, 2, "retrieval")]
    made = assemble(spans, (), rules("- {name: wrappers, when: {span: wrapper}, structural: true}"))

    assert [(event.stage_type, event.parent_stage_id) for event in made.stages] == [
        ("agent", None),
        ("retrieval", spans[0].span_id),
    ]


# What comes first.


def test_the_first_rule_that_says_a_thing_counts() -> None:
    text = """
- {name: a, when: {attributes: my.q}, fields: {query: my.q}}
- {name: b, when: {span: '*'}, stage: retrieval, fields: {query: my.other, top_k: my.k}}
- {name: c, when: {span: '*'}, structural: true, fields: {top_k: {value: 99}}}
"""
    reading = read(rules(text), {"my.q": "first", "my.other": "second", "my.k": 5})

    assert (reading.stage_type, reading.type_source) == ("retrieval", "user_rule:b:span.name")
    assert reading.fields == {"query": "first", "top_k": 5}


def test_a_rule_wins_over_conventions_without_a_finding() -> None:
    text = "- {name: it, when: {span: '*'}, stage: rerank, fields: {model_name: my.model}}"
    said = {"openinference.span.kind": "RETRIEVER", "llm.model_name": "gpt", "my.model": "ours"}
    reading = read(rules(text), said)

    assert (reading.stage_type, reading.conflicts, reading.explicit) == ("rerank", (), False)
    assert reading.fields["model_name"] == "ours"


def test_our_own_attributes_win_over_a_rule_with_a_finding_about_the_type() -> None:
    text = "- {name: it, when: {span: '*'}, stage: rerank, fields: {query: my.q, run_id: my.run}}"
    said = {STAGE_TYPE: "retrieval", "evalvault.retrieval.query": "ours", RUN_ID: "r", "my.q": "theirs", "my.run": "x"}
    reading = read(rules(text), said)

    assert (reading.stage_type, reading.fields["query"], reading.context["run_id"]) == ("retrieval", "ours", "r")
    assert list(reading.conflicts) == [
        "evalvault.stage.type says retrieval, user_rule:it:span.name says rerank; the first wins"
    ]
    assert reading.explicit


def test_spans_that_no_rule_applies_to_are_read_as_without_rules() -> None:
    conventions = rules("- {name: it, when: {span: other}, stage: rerank}")
    spans = [kind(1, 0, "RETRIEVER", {"retrieval.documents.0.document.id": "a"}), span(2, 1)]

    assert [conventions.read(each, is_root=False) for each in spans] == [
        DEFAULT.read(each, is_root=False) for each in spans
    ]


SOUP = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
GREEDY = rules(
    """
- {name: a, when: {span: '*', attributes: {'a*': {regex: '.'}}}, stage: {attribute: a.type}}
- {name: b, fields: {doc_ids: 'a*', query: [a, b], top_k: {attribute: b, json: '$.x[0][*]["y"]'}}}
""".replace('["y"]', "[''y'']")
)


@given(st.dictionaries(st.sampled_from(["a", "a.1", "a.type", "b"]) | st.text(), SOUP, max_size=5), st.text())
def test_whatever_attributes_hold_nothing_is_raised(attributes: dict[str, Value], name: str) -> None:
    assemble([span(1, attributes=attributes, name=name)], (), GREEDY)


# Paths.


@pytest.mark.parametrize(
    "path, expected",
    [
        ("$", {"a": [{"b": 1}, {"b": 2}, 3], "c-d": [[1, 2], [3]], "empty": []}),
        ("$.a[0].b", 1),
        ("$.a[-2].b", 2),
        ("$.a[9].b", None),
        ("$.a[*].b", [1, 2, None]),
        ("$['c-d'][*][*]", [1, 2, 3]),
        ("$.c-d[*][0]", [1, 3]),
        ("$.nothing[*].b", None),
        ("$.empty[*].b", []),
        ("$.empty[*].b[*]", []),
        ("$.a.b", None),
    ],
)
def test_a_path_finds(path: str, expected: Value) -> None:
    value = {"a": [{"b": 1}, {"b": 2}, 3], "c-d": [[1, 2], [3]], "empty": []}

    assert exact({"": JsonPath.parse(path).find(value)}) == exact({"": expected})


@pytest.mark.parametrize("text", ["", "a", "$a", "$.", "$..a", "$[", "$[x]", "$[*", "$.a[1:2]", "$[?(@.a)]", "$ .a"])
def test_other_paths_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        JsonPath.parse(text)


# The file.


@pytest.mark.parametrize(
    "text, line, sentence",
    [
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("rules: [", 1, "this is not YAML"),
        ("rules:\n  - name: a\n  b", 3, "this is not YAML"),
        ("a\x00b", 1, "this is not YAML"),
        ("- a", 1, "the file is a map"),
        ("version: 2\nrules: []", 1, "only version 1 is known"),
        ("version: 1", 1, "there are no rules"),
        ("rules:\n  name: a", 2, "rules is a list"),
        ("rule: []", 1, "the file has no 'rule': it has version, rules"),
        ("rules:\n- stage: a", 2, "a rule needs a name"),
        ("rules:\n- name: A b", 2, "'A b' is no name"),
        ("rules:\n- name: a", 2, "the rule says nothing"),
        ("rules:\n- name: a\n  stages: b", 3, "a rule has no 'stages': it has name, when, stage"),
        ("rules:\n- name: a\n  name: b", 3, "has 'name' twice"),
        ("rules:\n- name: a\n  stage: b", 2, "would apply to every span"),
        ("rules:\n- name: a\n  structural: true", 2, "would apply to every span"),
        ("rules:\n- name: a\n  when: {span: x}\n  stage: b\n  structural: true", 2, "a structural span is no stage"),
        ("rules:\n- name: a\n  when: {span: x}\n  structural: perhaps", 4, "structural is true or false"),
        ("rules:\n- name: a\n  when:\n    spam: x\n  stage: b", 4, "when has no 'spam'"),
        ("rules:\n- name: a\n  when:\n    kind: clients\n  stage: b", 4, "'clients' is no span kind: use internal"),
        ("rules:\n- name: a\n  when:\n    span: {regex: '('}\n  stage: b", 4, "'(' is no regular expression"),
        ("rules:\n- name: a\n  fields: {top_k: {value: 99999999999999999999}}", 3, "at most 64 bits"),
        ("rules:\n- name: a\n  when: {attributes: {k: 2026-13-45}}\n  stage: b", 2, "put it in quotes"),
        ("rules: " + "[" * 3000, 1, "nested too deeply"),
        ("rules:\n- name: a\n  when:\n    span: {glob: x}\n  stage: b", 4, "a pattern has no 'glob'"),
        ("rules:\n- name: a\n  when:\n    span: {}\n  stage: b", 4, "a pattern is text"),
        ("rules:\n- name: a\n  when:\n    span:\n  stage: b", 4, "a pattern is a text"),
        ("rules:\n- name: a\n  when: {span: x}\n  stage: two words", 4, "'two words' is no stage type"),
        ("rules:\n- name: a\n  stage: {types: {}}", 3, "which attribute says the stage type?"),
        ("rules:\n- name: a\n  stage:\n    attribute: b\n    types:\n      c: 1d", 6, "'1d' is no stage type"),
        ("rules:\n- name: a\n  fields:\n    Doc: b", 4, "'Doc' is no field"),
        ("rules:\n- name: a\n  fields:\n    q: {as: text}", 4, "where is the value?"),
        ("rules:\n- name: a\n  fields:\n    q: {attribute: b, as: list}", 4, "'list' is no way to read a value"),
        ("rules:\n- name: a\n  fields:\n    q: {attribute: b, json: c}", 4, "'c' is not a path"),
        ("rules:\n- name: a\n  fields:\n    q: {attribute: b, value: c}", 4, "either a `value` or an `attribute`"),
        ("rules:\n- name: a\n  fields:\n    q: {value: 2026-01-01}", 4, "put a text in quotes"),
        ("rules:\n- name: a\n  fields:\n    q: {value: {a: 1}}", 4, "put a text in quotes"),
        ("rules:\n- name: a\n  fields:\n    q: [a, 'b*']", 4, "gathers a list by itself"),
        ("rules:\n- {name: a, fields: {q: b}}\n- {name: a, fields: {q: b}}", 3, "a second rule named 'a'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, sentence: str) -> None:
    (problem,) = problems_of(text)

    assert problem.line == line
    assert sentence in problem.sentence


def test_all_wrong_rules_are_found_at_once(tmp_path: Path) -> None:
    text = "rules:\n- name: a\n- {name: good, fields: {q: b}}\n- nonsense\n- name: B\n"
    path = tmp_path / "rules.yaml"
    path.write_text(text)

    assert [problem.line for problem in problems_of(text)] == [2, 4, 5]
    with pytest.raises(
        SettingsError, match=r"rules\.yaml:2: the rule says nothing.* \(2 more: evalvault-otel rules check"
    ):
        load(str(path))


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named_with_a_remedy(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rules.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingsError, match=r"rules\.yaml: .*evalvault-otel rules example"):
        load(str(path))


# The version of the mapping.


def test_the_digest_follows_from_what_the_rules_say() -> None:
    one = rules("- {name: a, when: {span: x}, stage: rerank}\n- {name: b, fields: {query: my.q}}")
    same = rules("# words\n- name: a\n  stage: rerank\n  when:\n    span: x\n\n- {name: b, fields: {query: my.q}}")
    swapped = rules("- {name: b, fields: {query: my.q}}\n- {name: a, when: {span: x}, stage: rerank}")

    assert one.version == same.version != swapped.version
    assert one.version == f"{MAPPING_VERSION}+rules:{one.rules.digest if one.rules else ''}"
    assert assemble([span(1)], (), one).mapping_version == one.version
    assert assemble([span(1)]).mapping_version == conventions_of("").version == str(MAPPING_VERSION)


def test_the_example_of_the_page_makes_the_table_of_the_page() -> None:
    page = (ROOT / "docs" / "rules.md").read_text()
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found, problems = parse(text)

    assert problems == []
    assert Conventions(DIALECTS, found).version in page
    shown = assemble(EXAMPLE_SPANS, (), Conventions(DIALECTS, found)).stages
    assert [(stage.stage_type, stage.stage_name, stage.type_source) for stage in shown] == [
        ("retrieval", "policies", "user_rule:policy-search:span.name"),
        ("rerank", "step", "user_rule:our-steps:app.step"),
        ("output", "step", "rule:answering_generation, user_rule:our-steps:app.step"),
    ]
    assert all(source in page for source in (stage.type_source for stage in shown))


EXAMPLE_SPANS = [
    span(1, name="handle_question"),
    span(2, 1, name="TimingWrapper", start=1, end=40),
    span(3, 2, {"search.text": "water damage", "search.limit": 2}, name="PolicySearch.run", start=2, end=38),
    span(4, 1, {"app.step": "reorder-by-date"}, name="step", start=41, end=50),
    span(5, 1, {"app.step": "answer", "gateway.usage": '{"prompt": 812, "completion": 96}'}, name="step", start=51),
]


@pytest.mark.parametrize(
    "pattern, noted",
    [("(a+)+$", True), ("(x|y*)*", True), ("(a{1,})+", True), (r"(\+a)+", False), ("([+*])+", False), ("(ab)+", False)],
)
def test_a_pattern_that_can_take_forever_is_noted(pattern: str, noted: bool) -> None:
    (rule,) = [UserRule("a", "", span=Pattern(regex=re.compile(pattern)), stage=StageRule("retrieval"))]
    assert any("forever" in note for note in notes(UserRules([rule], ""))) is noted


def test_numbers_in_keys_have_any_number_of_digits() -> None:
    found = Source(every=glob("docs.*")).value({"docs.10": "b", "docs." + "9" * 5000: "c", "docs.9": "a"})
    assert found == ["a", "b", "c"]
