"""OpenInference (Arize): span kinds, flattened document and message lists, JSON texts.

Source: openinference, spec/semantic_conventions.md. Redacted values arrive as `__REDACTED__` and count as absent.
"""

import re
from collections.abc import Mapping
from typing import Final

from ..model import Attributes, Value
from .coerce import anything, embedded, integer, number, parse_json, question, text
from .documents import document_id, documents_in
from .rules import Correction, Dialect, Part, Rule, Typing, Unfold
from .tools import tools_of

REDACTED = "__REDACTED__"
SPAN_KIND = "openinference.span.kind"

_KINDS = {
    "llm": "generation",
    "embedding": "embedding",
    "retriever": "retrieval",
    "reranker": "rerank",
    "tool": "tool",
    "agent": "agent",
    "guardrail": "safety_check",
    "evaluator": "evaluation",
    "prompt": "prompt",
    "decision": "route_plan",
}
# A chain says nothing about the step it wraps: its name may; else it is a stage only as the root (`workflow`).
_WRAPPERS = {SPAN_KIND: frozenset({"chain"})}

_PARAMETERS = ("temperature", "top_p", "max_tokens", "seed", "frequency_penalty", "presence_penalty")

_RULES = (
    Rule("input.value", "input", anything, Part.IDENTITY),
    Rule("output.value", "output", anything, Part.IDENTITY),
    Rule("input.mime_type", "input_type", text, Part.IDENTITY),
    Rule("output.mime_type", "output_type", text, Part.IDENTITY),
    Rule("agent.name", "name", text, Part.IDENTITY),
    Rule("session.id", "session_id", text, Part.CONTEXT),
    Rule("user.id", "user_id", text, Part.CONTEXT),
    Rule("tag.tags", "tags", anything),
    Rule("llm.response.model_name", "model_name", text),
    Rule("llm.model_name", "model_name", text),
    Rule("llm.request.model_name", "model_name", text),
    Rule("embedding.model_name", "model_name", text),
    Rule("reranker.model_name", "model_name", text),
    Rule("llm.provider", "provider", text),
    Rule("llm.system", "provider", text),
    Rule("llm.invocation_parameters", "_parameters", parse_json),
    Rule("embedding.invocation_parameters", "_parameters", parse_json),
    Rule("llm.token_count.prompt", "tokens_in", integer),
    Rule("llm.token_count.completion", "tokens_out", integer),
    Rule("llm.token_count.total", "tokens_used", integer),
    Rule("llm.token_count.prompt_details.cache_read", "tokens_cached_read", integer),
    Rule("llm.token_count.prompt_details.cache_write", "tokens_cached_write", integer),
    Rule("llm.token_count.completion_details.reasoning", "tokens_reasoning", integer),
    Rule("llm.cost.prompt", "cost_in", number),
    Rule("llm.cost.completion", "cost_out", number),
    Rule("llm.cost.total", "cost_total", number),
    Rule("llm.finish_reason", "finish_reason", text),
    Rule("decision.response.model_name", "model_name", text),
    Rule("decision.model_name", "model_name", text),
    Rule("decision.request.model_name", "model_name", text),
    Rule("decision.provider", "provider", text),
    Rule("decision.system", "provider", text),
    Rule("decision.token_count.input", "tokens_in", integer),
    Rule("decision.token_count.output", "tokens_out", integer),
    Rule("llm.prompt_template.template", "_template", anything),
    Rule("llm.prompt_template.variables", "_variables", anything),
    Rule("llm.prompt_template.version", "prompt_version", text),
    Rule("prompt.id", "prompt_name", text),
    Rule("prompt.vendor", "prompt_vendor", text),
    Rule("prompt.url", "prompt_url", text),
    Rule("graph.node.id", "graph_node", text),
    Rule("graph.node.name", "graph_node_name", text),
    Rule("graph.node.parent_id", "graph_parent", text),
    Rule("reranker.query", "query", question),
    Rule("reranker.top_k", "top_k", integer),
    Rule("tool.name", "tool_name", text),
    Rule("tool.id", "tool_call_id", text),
    Rule("tool.description", "_description", anything),
    Rule("tool.parameters", "_tool_parameters", anything),
    Rule("tool.json_schema", "_tools", tools_of, optional=True),
)

