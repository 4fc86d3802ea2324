"""Traceloop's OpenLLMetry: workflows, tasks, agents and tools, vector databases, prompts, association properties.

Model calls of its instrumentations carry GenAI attributes (`genai`). A `task` is some step: its name says which.
Source: openllmetry, opentelemetry-semantic-conventions-ai and the instrumentations of LangChain and LlamaIndex.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ..model import Attributes, SpanEvent, Value
from .coerce import anything, embedded, integer, question, text
from .documents import documents_in, from_documents
from .genai import OPERATION
from .rules import Correction, Dialect, Part, Rule, Typing

SPAN_KIND: Final = "traceloop.span.kind"
_NAME: Final = "traceloop.entity.name"
_INPUT: Final = "traceloop.entity.input"
_OUTPUT: Final = "traceloop.entity.output"
_RESULTS: Final = "traceloop.results"

_KINDS: Final = {"agent": "agent", "tool": "tool"}
# Says where a span stands, at the top, rather than what it does: any other convention knows better.
_OUTERMOST: Final = {"workflow": "workflow"}
_REQUESTS: Final = {
    "chat": "generation",
    "completion": "generation",
    "embedding": "embedding",
    "rerank": "rerank",
}
_PROPERTY: Final = "traceloop.association.properties."
# One event for each hit of a vector database.
_HITS: Final = {"db.query.result": "db.query.result.", "db.search.result": "db.search.result."}


def _results(events: Sequence[SpanEvent]) -> dict[str, Value]:
    """Hits as one list of documents; a distance is no score: the smaller, the better."""
    hits: list[Value] = []
    for event in events:
        prefix = _HITS.get(event.name)
        if prefix is not None:
            hits.append({key.removeprefix(prefix): value for key, value in event.attributes.items()})
    return {_RESULTS: hits} if hits else {}


def _derive(attributes: Attributes, stage_type: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if stage_type in {"retrieval", "rerank", "fusion"} and "doc_ids" not in fields:
        hits = fields.get("_hits")
        found = from_documents(hits if isinstance(hits, list) else documents_in(attributes.get(_OUTPUT)))
    if stage_type in {"retrieval", "rerank", "query_rewrite", "embedding"} and "query" not in fields:
        query = (embedded if stage_type == "embedding" else question)(attributes.get(_INPUT))
        if query:
            found["query"] = query
    return found


def _failed(value: Value) -> bool | None:
    """Whether a task failed; of one that did not, the span says more."""
    return True if value == "failure" else None


# Its instrumentation of LangChain says `invoke_agent` of whatever is the outermost chain.
_CORRECTIONS: Final = (
    Correction(
        "outermost_chain",
        OPERATION,
        re.compile(r"opentelemetry\.instrumentation\.langchain"),
        said="agent",
        meant="workflow",
        name=re.compile(r"\.workflow$"),
        having=(SPAN_KIND,),
    ),
)

DIALECT: Dialect = Dialect(
    name="traceloop",
    typings=(
        Typing(SPAN_KIND, types=_KINDS),
        Typing(SPAN_KIND, types=_OUTERMOST, weak=True),
        Typing("llm.request.type", types=_REQUESTS),
    ),
    rules=(
        Rule(_NAME, "name", text, Part.IDENTITY),
        Rule(_INPUT, "input", anything, Part.IDENTITY),
        Rule(_OUTPUT, "output", anything, Part.IDENTITY),
        Rule("gen_ai.task.name", "name", text, Part.IDENTITY),
        Rule("gen_ai.task.input", "input", anything, Part.IDENTITY),
        Rule("gen_ai.task.output", "output", anything, Part.IDENTITY),
        Rule("gen_ai.task.status", "failed", _failed, Part.IDENTITY),
        Rule("traceloop.entity.path", "path", text),
        Rule("traceloop.entity.version", "entity_version", text),
        Rule("traceloop.workflow.name", "workflow_name", text),
        Rule(f"{_PROPERTY}run_id", "associated_run_id", text, Part.CONTEXT),
        Rule(f"{_PROPERTY}session_id", "session_id", text, Part.CONTEXT),
        Rule(f"{_PROPERTY}conversation_id", "session_id", text, Part.CONTEXT),
        Rule(f"{_PROPERTY}thread_id", "session_id", text, Part.CONTEXT),
        Rule(f"{_PROPERTY}user_id", "user_id", text, Part.CONTEXT),
        Rule("traceloop.correlation.id", "correlation_id", text, Part.CONTEXT),
        Rule("traceloop.prompt.key", "prompt_name", text),
        Rule("traceloop.prompt.version", "prompt_version", text),
        Rule("traceloop.prompt.version_hash", "prompt_digest", text),
        Rule("traceloop.prompt.template", "_template", anything),
        Rule("db.vector.query.top_k", "top_k", integer),
        Rule("db.vector.query.top_k", "_vector_query", anything),
        Rule("rerank.top_n", "top_k", integer),
        Rule(_RESULTS, "_hits", anything),
    ),
    derive=_derive,
    of_events=_results,
    event_names=frozenset(_HITS),
    wrappers={SPAN_KIND: frozenset({"task", "unknown"})},
    named_by=_NAME,
    corrections=_CORRECTIONS,
)
