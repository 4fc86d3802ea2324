"""Attribute names that their convention has replaced: old name in, current name out.

Old names are still read. Sources: OpenTelemetry semantic conventions, changes of `gen_ai.*` from v1.27 to v1.37 and
the attribute registry of semantic-conventions-genai; OpenLLMetry, `SpanAttributes` of its semantic conventions.
"""

from typing import Final

DEPRECATED: Final[dict[str, str]] = {
    "gen_ai.system": "gen_ai.provider.name",
    "gen_ai.usage.prompt_tokens": "gen_ai.usage.input_tokens",
    "gen_ai.usage.completion_tokens": "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens": "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_read_input_tokens": "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.prompt": "gen_ai.input.messages",
    "gen_ai.completion": "gen_ai.output.messages",
    # Flattened lists: every one begins at 0.
    "gen_ai.prompt.0.content": "gen_ai.input.messages",
    "gen_ai.completion.0.content": "gen_ai.output.messages",
    "gen_ai.openai.request.seed": "gen_ai.request.seed",
    "gen_ai.openai.request.response_format": "gen_ai.output.type",
    "llm.request.model": "gen_ai.request.model",
    "llm.request.type": "gen_ai.operation.name",
    "llm.usage.prompt_tokens": "gen_ai.usage.input_tokens",
    "llm.usage.completion_tokens": "gen_ai.usage.output_tokens",
    "llm.usage.total_tokens": "gen_ai.usage.total_tokens",
    "llm.top_k": "gen_ai.request.top_k",
    "llm.top_p": "gen_ai.request.top_p",
    "traceloop.correlation.id": "traceloop.association.properties",
    "evalvault.run_id": "evalvault.run.id",
}
