"""Haystack's own tracing: pipelines, agents and components; a component's class says what it does.

Source: Haystack documentation, "Tracing"; haystack/core/pipeline and haystack/components/agents for the tags.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from ..model import Attributes, Value
from .coerce import anything, integer, parse_json, question, text
from .documents import documents_in, from_documents
from .messages import content_of, from_input, messages_of
from .rules import Dialect, Naming, Part, Rule, Typing

_TYPE: Final = "haystack.component.type"
_INPUT: Final = "haystack.component.input"
_OUTPUT: Final = "haystack.component.output"
# Since version 3 the calls of an agent are spans of their own, without a component.
_STEP_INPUT: Final = "haystack.agent.step.llm.input"
_STEP_OUTPUT: Final = "haystack.agent.step.llm.output"
_WITH_QUERY: Final = frozenset({"retrieval", "rerank", "query_rewrite", "embedding"})

# By the end of a component's class name; the first that fits counts. Other joiners (of branches, texts) fuse nothing.
_CLASSES: Final = (
    ("Retriever", "retrieval"),
    ("WebSearch", "retrieval"),
    ("Ranker", "rerank"),
    ("DocumentJoiner", "fusion"),
    ("AnswerJoiner", "fusion"),
    ("QueryExpander", "query_rewrite"),
    ("Generator", "generation"),
    ("Embedder", "embedding"),
    ("PromptBuilder", "prompt"),
    ("AnswerBuilder", "postprocess"),
    ("OutputAdapter", "postprocess"),
    ("LanguageRouter", "language_detection"),
    ("LanguageClassifier", "language_detection"),
    ("Router", "route_plan"),
    ("Classifier", "intent"),
    ("Evaluator", "evaluation"),
    ("Validator", "answer_validation"),
    ("Splitter", "chunk"),
    ("Writer", "ingest"),
    ("CacheChecker", "cache"),
    ("ToolInvoker", "tool"),
    ("Agent", "agent"),
)


def _component(value: str) -> str | None:
    return next((stage_type for ending, stage_type in _CLASSES if value.strip().endswith(ending)), None)


def _derive(attributes: Attributes, stage_type: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    """Documents, answer and usage out of what the component returned, where content tracing is on."""
    found: dict[str, Value] = _counted(attributes, stage_type)
    if stage_type in {"retrieval", "rerank", "fusion"} and "doc_ids" not in fields:
        found |= from_documents(documents_in(attributes.get(_OUTPUT)))
    if stage_type in _WITH_QUERY and "query" not in fields and _INPUT in attributes:
        found["query"] = question(attributes[_INPUT])
    output = attributes.get(_OUTPUT, attributes.get(_STEP_OUTPUT))
    if stage_type == "generation" and output is not None:
        found |= _replies(parse_json(output))
    if stage_type == "generation":
        found |= from_input(messages_of(attributes.get(_INPUT, attributes.get(_STEP_INPUT))))
    if stage_type == "embedding" and output is not None:
        found |= _embedded(parse_json(output))
    return {name: value for name, value in found.items() if value is not None}


def _counted(attributes: Attributes, stage_type: str) -> dict[str, Value]:
    """How many documents went into a reranking and came out."""
    if stage_type != "rerank":
        return {}
    sides = (("input_count", _INPUT), ("output_count", _OUTPUT))
    return {name: len(found) for name, key in sides if (found := documents_in(attributes.get(key)))}


def _embedded(output: Any) -> dict[str, Value]:
    """The model of an embedder, what it used, and the length of its vectors."""
    if not isinstance(output, Mapping):
        return {}
    documents = documents_in(output)
    first = documents[0] if documents else output
    vector = first.get("embedding") if isinstance(first, Mapping) else None
    return {
        **_said_by(output.get("meta")),
        "batch_size": len(documents) or 1,
        "dimension": len(vector) if isinstance(vector, list) else None,
    }


def _replies(output: Any) -> dict[str, Value]:
    """The first reply: its text, its model and what it used. Older generators have texts and `meta` beside them."""
    if not isinstance(output, Mapping):
        return {}
    replies, metas = output.get("replies"), output.get("meta")
    reply = replies[0] if isinstance(replies, list) and replies else None
    meta = metas[0] if isinstance(metas, list) and metas else None
    answer = reply if isinstance(reply, str) else None
    if isinstance(reply, Mapping):
        meta = reply.get("meta", reply.get("_meta", meta))
        answer = content_of(reply) or text(reply.get("text"))
    return {"answer": answer, **_said_by(meta)}


def _said_by(meta: Any) -> dict[str, Value]:
    """Model and usage out of what a provider said beside its answer."""
    said = meta if isinstance(meta, Mapping) else {}
    usage = said.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    return {
        "model_name": text(said.get("model")),
        "finish_reason": text(said.get("finish_reason")),
        "tokens_in": integer(counts.get("prompt_tokens", counts.get("input_tokens"))),
        "tokens_out": integer(counts.get("completion_tokens", counts.get("output_tokens"))),
        "tokens_used": integer(counts.get("total_tokens")),
    }


def _visits(value: Value) -> int | None:
    """A component that a loop runs again counts its visits; before the first one has ended it is 0."""
    found = integer(value)
    return None if found is None else max(1, found)


DIALECT: Dialect = Dialect(
    name="haystack",
    typings=(Typing(_TYPE, parse=_component),),
    rules=(
        Rule("haystack.component.name", "name", text, Part.IDENTITY),
        Rule("haystack.component.visits", "attempt", _visits, Part.IDENTITY),
        Rule(_INPUT, "input", anything, Part.IDENTITY),
        Rule("haystack.pipeline.input_data", "input", anything, Part.IDENTITY),
        Rule("haystack.agent.input", "input", anything, Part.IDENTITY),
        Rule(_OUTPUT, "output", anything, Part.IDENTITY),
        Rule(_STEP_INPUT, "input", anything, Part.IDENTITY),
        Rule("haystack.agent.step.tool.input", "input", anything, Part.IDENTITY),
        Rule(_STEP_OUTPUT, "output", anything, Part.IDENTITY),
        Rule("haystack.agent.step.tool.output", "output", anything, Part.IDENTITY),
        Rule("haystack.tool.name", "name", text, Part.IDENTITY),
        Rule("haystack.tool.name", "tool_name", text),
        Rule("haystack.tool.description", "_description", anything),
        Rule("haystack.agent.step", "agent_step", integer),
        Rule("haystack.pipeline.output_data", "output", anything, Part.IDENTITY),
        Rule("haystack.agent.output", "output", anything, Part.IDENTITY),
        Rule("haystack.component.fully_qualified_type", "_class", anything),
        Rule("haystack.component.input_types", "_input_types", anything),
        Rule("haystack.component.input_spec", "_input_spec", anything),
        Rule("haystack.component.output_spec", "_output_spec", anything),
        Rule("haystack.pipeline.metadata", "_metadata", anything),
    ),
    derive=_derive,
    namings=(
        Naming("rule:haystack_pipeline", "workflow", name=re.compile(r"^haystack\.(async_)?pipeline\.run")),
        Naming("rule:haystack_agent", "agent", name=re.compile(r"^haystack\.agent\.run")),
        Naming("rule:haystack_agent_llm", "generation", name=re.compile(r"^haystack\.agent\.step\.llm$")),
        Naming("rule:haystack_agent_tool", "tool", name=re.compile(r"^haystack\.agent\.step\.tool$")),
    ),
)
