"""GenAI semantic conventions (OpenTelemetry), from v1.27 to today: operations, usage, contents, retrieval, tools.

Names changed often, so each field lists today's name first and the older ones after it. Contents that come as events
are in `genai_events`.

Source: semantic-conventions-genai, gen-ai-spans.md and its registry; opentelemetry semantic conventions v1.27 to v1.41.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from ..model import Attributes, Value
from .coerce import Coerce, anything, integer, number, question, text
from .documents import documents_in, from_documents
from .genai_events import EVENTS, INPUT, OUTPUT, event_content
from .messages import from_input, from_output, messages_of
from .rules import Dialect, Part, Rule, Typing
from .tools import tools_of

OPERATION: Final = "gen_ai.operation.name"
_INSTRUCTIONS: Final = "gen_ai.system_instructions"
_DOCUMENTS: Final = "gen_ai.retrieval.documents"
_RECORDS: Final = "gen_ai.memory.records"

_OPERATIONS: Final = {
    **dict.fromkeys(("chat", "text_completion", "generate_content", "fetch_response"), "generation"),
    # Not in the conventions, and sent all the same.
    **dict.fromkeys(("completion", "generate", "response", "llm_request"), "generation"),
    **dict.fromkeys(("embeddings", "embed", "embedding"), "embedding"),
    **dict.fromkeys(("retrieval", "retrieve", "vector_db_retrieve"), "retrieval"),
    "rerank": "rerank",
    **dict.fromkeys(("execute_tool", "tool_call"), "tool"),
    **dict.fromkeys(("create_agent", "invoke_agent"), "agent"),
    "invoke_workflow": "workflow",
    "plan": "route_plan",
    **dict.fromkeys(("search_memory", "create_memory", "update_memory", "upsert_memory", "delete_memory"), "memory"),
    **dict.fromkeys(("create_memory_store", "delete_memory_store"), "memory"),
    "apply_guardrail": "safety_check",
}
_WRAPPERS: Final = {OPERATION: frozenset({"execute_task"})}


def _milliseconds(value: Value) -> float | int | None:
    seconds = number(value)
    return None if seconds is None else seconds * 1000


def _model(value: Value) -> str | None:
    """The name of a model; Traceloop says `unknown` where it knows none."""
    found = text(value)
    return None if found == "unknown" else found


def _reasons(value: Value) -> str | None:
    """Why a call ended; of several choices each reason once."""
    items = value if isinstance(value, list) else [value]
    return ", ".join(dict.fromkeys(found for item in items if (found := text(item)))) or None


# field -> how to read it, and the keys that fill it, today's name first.
_FIELDS: Final[tuple[tuple[str, Coerce, str], ...]] = (
    ("provider", text, "gen_ai.provider.name gen_ai.system"),
    ("model_name", _model, "gen_ai.response.model gen_ai.request.model llm.response.model llm.request.model"),
    ("tokens_in", integer, "gen_ai.usage.input_tokens gen_ai.usage.prompt_tokens llm.usage.prompt_tokens"),
    ("tokens_out", integer, "gen_ai.usage.output_tokens gen_ai.usage.completion_tokens llm.usage.completion_tokens"),
    ("tokens_used", integer, "gen_ai.usage.total_tokens llm.usage.total_tokens"),
    ("tokens_cached_read", integer, "gen_ai.usage.cache_read.input_tokens gen_ai.usage.cache_read_input_tokens"),
    (
        "tokens_cached_write",
        integer,
        (
            "gen_ai.usage.cache_write.input_tokens gen_ai.usage.cache_creation.input_tokens "
            "gen_ai.usage.cache_creation_input_tokens"
        ),
    ),
    (
        "tokens_reasoning",
        integer,
        "gen_ai.usage.reasoning.output_tokens gen_ai.usage.reasoning_tokens llm.usage.reasoning_tokens",
    ),
    ("temperature", number, "gen_ai.request.temperature llm.temperature"),
    ("top_p", number, "gen_ai.request.top_p llm.top_p"),
    ("_top_k", integer, "gen_ai.request.top_k llm.top_k"),
    ("max_tokens", integer, "gen_ai.request.max_tokens llm.request.max_tokens"),
    ("seed", integer, "gen_ai.request.seed gen_ai.openai.request.seed"),
    ("frequency_penalty", number, "gen_ai.request.frequency_penalty llm.frequency_penalty"),
    ("presence_penalty", number, "gen_ai.request.presence_penalty llm.presence_penalty"),
    ("response_id", text, "gen_ai.response.id"),
    ("finish_reason", _reasons, "gen_ai.response.finish_reasons gen_ai.response.finish_reason"),
    ("ttft_ms", _milliseconds, "gen_ai.response.time_to_first_chunk"),
    ("prompt_name", text, "gen_ai.prompt.name"),
    ("prompt_version", text, "gen_ai.prompt.version"),
    ("data_source", text, "gen_ai.data_source.id gen_ai.memory.store.id"),
    ("query", question, "gen_ai.retrieval.query.text gen_ai.memory.query.text"),
    ("top_k", integer, "gen_ai.retrieval.top_k"),
    ("dimension", integer, "gen_ai.embeddings.dimension.count"),
    ("tool_name", text, "gen_ai.tool.name"),
    ("tool_call_id", text, "gen_ai.tool.call.id"),
    ("agent_version", text, "gen_ai.agent.version"),
    ("policy_name", text, "gen_ai.guardrail.policy.id"),
    ("policy_version", text, "gen_ai.guardrail.policy.version"),
    ("_result", text, "gen_ai.guardrail.result.type"),
    ("_documents", anything, _DOCUMENTS),
    ("_records", anything, _RECORDS),
    ("_description", anything, "gen_ai.tool.description gen_ai.agent.description"),
)
_IDENTITY: Final[tuple[tuple[str, Coerce, str], ...]] = (
    ("name", text, "gen_ai.workflow.name gen_ai.guardrail.component.name"),
    ("input_messages", anything, f"{INPUT} {_INSTRUCTIONS}"),
    ("output_messages", anything, OUTPUT),
    ("input", anything, "gen_ai.tool.call.arguments gen_ai.prompt"),
    ("output", anything, "gen_ai.tool.call.result gen_ai.completion"),
)
_CONTEXT: Final[tuple[tuple[str, Coerce, str], ...]] = (("session_id", text, "gen_ai.conversation.id"),)


def _rules() -> Iterator[Rule]:
    tables = ((Part.FIELD, _FIELDS), (Part.IDENTITY, _IDENTITY), (Part.CONTEXT, _CONTEXT))
    for part, table in tables:
        for name, coerce, keys in table:
            yield from (Rule(key, name, coerce, part) for key in keys.split())
    yield Rule("gen_ai.tool.definitions", "_tools", tools_of, optional=True)


_Items = dict[int, dict[str, Value]]


def _prompt(items: _Items) -> dict[str, Value]:
    return from_input(items[index] for index in sorted(items))


def _completion(items: _Items) -> dict[str, Value]:
    return from_output(items[index] for index in sorted(items))


_BLOCKED: Final = frozenset({"blocked", "block", "deny", "denied"})
_WITH_QUERY: Final = frozenset({"retrieval", "rerank", "input", "query_rewrite", "embedding", "memory"})


def _contents(attributes: Attributes) -> dict[str, Value]:
    """System prompt, question and answer out of the messages."""
    found: dict[str, Value] = {}
    if _INSTRUCTIONS in attributes:
        # Parts of one message, without the message around them.
        found = from_input([{"role": "system", "content": list(messages_of(attributes[_INSTRUCTIONS]))}])
    if INPUT in attributes:
        found = from_input(messages_of(attributes[INPUT])) | found
    if OUTPUT in attributes:
        found |= from_output(messages_of(attributes[OUTPUT]))
    return found


def _derive(attributes: Attributes, stage_type: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    """What needs several attributes: contents out of messages, documents, and what depends on the type."""
    found = _contents(attributes)
    for name in ("_documents", "_records"):
        if name in fields:
            found |= from_documents(documents_in(fields[name]))
    if stage_type in _WITH_QUERY and "query" not in fields:
        found["query"] = fields.get("_question") or found.get("_question")
    if "_top_k" in fields:
        # Some instrumentations of retrieval send their limit under the name that sampling has.
        found["top_k" if stage_type in {"retrieval", "rerank"} else "sampling_top_k"] = fields["_top_k"]
    if "_result" in fields:
        found["blocked"] = str(fields["_result"]).strip().lower() in _BLOCKED
    if "agent_version" in fields:
        found["agent_name"] = text(attributes.get("gen_ai.agent.name"))
    if attributes.get(OPERATION) == "fetch_response":
        found["_counted_before"] = True
    return {name: value for name, value in found.items() if value is not None}


def _stage_name(span_name: str, attributes: Attributes, stage_type: str) -> str | None:
    """Spans are called `{operation} {what}`: model, data source, tool or agent. What follows is the stage's name."""
    operation, _, what = span_name.partition(" ")
    if what and operation == attributes.get(OPERATION):
        return text(what)
    return text(attributes.get("gen_ai.agent.name")) if stage_type == "agent" else None


DIALECT: Dialect = Dialect(
    name="genai",
    typings=(Typing(OPERATION, types=_OPERATIONS),),
    rules=tuple(_rules()),
    flattened={"gen_ai.prompt.": _prompt, "gen_ai.completion.": _completion},
    derive=_derive,
    of_events=event_content,
    event_names=EVENTS,
    wrappers=_WRAPPERS,
    stage_name=_stage_name,
)
