"""Vercel AI SDK: an outer span for each call of the SDK, an inner one (`….doGenerate`) for each call of a model.

Usage stands on both and counts once, on the inner one. Names changed in version 5 (`promptTokens` to `inputTokens`).
Source: AI SDK documentation, "Telemetry", "Collected Data".
"""

from collections.abc import Mapping
from typing import Final

import orjson

from ..model import Attributes, Value
from .coerce import anything, integer, number, parse_json, question, text
from .documents import document_id
from .messages import from_input, messages_of
from .rules import Dialect, Part, Rule, Typing
from .tools import tools_of

_MAX_READ: Final = 1000
_MAX_JSON: Final = 64 * 1024
_GIVEN: Final = "ai.documents"
_RANKING: Final = "ai.ranking"
_MESSAGES: Final = "ai.prompt.messages"
_PROMPT: Final = "ai.prompt"
_CALLS: Final = ("generatetext", "streamtext", "generateobject", "streamobject")
_OPERATIONS: Final = {
    **{f"ai.{call}": "workflow" for call in _CALLS},
    **{f"ai.{call}.{inner}": "generation" for call in _CALLS for inner in ("dogenerate", "dostream")},
    **dict.fromkeys(("ai.embed", "ai.embedmany", "ai.embed.doembed", "ai.embedmany.doembed"), "embedding"),
    **dict.fromkeys(("ai.rerank", "ai.rerank.dorerank"), "rerank"),
    "ai.toolcall": "tool",
}


def _operation(value: str) -> str | None:
    """`operation.name` may have the id of the function after it: `ai.generateText summarise`."""
    words = value.split(maxsplit=1)
    return _OPERATIONS.get(words[0].lower()) if words else None


