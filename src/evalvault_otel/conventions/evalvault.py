"""The `evalvault.*` attribute registry: our own names, the first to be believed.

Stage types are an open vocabulary: the core words below, `custom.<name>`, or any other lower-case word.
"""

import re

from .coerce import anything, boolean, citations, integer, number, numbers, question, text, texts
from .rules import Dialect, Part, Rule, Typing

RUN_ID = "evalvault.run.id"
STAGE_TYPE = "evalvault.stage.type"
ASSET_EVENTS = frozenset({"evalvault.asset.used", "evalvault.asset"})
ASSETS = "evalvault.assets"

_WORD = re.compile(r"[a-z][a-z0-9_.\-]{0,63}\Z")


def stage_type(value: str) -> str | None:
    """A stage type as users write it: trimmed and lower-cased; None when it is no word."""
    word = value.strip().lower()
    return word if _WORD.match(word) else None


def _rules(part: Part, *entries: tuple[str, str, object]) -> tuple[Rule, ...]:
    return tuple(Rule(f"evalvault.{key}", name, coerce, part) for key, name, coerce in entries)  # type: ignore[arg-type]  # rows of a table


_IDENTITY = _rules(
    Part.IDENTITY,
    ("stage.type", "type", text),
    ("stage.name", "name", text),
    ("stage.id", "id", text),
    ("stage.parent.id", "parent_id", text),
    ("stage.attempt", "attempt", integer),
    ("stage.status", "status", text),
    ("stage.index", "index", integer),
    ("stage.input.uri", "input_uri", text),
    ("stage.output.uri", "output_uri", text),
    ("stage.input.value", "input", anything),
    ("stage.output.value", "output", anything),
    ("assets", "assets", anything),
)
_CONTEXT = _rules(
    Part.CONTEXT,
    ("run.id", "run_id", text),
    ("run_id", "run_id", text),
    ("run.name", "run_name", text),
    ("run.kind", "run_kind", text),
    ("run.parent.id", "run_parent_id", text),
    ("dataset.name", "dataset_name", text),
    ("dataset.version", "dataset_version", text),
    ("test_case.id", "test_case_id", text),
    ("tenant.id", "tenant_id", text),
    ("schema.version", "schema_version", text),
)
_FIELDS = _rules(
    Part.FIELD,
    ("input.query", "query", question),
    ("input.language", "language", text),
    ("retrieval.query", "query", text),
    ("retrieval.doc_ids", "doc_ids", texts),
    ("retrieval.scores", "scores", numbers),
    ("retrieval.top_k", "top_k", integer),
    ("retrieval.relevant_doc_ids", "relevant_doc_ids", texts),
    ("retrieval.cache_hit", "cache_hit", boolean),
    ("retrieval.searched.count", "total_docs_searched", integer),
    ("retrieval.index.size", "index_size", integer),
    ("rerank.input.count", "input_count", integer),
    ("rerank.output.count", "output_count", integer),
    ("rerank.doc_ids", "doc_ids", texts),
    ("rerank.scores", "scores", numbers),
    ("output.answer", "answer", text),
    ("output.citations", "citations", citations),
    ("usage.input_tokens", "tokens_in", integer),
    ("usage.output_tokens", "tokens_out", integer),
    ("usage.total_tokens", "tokens_used", integer),
    ("cost.input", "cost_in", number),
    ("cost.output", "cost_out", number),
    ("cost.total", "cost_total", number),
    ("cost.currency", "currency", text),
    ("safety.violation.count", "violation_count", integer),
    ("safety.violations", "violations", anything),
    ("safety.blocked", "blocked", boolean),
    ("validation.passed", "passed", boolean),
    ("classification.label", "predicted_label", text),
    ("classification.confidence", "confidence", number),
)

DIALECT: Dialect = Dialect(
    name="evalvault",
    typings=(Typing(STAGE_TYPE, parse=stage_type),),
    rules=(*_IDENTITY, *_CONTEXT, *_FIELDS),
)
