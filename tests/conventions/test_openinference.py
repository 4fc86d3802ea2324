"""OpenInference: span kinds, every attribute of the table, flattened lists, hidden values, and rank against ours."""

from hashlib import sha256

import pytest

from evalvault_otel.conventions import openinference
from evalvault_otel.conventions.reading import DEFAULT, Reading
from evalvault_otel.conventions.tools import digest
from evalvault_otel.model import Attributes, Value
from tests.support.traces import KIND, STAGE_TYPE, exact, span

REDACTED = "__REDACTED__"


def _read(attributes: Attributes, span_kind: str | None = None, *, is_root: bool = False) -> Reading:
    said = {KIND: span_kind, **attributes} if span_kind else attributes
    return DEFAULT.read(span(1, attributes=said), is_root=is_root)


@pytest.mark.parametrize(
    "said, stage_type",
    [
        ("LLM", "generation"),
        ("EMBEDDING", "embedding"),
        ("RETRIEVER", "retrieval"),
        ("RERANKER", "rerank"),
        ("TOOL", "tool"),
        ("AGENT", "agent"),
        ("GUARDRAIL", "safety_check"),
        ("EVALUATOR", "evaluation"),
        ("PROMPT", "prompt"),
        ("DECISION", "route_plan"),
        (" retriever ", "retrieval"),
        ("CHAIN", None),
        ("UNKNOWN", None),
        ("", None),
        (7, None),
    ],
)
def test_every_span_kind_has_its_stage_type(said: Value, stage_type: str | None) -> None:
    reading = DEFAULT.read(span(1, attributes={KIND: said}), is_root=False)

    assert reading.stage_type == stage_type
    assert reading.type_source == ("attribute:openinference.span.kind" if stage_type else "")
    assert not reading.explicit


def test_a_chain_is_a_workflow_at_the_root_only() -> None:
    root, inner = _read({}, "CHAIN", is_root=True), _read({}, "CHAIN")

    assert (root.stage_type, root.type_source) == ("workflow", "rule:root_chain:openinference.span.kind")
    assert (inner.stage_type, inner.type_source) == (None, "")


# Attribute key, its value, and what is read of it in identity, context and fields together.
TABLE: list[tuple[str, Value, dict[str, Value]]] = [
    ("input.value", "in", {"input": "in"}),
    ("output.value", "out", {"output": "out"}),
    ("input.mime_type", "application/json", {"input_type": "application/json"}),
    ("output.mime_type", "text/plain", {"output_type": "text/plain"}),
    ("agent.name", "planner", {"name": "planner"}),
    ("session.id", "s", {"session_id": "s"}),
    ("user.id", "u", {"user_id": "u"}),
    ("tag.tags", ["a", "b"], {"tags": ["a", "b"]}),
    ("llm.response.model_name", "m", {"model_name": "m"}),
    ("llm.model_name", "m", {"model_name": "m"}),
    ("llm.request.model_name", "m", {"model_name": "m"}),
    ("embedding.model_name", "m", {"model_name": "m"}),
    ("reranker.model_name", "m", {"model_name": "m"}),
    ("llm.provider", "p", {"provider": "p"}),
    ("llm.system", "p", {"provider": "p"}),
    ("llm.invocation_parameters", '{"temperature": 0}', {"_parameters": {"temperature": 0}}),
    ("embedding.invocation_parameters", '{"x": 1}', {"_parameters": {"x": 1}}),
    ("llm.token_count.prompt", 900, {"tokens_in": 900}),
    ("llm.token_count.completion", 210, {"tokens_out": 210}),
    ("llm.token_count.total", 1110, {"tokens_used": 1110}),
    ("llm.token_count.prompt_details.cache_read", 5, {"tokens_cached_read": 5}),
    ("llm.token_count.prompt_details.cache_write", 6, {"tokens_cached_write": 6}),
    ("llm.token_count.completion_details.reasoning", 7, {"tokens_reasoning": 7}),
    ("llm.cost.prompt", 0.25, {"cost_in": 0.25}),
    ("llm.cost.completion", 0.5, {"cost_out": 0.5}),
    ("llm.cost.total", 0.75, {"cost_total": 0.75}),
    ("llm.finish_reason", "stop", {"finish_reason": "stop"}),
    ("decision.response.model_name", "d", {"model_name": "d"}),
    ("decision.model_name", "d", {"model_name": "d"}),
    ("decision.request.model_name", "d", {"model_name": "d"}),
    ("decision.provider", "p", {"provider": "p"}),
    ("decision.system", "p", {"provider": "p"}),
    ("decision.token_count.input", 412, {"tokens_in": 412}),
    ("decision.token_count.output", 2, {"tokens_out": 2}),
    ("llm.prompt_template.template", "{q}", {"_template": "{q}"}),
    ("llm.prompt_template.variables", '{"q": 1}', {"_variables": '{"q": 1}'}),
    ("llm.prompt_template.version", 3, {"prompt_version": "3"}),
    ("prompt.id", "qa", {"prompt_name": "qa"}),
    ("prompt.vendor", "hub", {"prompt_vendor": "hub"}),
    ("prompt.url", "https://hub/qa", {"prompt_url": "https://hub/qa"}),
    ("graph.node.id", "n", {"graph_node": "n"}),
    ("graph.node.name", "Node", {"graph_node_name": "Node"}),
    ("graph.node.parent_id", "p", {"graph_parent": "p"}),
    ("reranker.query", "why?", {"query": "why?"}),
    ("reranker.top_k", 3, {"top_k": 3}),
    ("tool.name", "search", {"tool_name": "search"}),
    ("tool.id", "call-1", {"tool_call_id": "call-1"}),
    ("tool.description", "finds", {"_description": "finds"}),
    ("tool.parameters", '{"a": 1}', {"_tool_parameters": '{"a": 1}'}),
    ("tool.json_schema", '{"name": "search"}', {"_tools": [("search", digest({"name": "search"}))]}),
]