_Items = dict[int, dict[str, Value]]


def _ordered(items: _Items) -> list[dict[str, Value]]:
    """Items by index: numeric order, gaps closed (the SDK's attribute limit drops the oldest, so the lowest)."""
    return [items[index] for index in sorted(items)]


def _document_id(document: Mapping[str, Value]) -> str | None:
    found = text(document.get("document.id"))
    if found:
        return found
    short = {key.removeprefix("document."): value for key, value in document.items()}
    if not visible(short.get("content")):
        short.pop("content", None)
    return document_id(short)


def _ranked(items: _Items) -> dict[str, Value]:
    documents = _ordered(items)
    fields: dict[str, Value] = {"doc_ids": [_document_id(document) for document in documents]}
    if any(fields["doc_ids"]) and not any("document.id" in document for document in documents):
        fields["_without_ids"] = fields.pop("doc_ids")
    scores = [number(document.get("document.score")) for document in documents]
    if any(score is not None for score in scores):
        fields["scores"] = scores
    if min(items) > 0:
        fields["documents_truncated"] = True
    return fields


def _rerank_input(items: _Items) -> dict[str, Value]:
    return {"input_count": len(items), "input_doc_ids": [_document_id(document) for document in _ordered(items)]}


def _rerank_output(items: _Items) -> dict[str, Value]:
    return {"output_count": len(items), **_ranked(items)}


def _embedded(items: _Items) -> dict[str, Value]:
    vector = next((item["embedding.vector"] for item in _ordered(items) if "embedding.vector" in item), None)
    return {"batch_size": len(items), **({"dimension": len(vector)} if isinstance(vector, list) else {})}


def _content(message: Mapping[str, Value]) -> str | None:
    found = text(message.get("message.content"))
    if found or found == "":
        return found
    parts = [value for key, value in message.items() if key.endswith("message_content.text") and isinstance(value, str)]
    return "\n".join(parts) or None


def _messages_in(items: _Items) -> dict[str, Value]:
    """The system prompt, and the last message of the user."""
    fields: dict[str, Value] = {}
    for message in _ordered(items):
        role, content = text(message.get("message.role")), _content(message)
        if content is None or content == REDACTED:
            continue
        if role in {"system", "developer"}:
            fields.setdefault("_system_prompt", content)
        elif role == "user":
            fields["_question"] = content
    return fields


def _messages_out(items: _Items) -> dict[str, Value]:
    contents = [content for content in map(_content, _ordered(items)) if content and content != REDACTED]
    return {"answer": contents[-1]} if contents else {}


def _completions(items: _Items) -> dict[str, Value]:
    """The answer of a call of the completion API."""
    said = [text(visible(item.get("completion.text"))) for item in _ordered(items)]
    return {"answer": said[-1]} if said and said[-1] else {}


def _offered(items: _Items) -> dict[str, Value]:
    """Tools that the model could call."""
    found = tools_of([item.get("tool.json_schema", item) for item in _ordered(items)])
    return {"_tools": found} if found else {}


def _nothing(_: _Items) -> dict[str, Value]:
    return {}


def _prompts(items: _Items) -> dict[str, Value]:
    """The last prompt of a call of the completion API."""
    said = [text(visible(item.get("prompt.text"))) for item in _ordered(items)]
    return {"_question": said[-1]} if said and said[-1] else {}


def _evaluations(said_as: str) -> Unfold:
    """Evaluations of the span, each with name, score, label and explanation; a span may use both words for them."""

    def unfold(items: _Items) -> dict[str, Value]:
        return {said_as: _ordered(items), "_evaluated": True}

    return unfold


EVALUATIONS: Final = {
    "evaluations.": "_evaluations",
    "annotations.": "_annotations",
    "trace.evaluations.": "_trace_evaluations",
    "trace.annotations.": "_trace_annotations",
}
"""Lists of evaluations, and the fields that hold them for assembly."""


