"""LangSmith and LangGraph: run types of LangSmith's OpenTelemetry export, and metadata that both put on spans.

Metadata comes in one JSON text (`metadata`, as OpenInference has it) or in a key each (`langsmith.metadata.…`).
LangSmith's session is a project, not a conversation. The exporter sets `gen_ai.operation.name` too, but calls a
retriever `embeddings` and a prompt `chat`, so the run type counts. What went in and out reads `langsmith_payload`.

Source: langsmith-sdk, OpenTelemetry exporter; LangGraph, configuration metadata.
"""

import re
from functools import lru_cache
from typing import Any, Final

from ..model import Value
from .coerce import Coerce, anything, integer, number, parse_json, text
from .genai import OPERATION
from .langsmith_payload import derive
from .rules import Correction, Dialect, Part, Rule, Typing

SPAN_KIND: Final = "langsmith.span.kind"
_KEY: Final = "langsmith.metadata."
_METADATA: Final = "metadata"
_MAX_KNOWN: Final = 8192

_KINDS: Final = {
    "llm": "generation",
    "tool": "tool",
    "retriever": "retrieval",
    "embedding": "embedding",
    "prompt": "prompt",
    "parser": "postprocess",
}

# field -> part, how to read it, and what it is called in the metadata, best first.
_FIELDS: Final[tuple[tuple[str, Part, Coerce, str], ...]] = (
    ("associated_run_id", Part.CONTEXT, text, "run_id"),
    ("session_id", Part.CONTEXT, text, "session_id conversation_id thread_id"),
    ("user_id", Part.CONTEXT, text, "user_id"),
    ("model_name", Part.FIELD, text, "ls_model_name"),
    ("provider", Part.FIELD, text, "ls_provider"),
    ("temperature", Part.FIELD, number, "ls_temperature"),
    ("max_tokens", Part.FIELD, integer, "ls_max_tokens"),
    ("graph_node", Part.FIELD, text, "langgraph_node"),
    ("graph_step", Part.FIELD, number, "langgraph_step"),
)


@lru_cache(maxsize=2048)  # the same few metadata stand on every span of a trace
def _known(said: str) -> Any:
    return parse_json(said)


def _within(coerce: Coerce, names: tuple[str, ...]) -> Coerce:
    """Reads one of the names out of the metadata as a whole."""

    def read(value: Value) -> Value:
        found = _known(value) if isinstance(value, str) and len(value) <= _MAX_KNOWN else parse_json(value)
        if not isinstance(found, dict):
            return None
        return next((said for name in names if name in found and (said := coerce(found[name])) is not None), None)

    return read


def _tags(value: Value) -> Value:
    """Tags come as one text, with commas."""
    return [tag for part in value.split(",") if (tag := part.strip())] or None if isinstance(value, str) else value


DIALECT: Dialect = Dialect(
    name="langsmith",
    typings=(Typing(SPAN_KIND, types=_KINDS),),
    rules=(
        *(
            Rule(f"{_KEY}{key}", name, coerce, part)
            for name, part, coerce, keys in _FIELDS
            for key in keys.split()
            if key != "run_id"  # a run of LangSmith is a span
        ),
        *(
            Rule(_METADATA, name, _within(coerce, tuple(keys.split())), part, optional=True)
            for name, part, coerce, keys in _FIELDS
        ),
        Rule("langsmith.trace.name", "name", text, Part.IDENTITY),
        Rule("langsmith.trace.session_name", "project", text),
        Rule("langsmith.span.tags", "tags", _tags),
        # Identities and machinery of LangSmith: the archive has them.
        *(
            Rule(f"langsmith.{key}", "_langsmith", anything)
            for key in (
                *("span.id", "span.parent_id", "span.dotted_order", "span.runtime", "trace.id", "trace.session_id"),
                *("request.streaming", "request.headers"),
            )
        ),
    ),
    derive=derive,
    wrappers={SPAN_KIND: frozenset({"chain"})},
    corrections=(Correction("langsmith_run_type", OPERATION, re.compile("^langsmith$"), having=(SPAN_KIND,)),),
)