@pytest.mark.parametrize("key, value, expected", TABLE, ids=[row[0] for row in TABLE])
def test_the_attribute_fills_its_field(key: str, value: Value, expected: dict[str, Value]) -> None:
    reading = _read({key: value})

    assert exact({**reading.identity, **reading.context, **reading.fields}) == exact(expected)
    assert reading.others == {}


@pytest.mark.parametrize("key", [row[0] for row in TABLE])
def test_a_hidden_value_counts_as_absent(key: str) -> None:
    reading = _read({key: REDACTED})

    assert {**reading.identity, **reading.context, **reading.fields} == {}


def test_the_table_above_is_the_whole_dialect() -> None:
    assert [row[0] for row in TABLE] == [rule.key for rule in openinference.DIALECT.rules]


def test_the_model_that_answered_comes_before_the_one_that_was_asked_for() -> None:
    names = {"llm.request.model_name": "asked", "llm.model_name": "named", "llm.response.model_name": "answered"}

    assert _read(names).fields == _read(dict(reversed(names.items()))).fields == {"model_name": "answered"}


def test_our_own_attributes_win_field_by_field() -> None:
    reading = _read(
        {
            STAGE_TYPE: "rerank",
            "llm.token_count.prompt": 1,
            "llm.token_count.completion": 2,
            "evalvault.usage.input_tokens": 10,
            "retrieval.documents.0.document.id": "theirs",
            "evalvault.retrieval.doc_ids": ["ours"],
        },
        "RETRIEVER",
    )

    assert (reading.stage_type, reading.type_source) == ("rerank", "attribute:evalvault.stage.type")
    assert reading.fields == {"tokens_in": 10, "tokens_out": 2, "doc_ids": ["ours"]}
    assert list(reading.conflicts) == [
        "evalvault.stage.type says rerank, openinference.span.kind says retrieval; the first wins",
        "evalvault.usage.input_tokens says 10, llm.token_count.prompt says 1 for tokens_in; the first wins",
    ]


@pytest.mark.parametrize(
    "ours, theirs, conflict",
    [
        ("retrieval", "RETRIEVER", False),
        ("output", "LLM", False),
        ("generation", "LLM", False),
        ("output", "CHAIN", False),
        ("retrieval", "UNKNOWN", False),
        ("generation", "RETRIEVER", True),
    ],
)
def test_labels_are_in_conflict_only_when_they_say_different_things(ours: str, theirs: str, conflict: bool) -> None:
    assert bool(_read({STAGE_TYPE: ours}, theirs).conflicts) == conflict


# Flattened lists.


