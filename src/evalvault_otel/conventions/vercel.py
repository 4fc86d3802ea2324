"""Vercel AI SDK: an outer span for each call of the SDK, an inner one (`….doGenerate`) for each call of a model.

Usage stands on both and counts once, on the inner one. Names changed in version 5 (`promptTokens` to `inputTokens`).
Source: AI SDK documentation, "Telemetry", "Collected Data".
"""

from collections.abc import Mapping
from typing import Final

from ..model import Attributes, Value
from .coerce import anything, integer, number, question, text
from .messages import from_input, messages_of
from .rules import Dialect, Part, Rule, Typing

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
    found = from_input(messages_of(prompt)) if prompt is not None else {}
    if stage_type == "embedding" and "query" not in fields and "_value" in fields:
        found["query"] = question(fields["_value"])
    return {name: value for name, value in found.items() if value is not None}


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
        Rule("ai.usage.cachedInputTokens", "tokens_cached_read", integer),
        Rule("ai.usage.reasoningTokens", "tokens_reasoning", integer),
        Rule("ai.settings.temperature", "temperature", number),
        Rule("ai.settings.maxOutputTokens", "max_tokens", integer),
        Rule("ai.response.text", "answer", text),
        Rule("ai.response.id", "response_id", text),
        Rule("ai.response.finishReason", "finish_reason", text),
        Rule("ai.response.msToFirstChunk", "ttft_ms", number),
        Rule("ai.toolCall.name", "tool_name", text),
        Rule("ai.toolCall.id", "tool_call_id", text),
        Rule("ai.value", "_value", anything),
        Rule("ai.values", "_value", anything),
        Rule("ai.embedding", "_embedding", anything),
        Rule("ai.embeddings", "_embedding", anything),
    ),
    derive=_derive,
)
