"""Definitions of tools in the forms of providers and frameworks, and the assets that they become."""

import json
from typing import Any

import pytest
from hypothesis import given

from evalvault_otel.assembly import assemble
from evalvault_otel.conventions.tools import digest, tools_of
from evalvault_otel.model import Span, Value
from tests.support.strategies import any_values, bounded
from tests.support.traces import kind, span, stage

SEARCH: dict[str, Any] = {"name": "search", "description": "finds", "parameters": {"type": "object"}}
FORMS = [
    [SEARCH],
    [{"type": "function", **SEARCH}],
    [{"type": "function", "function": SEARCH}],
    [{"toolSpec": SEARCH}],
    SEARCH,
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("written", [lambda value: value, json.dumps])
def test_every_form_names_the_tool(form: Any, written: Any) -> None:
    assert [name for name, _ in tools_of(written(form)) or ()] == ["search"]


def test_texts_in_a_list_are_definitions() -> None:
    assert [name for name, _ in tools_of([json.dumps(SEARCH), json.dumps({"name": "add"})]) or ()] == ["search", "add"]


def test_the_digest_knows_content_and_not_its_order() -> None:
    turned = dict(reversed(SEARCH.items()))

    assert tools_of([turned]) == tools_of([SEARCH]) == tools_of(json.dumps([SEARCH]))
    assert tools_of([{**SEARCH, "description": "seeks"}]) != tools_of([SEARCH])


@pytest.mark.parametrize("value", [None, "", "no json", "[]", [], {}, [1], [{"name": 1.5j}], [{"title": "x"}], 7, b"x"])
def test_what_names_no_tool_is_none(value: Value) -> None:
    assert tools_of(value) is None


@bounded
@given(value=any_values)
def test_nothing_is_too_odd(value: Value) -> None:
    tools_of(value)
    tools_of([{"name": "x", "inner": value}])


def _tools(*spans: Span) -> list[tuple[str, str | None, str | None]]:
    return [(use.name, use.digest, use.role) for use in assemble(spans).asset_uses if use.kind == "tool"]


OFFERED = [("search", digest(SEARCH), "offered")]


@pytest.mark.parametrize(
    "attributes",
    [
        {"openinference.span.kind": "LLM", "llm.tools.0.tool.json_schema": json.dumps({"function": SEARCH})},
        {"openinference.span.kind": "LLM", "llm.tools": [{"tool": {"json_schema": json.dumps(SEARCH)}}]},
        {"gen_ai.operation.name": "chat", "gen_ai.tool.definitions": json.dumps([SEARCH])},
        {"gen_ai.operation.name": "chat", "gen_ai.tool.definitions": [SEARCH]},
        {"ai.operationId": "ai.generateText.doGenerate", "ai.prompt.tools": [json.dumps(SEARCH)]},
    ],
)
def test_what_a_model_was_offered_is_an_asset_of_its_stage(attributes: dict[str, Value]) -> None:
    assert _tools(span(1, 0, attributes)) == OFFERED


def test_a_tool_that_ran_has_the_digest_of_its_schema() -> None:
    ran = kind(1, 0, "TOOL", {"tool.name": "search", "tool.json_schema": json.dumps(SEARCH)})

    assert _tools(ran) == [("search", digest(SEARCH), None)]


def test_a_tool_that_the_stage_recorded_is_not_named_again() -> None:
    said = {
        "evalvault.assets": [{"kind": "tool", "name": "search", "version": "3"}],
        "gen_ai.tool.definitions": [SEARCH],
    }

    assert _tools(stage(1, 0, "generation", said)) == [("search", None, None)]


def test_a_prompt_with_its_template_has_a_digest() -> None:
    said = {"prompt.id": "qa", "llm.prompt_template.template": "{context}"}
    (use,) = (use for use in assemble([kind(1, 0, "LLM", said)]).asset_uses if use.kind == "prompt")

    assert (use.name, use.version, use.digest) == ("qa", None, digest("{context}"))


@pytest.mark.parametrize(
    "name, attributes, expected",
    [
        ("chat gpt-x", {"gen_ai.operation.name": "chat"}, "gpt-x"),
        ("execute_tool get weather", {"gen_ai.operation.name": "execute_tool"}, "get weather"),
        ("chat gpt-x", {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "Planner"}, "gpt-x"),
        ("chat", {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "Planner"}, "chat"),
        ("invoke_agent", {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Planner"}, "Planner"),
        ("ChatOpenAI", {"gen_ai.operation.name": "chat"}, "ChatOpenAI"),
        ("chat gpt-x", {"gen_ai.operation.name": "chat", "evalvault.stage.name": "answer"}, "answer"),
    ],
)
def test_a_genai_stage_is_called_by_what_it_works_with(name: str, attributes: dict[str, Value], expected: str) -> None:
    assert assemble([span(1, 0, attributes, name=name)]).stages[0].stage_name == expected
