"""The engine: ranks, conflicts per field, guesses, lists in one value, and plans that do not grow without bound."""

import re

import pytest

from evalvault_otel.conventions import reading as module
from evalvault_otel.conventions.coerce import integer, text
from evalvault_otel.conventions.deprecated import DEPRECATED
from evalvault_otel.conventions.reading import DEFAULT, DIALECTS, Conventions, Reading
from evalvault_otel.conventions.rules import STRUCTURAL, Dialect, Naming, Rule, Typing
from evalvault_otel.model import Value
from tests.support.traces import span


def _read(attributes: dict[str, Value], name: str = "step", *, is_root: bool = False) -> Reading:
    return DEFAULT.read(span(1, name=name, attributes=attributes), is_root=is_root)


def test_a_disagreement_about_a_field_names_both_keys_and_values() -> None:
    said = {"evalvault.retrieval.top_k": 5, "reranker.top_k": 3}

    assert _read(said).fields["top_k"] == 5
    assert list(_read(said).conflicts) == [
        "evalvault.retrieval.top_k says 5, reranker.top_k says 3 for top_k; the first wins"
    ]
    assert _read(dict(reversed(said.items()))).conflicts == _read(said).conflicts


@pytest.mark.parametrize("other", [5, 5.0, "5"])
def test_the_same_value_in_another_form_is_no_conflict(other: Value) -> None:
    assert list(_read({"evalvault.retrieval.top_k": 5, "reranker.top_k": other}).conflicts) == []


def test_names_of_one_dialect_for_one_field_are_no_conflict() -> None:
    assert (
        list(_read({"evalvault.retrieval.top_k": 5, "evalvault.run.id": "a", "evalvault.run_id": "b"}).conflicts) == []
    )


def test_a_value_that_cannot_be_read_leaves_its_field_to_the_next_key() -> None:
    read = _read({"evalvault.retrieval.top_k": "many", "reranker.top_k": 3})

    assert (read.fields["top_k"], read.conflicts) == (3, ())


def test_which_conventions_speak() -> None:
    assert _read({"evalvault.stage.type": "tool", "tool.name": "t", "http.method": "GET"}).conventions == (
        "evalvault",
        "openinference",
    )
    assert _read({"http.method": "GET", "my.own": 1}).conventions == ()


@pytest.mark.parametrize(
    "name, stage_type, source",
    [
        ("rewrite_query", "query_rewrite", "heuristic:query_rewrite"),
        ("generate_rewritten_question", "query_rewrite", "heuristic:query_rewrite"),
        ("LLMRerank.postprocess_nodes", "rerank", "heuristic:rerank"),
        ("StrOutputParser", "postprocess", "heuristic:postprocess"),
        ("do_something", None, ""),
    ],
)
def test_a_chain_is_what_its_name_suggests(name: str, stage_type: str | None, source: str) -> None:
    read = _read({"openinference.span.kind": "CHAIN"}, name)

    assert (read.stage_type, read.type_source) == (stage_type, source)


@pytest.mark.parametrize("name", ["retrieve", "rerank", "GET /search", "SELECT chunks", "generate"])
def test_a_span_of_no_convention_is_no_stage_whatever_it_is_called(name: str) -> None:
    assert _read({"http.route": "/search", "db.statement": "SELECT 1", "prompt": "x"}, name).stage_type is None


def test_the_chain_at_the_root_is_the_workflow_whatever_it_is_called() -> None:
    read = _read({"openinference.span.kind": "CHAIN"}, "RetrieverQueryEngine.query", is_root=True)

    assert (read.stage_type, read.type_source) == ("workflow", "rule:root_chain:openinference.span.kind")


def test_what_a_span_has_types_it_last() -> None:
    has = {"llm.model_name": "m", "llm.token_count.completion": 3}

    assert _read(has).type_source == "heuristic:has_model_name_and_tokens_out"
    assert _read(has | {"openinference.span.kind": "EMBEDDING"}).stage_type == "embedding"


def test_a_list_in_one_value_is_read_as_one_spread_over_keys() -> None:
    spread = {
        "retrieval.documents.0.document.id": "a",
        "retrieval.documents.0.document.score": 0.5,
        "retrieval.documents.1.document.id": "b",
    }
    whole = {"retrieval.documents": [{"document": {"id": "a", "score": 0.5}}, {"document.id": "b"}]}

    assert _read(whole).fields == _read(spread).fields == {"doc_ids": ["a", "b"], "scores": [0.5, None]}


def _rules(*namings: Naming, typings: tuple[Typing, ...] = (), rules: tuple[Rule, ...] = ()) -> Conventions:
    return Conventions((Dialect("mine", typings, rules, namings=namings), *DIALECTS))


def test_a_dialect_in_front_wins_by_name_and_by_attribute() -> None:
    by_name = _rules(Naming("user_rule:lookup", "retrieval", name=re.compile("^look")))
    by_key = _rules(
        typings=(Typing("my.kind", {"x": "rerank"}, rule="user_rule:kinds"),),
        rules=(Rule("my.k", "top_k", integer), Rule("my.q", "query", text)),
    )
    llm = {"openinference.span.kind": "LLM"}

    found = by_name.read(span(1, name="lookup", attributes=llm), is_root=False)
    assert (found.stage_type, found.type_source) == ("retrieval", "user_rule:lookup")
    assert by_name.read(span(1, name="other", attributes=llm), is_root=False).stage_type == "generation"
    found = by_key.read(span(1, attributes={**llm, "my.kind": "X", "my.k": "7"}), is_root=False)
    assert (found.stage_type, found.type_source, found.fields) == (
        "rerank",
        "user_rule:kinds:my.kind",
        {"top_k": 7},
    )


def test_a_rule_can_say_that_a_span_is_no_stage() -> None:
    mine = _rules(Naming("user_rule:noise", STRUCTURAL, scope=re.compile("library")))

    found = mine.read(span(1, attributes={"openinference.span.kind": "LLM"}), is_root=False)

    assert (found.stage_type, found.type_source) == (None, "user_rule:noise")


def test_plans_of_unusual_spans_are_not_kept() -> None:
    mine = Conventions(DIALECTS)
    for n in range(module._MAX_PLANS + 50):
        mine.read(span(1, attributes={f"key.{n}": n}), is_root=False)
    mine.read(span(1, attributes={"x" * 100_000: 1}), is_root=False)
    mine.read(span(1, attributes={f"k{n}": 1 for n in range(5_000)}), is_root=False)

    assert len(mine._plans) <= module._MAX_PLANS
    assert sum(len(key) for keys in mine._plans for key in keys) < 100_000


def test_names_that_were_replaced_are_still_read() -> None:
    claimed = {rule.key for dialect in DIALECTS for rule in dialect.rules}
    claimed |= {typing.key for dialect in DIALECTS for typing in dialect.typings}
    lists = tuple(prefix for dialect in DIALECTS for prefix in dialect.flattened)
    whole = {prefix.rstrip(".") for prefix in lists}

    unread = [key for key in DEPRECATED if key not in claimed | whole and not key.startswith(lists)]

    # Says only in which format an answer was asked for
    assert unread == ["gen_ai.openai.request.response_format"]