def test_documents_come_in_the_order_of_their_numbers() -> None:
    attributes: dict[str, Value] = {}
    for index in (10, 2, 0):
        attributes[f"retrieval.documents.{index}.document.id"] = index
        attributes[f"retrieval.documents.{index}.document.score"] = index / 10

    assert _read(attributes, "RETRIEVER").fields == {"doc_ids": ["0", "2", "10"], "scores": [0.0, 0.2, 1.0]}


def test_lost_first_documents_are_noticed() -> None:
    fields = _read({"retrieval.documents.3.document.id": "d"}, "RETRIEVER").fields

    assert fields == {"doc_ids": ["d"], "documents_truncated": True}


def test_a_missing_score_keeps_its_place() -> None:
    attributes = {
        "retrieval.documents.0.document.id": "a",
        "retrieval.documents.1.document.id": "b",
        "retrieval.documents.1.document.score": "0.5",
    }

    assert _read(attributes, "RETRIEVER").fields == {"doc_ids": ["a", "b"], "scores": [None, 0.5]}


@pytest.mark.parametrize("key", ["id", "doc_id", "document_id", "chunk_id", "node_id", "source", "_id", "url"])
def test_a_document_without_an_id_has_it_from_its_metadata(key: str) -> None:
    attributes = {
        "retrieval.documents.0.document.content": "text",
        "retrieval.documents.0.document.metadata": f'{{"page": 3, "{key}": "m-1"}}',
    }

    assert _read(attributes, "RETRIEVER").fields["doc_ids"] == ["m-1"]


@pytest.mark.parametrize("metadata", [None, "{broken", "[]", '{"page": 3}', 5])
def test_without_any_id_the_content_names_the_document(metadata: Value) -> None:
    attributes = {
        "retrieval.documents.0.document.content": "text",
        "retrieval.documents.0.document.metadata": metadata,
    }

    assert _read(attributes, "RETRIEVER").fields["doc_ids"] == ["h:" + sha256(b"text").hexdigest()[:16]]


@pytest.mark.parametrize("content", [None, "", REDACTED])
def test_documents_of_which_nothing_is_known_are_not_taken_for_one(content: str | None) -> None:
    attributes: dict[str, Value] = {}
    for index in range(2):
        attributes[f"retrieval.documents.{index}.document.content"] = content
        attributes[f"retrieval.documents.{index}.document.score"] = 0.5

    assert _read(attributes, "RETRIEVER").fields == {"doc_ids": [None, None], "scores": [0.5, 0.5]}


def test_a_reranker_knows_what_went_in_and_what_came_out() -> None:
    attributes: dict[str, Value] = {"reranker.query": "q"}
    for index, name in enumerate("abc"):
        attributes[f"reranker.input_documents.{index}.document.id"] = name
    for index, name in enumerate("cb"):
        attributes[f"reranker.output_documents.{index}.document.id"] = name
        attributes[f"reranker.output_documents.{index}.document.score"] = 0.5

    assert _read(attributes, "RERANKER").fields == {
        "query": "q",
        "input_count": 3,
        "input_doc_ids": ["a", "b", "c"],
        "output_count": 2,
        "doc_ids": ["c", "b"],
        "scores": [0.5, 0.5],
    }


def test_vectors_are_counted_and_measured_but_not_kept() -> None:
    attributes = {
        "embedding.embeddings.0.embedding.text": "a",
        "embedding.embeddings.0.embedding.vector": [0.1, 0.2, 0.3],
        "embedding.embeddings.1.embedding.text": "b",
    }

    assert _read(attributes, "EMBEDDING").fields == {"batch_size": 2, "dimension": 3}


def test_messages_give_system_prompt_question_and_answer() -> None:
    attributes = {
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "Be brief.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.content": "First?",
        "llm.input_messages.2.message.role": "assistant",
        "llm.input_messages.2.message.content": "Yes.",
        "llm.input_messages.10.message.role": "user",
        "llm.input_messages.10.message.contents.0.message_content.type": "text",
        "llm.input_messages.10.message.contents.0.message_content.text": "And",
        "llm.input_messages.10.message.contents.1.message_content.text": "then?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "Thus.",
    }

    assert _read(attributes, "LLM").fields == {
        "_system_prompt": "Be brief.",
        "_question": "And\nthen?",
        "answer": "Thus.",
    }


def test_a_developer_message_is_a_system_prompt_too() -> None:
    attributes = {"llm.input_messages.0.message.role": "developer", "llm.input_messages.0.message.content": "Be kind."}

    assert _read(attributes, "LLM").fields == {"_system_prompt": "Be kind."}


