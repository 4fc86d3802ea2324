"""Haystack's own tracing: pipelines, agents and components; a component's class says what it does.

Source: Haystack documentation, "Tracing"; haystack/core/pipeline and haystack/components/agents for the tags.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from ..model import Attributes, Value
from .coerce import anything, integer, parse_json, question, text
from .documents import documents_in, from_documents
from .messages import content_of
from .rules import Dialect, Naming, Part, Rule, Typing

_TYPE: Final = "haystack.component.type"
_INPUT: Final = "haystack.component.input"
_OUTPUT: Final = "haystack.component.output"

# By the end of a component's class name; the first that fits counts.
_CLASSES: Final = (
    ("Retriever", "retrieval"),
    ("Ranker", "rerank"),
    ("Joiner", "fusion"),
    ("Generator", "generation"),
    ("Embedder", "embedding"),
    ("PromptBuilder", "prompt"),
    ("AnswerBuilder", "postprocess"),
    ("OutputAdapter", "postprocess"),
    ("Router", "route_plan"),
    ("Classifier", "intent"),
    ("Evaluator", "evaluation"),
    ("Validator", "answer_validation"),
    ("Splitter", "chunk"),
    ("Writer", "ingest"),
    ("ToolInvoker", "tool"),
    ("Agent", "agent"),
)


def _component(value: str) -> str | None:
    return next((stage_type for ending, stage_type in _CLASSES if value.strip().endswith(ending)), None)


def _derive(attributes: Attributes, stage_type: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    """Documents, answer and usage out of what the component returned, where content tracing is on."""
    found: dict[str, Value] = {}
    if stage_type in {"retrieval", "rerank", "fusion"} and "doc_ids" not in fields:
        found = from_documents(documents_in(attributes.get(_OUTPUT)))
    if stage_type in {"retrieval", "rerank"} and "query" not in fields and _INPUT in attributes:
        found["query"] = question(attributes[_INPUT])
    if stage_type == "generation" and _OUTPUT in attributes:
        found |= _replies(parse_json(attributes[_OUTPUT]))
    return {name: value for name, value in found.items() if value is not None}


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
    said = meta if isinstance(meta, Mapping) else {}
    usage = said.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    return {
        "answer": answer,
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
    ),
)
