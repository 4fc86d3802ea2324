"""Open RAG Trace 0.1: modules of a RAG pipeline named by `rag.module`.

It shares the prefixes `retrieval.`, `rerank.` and `llm.` with OpenInference, with other shapes: its documents are one
JSON text. Source: Open RAG Trace specification 0.1, "Modules" and "Attributes".
"""

from collections.abc import Mapping
from typing import Final

from ..model import Attributes, Value
from .coerce import anything, boolean, integer, number, numbers, question, text
from .documents import documents_in, from_documents
from .rules import Dialect, Part, Rule, Typing

MODULE: Final = "rag.module"
_DOCUMENTS: Final = "retrieval.documents_json"

_MODULES: Final = {
    "ingest": "ingest",
    "chunk": "chunk",
    "embed": "embedding",
    "retrieve": "retrieval",
    "rerank": "rerank",
    "prompt": "prompt",
    "llm": "generation",
    "postprocess": "postprocess",
    "eval": "evaluation",
    "cache": "cache",
}
# Words beyond the specification that are stage types here.
_OURS: Final = frozenset(
    {"query_rewrite", "intent", "language_detection", "route_plan", "fusion", "output", "input", "system_prompt"}
    | {"safety_check", "answer_validation", "tool", "agent", "workflow", "memory"}
)


def _stage_type(value: str) -> str | None:
    word = value.strip().lower()
    if not word:
        return None
    if word in _MODULES:
        return _MODULES[word]
    return word if word in _OURS or word.startswith("custom.") else f"custom.{word}"


def _derive(attributes: Attributes, stage_type: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    found = from_documents(documents_in(attributes.get(_DOCUMENTS))) if _DOCUMENTS in attributes else {}
    if stage_type == "rerank" and "_scores" in fields:
        found["scores"] = fields["_scores"]
    return found


DIALECT: Dialect = Dialect(
    name="openragtrace",
    typings=(Typing(MODULE, parse=_stage_type),),
    rules=(
        Rule("retrieval.query", "query", question),
        Rule("retrieval.top_k", "top_k", integer),
        Rule(_DOCUMENTS, "_documents_json", anything),
        Rule("rerank.model_name", "model_name", text),
        Rule("rerank.scores", "_scores", numbers),
        Rule("llm.latency_ms", "llm_latency_ms", number),
        Rule("eval.metric_name", "metric_name", text),
        Rule("eval.score", "score", number),
        Rule("eval.passed", "passed", boolean),
        Rule("artifact.uri", "output_uri", text, Part.IDENTITY),
    ),
    derive=_derive,
)