_FLATTENED = {
    "retrieval.documents.": _ranked,
    "reranker.input_documents.": _rerank_input,
    "reranker.output_documents.": _rerank_output,
    "embedding.embeddings.": _embedded,
    "llm.input_messages.": _messages_in,
    "llm.output_messages.": _messages_out,
    "input.documents.": _nothing,
    "output.documents.": _nothing,
    "llm.prompts.": _prompts,
    "llm.choices.": _completions,
    "llm.tools.": _offered,
    **{prefix: _evaluations(name) for prefix, name in EVALUATIONS.items()},
    # Of the session, not of this span.
    "session.evaluations.": _nothing,
    "session.annotations.": _nothing,
}

_LANGCHAIN = re.compile(r"openinference\.instrumentation\.langchain")
_CORRECTIONS = (
    # The instrumentation of Haystack calls the components that make prompts LLMs.
    Correction(
        "prompt_builder",
        SPAN_KIND,
        re.compile("openinference"),
        said="generation",
        meant="prompt",
        name=re.compile(r"PromptBuilder\.run"),
        lacking=("llm.model_name", "llm.token_count."),
    ),
    # That of LangChain calls everything an AGENT that has "agent" in its name: also a model, a tool, a retriever.
    *(
        Correction("named_agent", SPAN_KIND, _LANGCHAIN, said="agent", meant=meant, having=(has,))
        for has, meant in (
            ("llm.model_name", "generation"),
            ("retrieval.documents.", "retrieval"),
            ("tool.name", "tool"),
        )
    ),
)


def _ids_in(payload: Value, guessed: list[str | None]) -> list[str | None]:
    """Ids of documents that came without: the payload may have them (LangChain), else those of metadata or content."""
    said = documents_in(visible(payload))
    if len(said) != len(guessed):
        return guessed
    return [
        (text(one.get("id")) if isinstance(one, dict) else None) or own for one, own in zip(said, guessed, strict=True)
    ]


_WITH_QUERY = frozenset({"retrieval", "rerank", "input", "query_rewrite", "embedding"})
_WITH_ANSWER = frozenset({"generation", "output"})


def _derive(attributes: Attributes, stage_type: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    """Query and answer from the payload where no attribute of their own says them; parameters out of their JSON."""
    found: dict[str, Value] = {}
    if stage_type in _WITH_QUERY and "query" not in fields:
        found["query"] = _query(visible(attributes.get("input.value")), stage_type, fields)
    if stage_type in _WITH_ANSWER and "answer" not in fields and not _is_json(attributes.get("output.mime_type")):
        found["answer"] = text(visible(attributes.get("output.value")))
    if "_without_ids" in fields:
        found["doc_ids"] = _ids_in(attributes.get("output.value"), fields["_without_ids"])
    parameters = fields.get("_parameters")
    if isinstance(parameters, dict):
        found.update({key: number(parameters.get(key)) for key in _PARAMETERS})
        if "model_name" not in fields:  # a call that failed says its model here alone
            found["model_name"] = text(parameters.get("model")) or text(parameters.get("model_name"))
    return {key: value for key, value in found.items() if value is not None} if found else found


def _query(payload: Value, stage_type: str, fields: Mapping[str, Value]) -> str | None:
    """What was asked; of an embedding the text, if it is one."""
    if stage_type == "embedding":
        return embedded(payload) if fields.get("batch_size", 1) == 1 else None
    return question(payload) or text(fields.get("_question"))


def _is_json(mime_type: Value) -> bool:
    """Whether a payload is said to be JSON: of a model call that is what the library returned, not the answer."""
    return isinstance(mime_type, str) and "json" in mime_type


def visible(value: Value) -> Value:
    """The value, or None where the instrumentation hid it."""
    return None if value == REDACTED else value


DIALECT: Dialect = Dialect(
    name="openinference",
    typings=(Typing(SPAN_KIND, types=_KINDS),),
    rules=_RULES,
    flattened=_FLATTENED,
    derive=_derive,
    wrappers=_WRAPPERS,
    corrections=_CORRECTIONS,
)