def test_hidden_messages_say_nothing() -> None:
    attributes = {
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": REDACTED,
        "llm.output_messages.0.message.content": REDACTED,
        "input.value": REDACTED,
        "output.value": REDACTED,
    }

    assert _read(attributes, "LLM").fields == {}


@pytest.mark.parametrize("index", ["x", "", "-1", "99999999", "²"])
def test_what_is_no_index_is_left_out(index: str) -> None:
    assert "doc_ids" not in _read({f"retrieval.documents.{index}.document.id": "d"}, "RETRIEVER").fields


# What several attributes give together.


@pytest.mark.parametrize(
    "payload, question",
    [
        ("why?", "why?"),
        ('{"query": "why?"}', "why?"),
        ('{"input": {"question": "why?"}}', "why?"),
        ('{"query_str": "why?"}', "why?"),
        ('{"text": "why?", "k": 3}', "why?"),
        ('{"messages": [{"content": "first"}, {"content": "why?"}]}', "why?"),
        ('["a", "why?"]', "why?"),
        ("{broken", "{broken"),
    ],
)
@pytest.mark.parametrize("span_kind", ["RETRIEVER", "RERANKER", "EMBEDDING"])
def test_the_query_is_found_in_the_payload(span_kind: str, payload: str, question: str) -> None:
    assert _read({"input.value": payload}, span_kind).fields == {"query": question}


@pytest.mark.parametrize(
    "span_kind, fields", [("RETRIEVER", {"query": '{"k": 3}'}), ("EMBEDDING", {}), ("RERANKER", {"query": '{"k": 3}'})]
)
def test_a_payload_in_which_nothing_is_asked_is_what_a_retrieval_was_asked(
    span_kind: str, fields: dict[str, Value]
) -> None:
    assert _read({"input.value": '{"k": 3}'}, span_kind).fields == fields


def test_an_embedding_of_several_texts_has_no_query() -> None:
    texts = {f"embedding.embeddings.{index}.embedding.text": "why?" for index in range(2)}

    assert _read({"input.value": '["how?", "why?"]', **texts}, "EMBEDDING").fields == {"batch_size": 2}


def test_a_query_of_its_own_wins_over_the_payload() -> None:
    attributes = {"input.value": "payload", "reranker.query": "own"}

    assert _read(attributes, "RERANKER").fields == {"query": "own"}


@pytest.mark.parametrize("span_kind, fields", [("LLM", {"answer": "out"}), ("TOOL", {}), ("RETRIEVER", {})])
def test_the_answer_is_the_output_of_a_model_call(span_kind: str, fields: dict[str, Value]) -> None:
    assert _read({"output.value": "out"}, span_kind).fields == fields


def test_an_answer_in_a_message_wins_over_the_payload() -> None:
    attributes = {"output.value": '{"generations": []}', "llm.output_messages.0.message.content": "Thus."}

    assert _read(attributes, "LLM").fields == {"answer": "Thus."}


def test_parameters_come_out_of_their_json() -> None:
    attributes = {"llm.invocation_parameters": '{"temperature": 0.2, "max_tokens": "64", "stop": ["x"], "seed": null}'}

    fields = _read(attributes, "LLM").fields

    assert {key: value for key, value in fields.items() if key[0] != "_"} == {"temperature": 0.2, "max_tokens": 64.0}


# The rest.


def test_short_attributes_that_nobody_claims_stay_and_machinery_goes() -> None:
    attributes = {
        "my.flag": True,
        "my.number": 1.5,
        "my.list": ["a", 1],
        "my.long": "x" * 501,
        "my.many": list(range(33)),
        "my.map": {"a": 1},
        "http.request.method": "POST",
        "db.system": "postgresql",
        "code.function": "f",
        "exception.type": "E",
        "server.address": "h",
    }

    assert _read(attributes, "TOOL").others == {"my.flag": True, "my.number": 1.5, "my.list": ["a", 1]}


@pytest.mark.parametrize("role", [[], {}, None, 1, b"user"])
def test_a_role_that_is_no_text_is_no_role(role: Value) -> None:
    said = {"llm.input_messages.0.message.role": role, "llm.input_messages.0.message.content": "x"}

    assert _read(said, "LLM").fields.keys() & {"_question", "_system_prompt", "query"} == set()
