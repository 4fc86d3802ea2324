"""What went into a run of LangSmith and came out of it, as its OpenTelemetry export sends them: two JSON texts.

Messages are as OpenAI writes them, or serialized objects of LangChain: `{"lc": 1, "id": […, "HumanMessage"], "kwargs":
{"content": …}}`, in a list of lists, since a run may hold several conversations. Source: langsmith-sdk, OpenTelemetry
exporter; langchain-core, `load/serializable.py` and `outputs`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..model import Attributes, Value
from .coerce import integer, parse_json, question, text
from .documents import documents_in, from_documents
from .messages import content_of, from_input
from .rules import Derive

INPUTS: Final = "gen_ai.prompt"
OUTPUTS: Final = "gen_ai.completion"
_RUN: Final = "langsmith.span.kind"
_ROLES: Final = {"human": "user", "ai": "assistant"}
_WITH_QUERY: Final = frozenset({"retrieval", "rerank", "query_rewrite", "embedding"})
_MAX_ITEMS: Final = 1000


def _derive(attributes: Attributes, stage_type: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    """Question, system prompt, answer, documents and cached tokens of a run."""
    if _RUN not in attributes:
        return {}
    found: dict[str, Value] = {}
    if INPUTS in attributes:
        inputs = parse_json(attributes[INPUTS])
        if isinstance(inputs, Mapping):
            found |= from_input(_messages(inputs.get("messages")))
        if stage_type in _WITH_QUERY and "query" not in fields:
            found["query"] = question(attributes[INPUTS])
    outputs = parse_json(attributes.get(OUTPUTS))
    if isinstance(outputs, Mapping):
        found |= _out(outputs, stage_type)
    return {name: value for name, value in found.items() if value is not None}


derive: Derive = _derive


def _out(outputs: Mapping[str, Any], stage_type: str) -> dict[str, Value]:
    if stage_type in {"retrieval", "rerank", "fusion"}:
        return from_documents(documents_in(outputs) or documents_in(outputs.get("output")))
    if stage_type not in {"generation", "output"}:
        return {}
    message = _answer(outputs)
    usage = message.get("usage_metadata", outputs.get("usage_metadata"))
    return {"answer": content_of(message) or text(message.get("text")), **_details(usage)}


def _answer(outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message of a model: the first of its generations or choices, or the output itself."""
    for key in ("generations", "choices", "output", "message"):
        said = outputs.get(key)
        while isinstance(said, list) and said:
            said = said[0]
        if isinstance(said, Mapping):
            inner = said.get("message")
            return _plain(inner if isinstance(inner, Mapping) else said)
        if isinstance(said, str):
            return {"content": said}
    return outputs


def _messages(value: Any) -> Iterator[Mapping[str, Any]]:
    """Messages as maps with `role` and `content`, of one conversation or of a list of them."""
    for item in value[:_MAX_ITEMS] if isinstance(value, list) else ():
        if isinstance(item, list):
            yield from (_plain(one) for one in item[:_MAX_ITEMS] if isinstance(one, Mapping))
        elif isinstance(item, Mapping):
            yield _plain(item)


def _plain(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A serialized message as `role`, `content` and the rest."""
    inner = message.get("kwargs")
    said = inner if isinstance(inner, Mapping) else message
    if "role" in said:
        return said
    kind = text(said.get("type")) or _class_of(message)
    return {**said, "role": _ROLES.get(kind, kind)}


def _class_of(message: Mapping[str, Any]) -> str:
    """`SystemMessage` is of `system`."""
    path = message.get("id")
    last = path[-1] if isinstance(path, list) and path else ""
    return last.removesuffix("Chunk").removesuffix("Message").lower() if isinstance(last, str) else ""


def _details(usage: Any) -> dict[str, Value]:
    """Tokens that the exporter itself writes as a text that is no JSON."""
    if not isinstance(usage, Mapping):
        return {}
    read, made = usage.get("input_token_details"), usage.get("output_token_details")
    cached = read if isinstance(read, Mapping) else {}
    produced = made if isinstance(made, Mapping) else {}
    return {
        "tokens_cached_read": integer(cached.get("cache_read")),
        "tokens_cached_write": integer(cached.get("cache_creation")),
        "tokens_reasoning": integer(produced.get("reasoning")),
    }