def _derive(attributes: Attributes, stage_type: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    prompt = attributes.get(_MESSAGES, attributes.get(_PROMPT))
    found = _asked(prompt) if prompt is not None else {}
    if stage_type == "embedding" and "_value" in fields:
        found |= _embedded(fields)
    if stage_type == "rerank":
        found |= _reranked(attributes)
    return {name: value for name, value in found.items() if value is not None}


def _asked(prompt: Value) -> dict[str, Value]:
    """System prompt and question: out of messages, or out of the texts that the outer span has for them."""
    found = from_input(messages_of(prompt))
    said = parse_json(prompt)
    if isinstance(said, Mapping):
        texts = {"_system_prompt": text(said.get("system")), "_question": text(said.get("prompt"))}
        found = {**{name: value for name, value in texts.items() if value}, **found}
    return found


def _embedded(fields: Mapping[str, Value]) -> dict[str, Value]:
    """Values and vectors are texts of JSON each, in a list or alone."""
    values, vectors = _read(fields["_value"]), _read(fields.get("_embedding"))
    vector = vectors[0] if vectors and isinstance(vectors[0], list) else None
    return {
        "query": question(values[0]) if len(values) == 1 else None,
        "batch_size": len(values),
        "dimension": len(vector) if vector else None,
    }


def _reranked(attributes: Attributes) -> dict[str, Value]:
    """Documents by their place in the ranking, which names them by their place among those that were given."""
    given = [item if isinstance(item, Mapping) else {"content": item} for item in _read(attributes.get(_GIVEN))]
    found: dict[str, Value] = {"input_count": len(given)} if given else {}
    ranking = [item for item in _read(attributes.get(_RANKING)) if isinstance(item, Mapping)]
    if ranking:
        places = [integer(item.get("index", item.get("originalIndex"))) for item in ranking]
        found["output_count"] = len(ranking)
        if given:
            known = [given[at] if at is not None and 0 <= at < len(given) else {} for at in places]
            found["doc_ids"] = [document_id(document) for document in known]
        found["scores"] = [number(item.get("relevanceScore", item.get("score"))) for item in ranking]
    return found


def _read(value: Value) -> list[Value]:
    """Each item of a list, out of its JSON text; a value alone is a list of one."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    read = [item if (said := _json(item)) is None else said for item in items]
    return read[:_MAX_READ]


def _json(value: Value) -> Value:
    """JSON text as a value, also of a text or a number alone."""
    if isinstance(value, str) and len(value) <= _MAX_JSON:
        try:
            found: Value = orjson.loads(value)
        except ValueError:
            return None
        return found
    return None


_METADATA: Final = "ai.telemetry.metadata."

DIALECT: Dialect = Dialect(
    name="vercel",
    typings=(Typing("ai.operationId", parse=_operation), Typing("operation.name", parse=_operation)),
    rules=(
        Rule("ai.telemetry.functionId", "name", text, Part.IDENTITY),
        Rule(_PROMPT, "input", anything, Part.IDENTITY),
        Rule(_MESSAGES, "input_messages", anything, Part.IDENTITY),
        Rule("ai.toolCall.args", "input", anything, Part.IDENTITY),
        Rule("ai.response.text", "output", anything, Part.IDENTITY),
        Rule("ai.result.text", "output", anything, Part.IDENTITY),
        Rule("ai.response.object", "output", anything, Part.IDENTITY),
        Rule("ai.toolCall.result", "output", anything, Part.IDENTITY),
        Rule(f"{_METADATA}run_id", "associated_run_id", text, Part.CONTEXT),
        Rule(f"{_METADATA}runId", "associated_run_id", text, Part.CONTEXT),
        Rule(f"{_METADATA}sessionId", "session_id", text, Part.CONTEXT),
        Rule(f"{_METADATA}session_id", "session_id", text, Part.CONTEXT),
        Rule(f"{_METADATA}userId", "user_id", text, Part.CONTEXT),
        Rule(f"{_METADATA}user_id", "user_id", text, Part.CONTEXT),
        Rule("ai.response.model", "model_name", text),
        Rule("ai.model.id", "model_name", text),
        Rule("ai.model.provider", "provider", text),
        Rule("ai.usage.inputTokens", "tokens_in", integer),
        Rule("ai.usage.promptTokens", "tokens_in", integer),
        Rule("ai.usage.tokens", "tokens_in", integer),
        Rule("ai.usage.outputTokens", "tokens_out", integer),
        Rule("ai.usage.completionTokens", "tokens_out", integer),
        Rule("ai.usage.totalTokens", "tokens_used", integer),
        Rule("ai.usage.inputTokenDetails.cacheReadTokens", "tokens_cached_read", integer),
        Rule("ai.usage.cachedInputTokens", "tokens_cached_read", integer),
        Rule("ai.usage.inputTokenDetails.cacheWriteTokens", "tokens_cached_write", integer),
        Rule("ai.usage.outputTokenDetails.reasoningTokens", "tokens_reasoning", integer),
        Rule("ai.usage.reasoningTokens", "tokens_reasoning", integer),
        Rule("ai.usage.inputTokenDetails.noCacheTokens", "_tokens", anything),
        Rule("ai.usage.outputTokenDetails.textTokens", "_tokens", anything),
        Rule("ai.settings.temperature", "temperature", number),
        Rule("ai.settings.topP", "top_p", number),
        Rule("ai.settings.seed", "seed", integer),
        Rule("ai.settings.frequencyPenalty", "frequency_penalty", number),
        Rule("ai.settings.presencePenalty", "presence_penalty", number),
        Rule("ai.settings.maxOutputTokens", "max_tokens", integer),
        Rule("ai.settings.maxTokens", "max_tokens", integer),
        Rule("ai.response.text", "answer", text),
        Rule("ai.response.object", "answer", text),
        Rule("ai.result.text", "answer", text),
        Rule("ai.result.object", "answer", text),
        Rule("ai.response.id", "response_id", text),
        Rule("ai.response.finishReason", "finish_reason", text),
        Rule("ai.response.msToFirstChunk", "ttft_ms", number),
        Rule("ai.stream.msToFirstChunk", "ttft_ms", number),
        Rule("ai.response.toolCalls", "_tool_calls", anything),
        Rule("ai.response.reasoning", "_reasoning", anything),
        Rule("ai.response.providerMetadata", "_provider_metadata", anything),
        Rule("ai.prompt.tools", "_tools", tools_of, optional=True),
        Rule("ai.schema", "_schema", anything),
        Rule(_GIVEN, "input", anything, Part.IDENTITY),
        Rule(_RANKING, "output", anything, Part.IDENTITY),
        Rule("ai.toolCall.name", "tool_name", text),
        Rule("ai.toolCall.id", "tool_call_id", text),
        Rule("ai.value", "_value", anything),
        Rule("ai.values", "_value", anything),
        Rule("ai.embedding", "_embedding", anything),
        Rule("ai.embeddings", "_embedding", anything),
    ),
    derive=_derive,
)
