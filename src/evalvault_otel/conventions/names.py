"""Names of `evalvault.*` attributes and events. Made from registry.yaml by `make registry`: change that."""

from typing import Final

# Stage attributes.
STAGE_TYPE: Final = "evalvault.stage.type"
"""The stage type."""
STAGE_NAME: Final = "evalvault.stage.name"
"""A name of low cardinality."""
STAGE_ID: Final = "evalvault.stage.id"
"""The stage id, where a client must know it beforehand; else the span id."""
STAGE_PARENT_ID: Final = "evalvault.stage.parent.id"
"""The stage id of the parent, also in another trace; else the nearest stage above."""
STAGE_ATTEMPT: Final = "evalvault.stage.attempt"
"""Which try it was, from 1."""
STAGE_STATUS: Final = "evalvault.stage.status"
"""How the stage ended; else the status of the span."""
STAGE_SKIP_REASON: Final = "evalvault.stage.skip.reason"
"""Why the stage was left out; else the status message of the span."""
STAGE_INDEX: Final = "evalvault.stage.index"
"""Order among parallel siblings."""
STAGE_INPUT_URI: Final = "evalvault.stage.input.uri"
"""Where the input payload is kept, as `store://id?type=`."""
STAGE_OUTPUT_URI: Final = "evalvault.stage.output.uri"
"""Where the output payload is kept."""
STAGE_INPUT_VALUE: Final = "evalvault.stage.input.value"
"""The input payload itself."""
STAGE_OUTPUT_VALUE: Final = "evalvault.stage.output.value"
"""The output payload itself."""
CONTENT_HIDDEN_KEYS: Final = "evalvault.content.hidden_keys"
"""Attributes of the span whose value was hidden, hashed, masked or cut before it was sent."""
ASSETS: Final = "evalvault.assets"
"""Assets that the stage used, as a list of maps or its JSON text."""

# Run attributes.
RUN_ID: Final = "evalvault.run.id"
"""Names the run; at most 128 characters."""
RUN_ID_ALIAS: Final = "evalvault.run_id"
"""An older name of `evalvault.run.id`."""
RUN_NAME: Final = "evalvault.run.name"
"""A name for people."""
RUN_KIND: Final = "evalvault.run.kind"
"""What kind of run it is."""
RUN_PARENT_ID: Final = "evalvault.run.parent.id"
"""The run that this one belongs to."""
DATASET_NAME: Final = "evalvault.dataset.name"
"""The data set of an offline run."""
DATASET_VERSION: Final = "evalvault.dataset.version"
"""Its version."""
TEST_CASE_ID: Final = "evalvault.test_case.id"
"""The test case that the trace answers."""
TENANT_ID: Final = "evalvault.tenant.id"
"""Whose traffic it is."""
SCHEMA_VERSION: Final = "evalvault.schema.version"
"""The version of this registry that the sender follows."""

# Input attributes.
INPUT_QUERY: Final = "evalvault.input.query"
"""The question of the user."""
INPUT_LANGUAGE: Final = "evalvault.input.language"
"""Its language."""

# Retrieval attributes.
RETRIEVAL_QUERY: Final = "evalvault.retrieval.query"
"""What was searched."""
RETRIEVAL_DOC_IDS: Final = "evalvault.retrieval.doc_ids"
"""Ids of the returned documents, best first."""
RETRIEVAL_SCORES: Final = "evalvault.retrieval.scores"
"""Their scores, same length."""
RETRIEVAL_TOP_K: Final = "evalvault.retrieval.top_k"
"""How many were asked for."""
RETRIEVAL_RELEVANT_DOC_IDS: Final = "evalvault.retrieval.relevant_doc_ids"
"""Ground truth for precision and recall."""
RETRIEVAL_CACHE_HIT: Final = "evalvault.retrieval.cache_hit"
"""The result came from a cache."""
RETRIEVAL_SEARCHED_COUNT: Final = "evalvault.retrieval.searched.count"
"""Documents looked at."""
RETRIEVAL_INDEX_SIZE: Final = "evalvault.retrieval.index.size"
"""Documents in the index."""

# Rerank attributes.
RERANK_INPUT_COUNT: Final = "evalvault.rerank.input.count"
"""Documents that went in."""
RERANK_OUTPUT_COUNT: Final = "evalvault.rerank.output.count"
"""Documents that were kept."""
RERANK_DOC_IDS: Final = "evalvault.rerank.doc_ids"
"""The kept documents, best first."""
RERANK_SCORES: Final = "evalvault.rerank.scores"
"""Their new scores."""

# Output attributes.
OUTPUT_ANSWER: Final = "evalvault.output.answer"
"""The answer text."""
OUTPUT_CITATIONS: Final = "evalvault.output.citations"
"""Ids of the documents that the answer cites."""
USAGE_INPUT_TOKENS: Final = "evalvault.usage.input_tokens"
"""Tokens given to the model."""
USAGE_OUTPUT_TOKENS: Final = "evalvault.usage.output_tokens"
"""Tokens that the model wrote."""
USAGE_TOTAL_TOKENS: Final = "evalvault.usage.total_tokens"
"""Their sum."""
COST_INPUT: Final = "evalvault.cost.input"
"""Cost of the input."""
COST_OUTPUT: Final = "evalvault.cost.output"
"""Cost of the output."""
COST_TOTAL: Final = "evalvault.cost.total"
"""Cost of the call."""
COST_CURRENCY: Final = "evalvault.cost.currency"
"""Its currency."""

# Attributes of checks.
SAFETY_VIOLATION_COUNT: Final = "evalvault.safety.violation.count"
"""Violations found by a safety check."""
SAFETY_VIOLATIONS: Final = "evalvault.safety.violations"
"""Their names."""
SAFETY_BLOCKED: Final = "evalvault.safety.blocked"
"""The check stopped the answer."""
VALIDATION_PASSED: Final = "evalvault.validation.passed"
"""An answer validation passed."""
CLASSIFICATION_LABEL: Final = "evalvault.classification.label"
"""An intent or language that was recognized."""
CLASSIFICATION_CONFIDENCE: Final = "evalvault.classification.confidence"
"""How sure that was."""

# Asset attributes.
ASSET_KIND: Final = "evalvault.asset.kind"
"""What kind of asset it is."""
ASSET_TYPE_ALIAS: Final = "evalvault.asset.type"
"""An older name of `evalvault.asset.kind`."""
ASSET_NAME: Final = "evalvault.asset.name"
"""Its name."""
ASSET_ID: Final = "evalvault.asset.id"
"""Its id."""
ASSET_VERSION: Final = "evalvault.asset.version"
"""Its version, `unversioned` if it has none."""
ASSET_DIGEST: Final = "evalvault.asset.digest"
"""A digest of its content, which shows an edit without a new version."""
ASSET_ORIGIN: Final = "evalvault.asset.origin"
"""Where it came from."""
ASSET_FALLBACK: Final = "evalvault.asset.fallback"
"""It stood in for another that could not be had."""
ASSET_SUBTYPE: Final = "evalvault.asset.subtype"
"""A finer kind, such as the type of a policy."""
ASSET_ROLE: Final = "evalvault.asset.role"
"""What it was used for, when a stage uses two of a kind."""
ASSET_SCOPE: Final = "evalvault.asset.scope"
"""Where it applies."""
ASSET_ENGINE: Final = "evalvault.asset.engine"
"""What ran it."""
ASSET_STATUS: Final = "evalvault.asset.status"
"""What became of it."""
ASSET_CACHE_HIT: Final = "evalvault.asset.cache_hit"
"""It came from a cache."""
ASSET_LOAD_DURATION: Final = "evalvault.asset.load.duration"
"""How long it took to load, in seconds."""

# Link attributes.
LINK_TYPE: Final = "evalvault.link.type"
"""What the span is to the linked span."""

# Events.
ASSET_USED_EVENT: Final = "evalvault.asset.used"
"""An asset was used, in a version."""
ASSET_EVENT_ALIAS: Final = "evalvault.asset"
"""An older name of `evalvault.asset.used`."""
RELEVANCE_EVENT: Final = "evalvault.relevance"
"""Somebody judged afterwards which documents are relevant."""

# Values of enumerations, in the order of the registry.
STAGE_TYPE_VALUES: Final = (
    "system_prompt",
    "input",
    "intent",
    "language_detection",
    "route_plan",
    "query_rewrite",
    "embedding",
    "retrieval",
    "fusion",
    "rerank",
    "prompt",
    "generation",
    "output",
    "tool",
    "agent",
    "workflow",
    "memory",
    "safety_check",
    "answer_validation",
    "evaluation",
    "ingest",
    "chunk",
    "cache",
    "postprocess",
    "validate",
    "execute",
    "compose",
    "present",
    "unknown",
)
STAGE_STATUS_VALUES: Final = ("success", "error", "timeout", "cancelled", "skipped", "fallback")
RUN_KIND_VALUES: Final = ("online", "offline", "replay", "canary", "test")
ASSET_KIND_VALUES: Final = (
    "prompt",
    "policy",
    "mapping",
    "source",
    "schema",
    "catalog",
    "resolver",
    "query",
    "screen",
    "tool",
    "model",
    "index",
    "other",
)
ASSET_ORIGIN_VALUES: Final = ("registry", "override", "fallback", "builtin", "inline")
ASSET_STATUS_VALUES: Final = ("used", "skipped", "failed")
LINK_TYPE_VALUES: Final = ("retry_of", "follows_from", "batch", "replay_of", "evaluates")

# Attribute, part of a reading, field there, coercion. Of two for one field the first wins.
FILLS: Final[tuple[tuple[str, str, str, str], ...]] = (
    (STAGE_TYPE, "identity", "type", "text"),
    (STAGE_NAME, "identity", "name", "text"),
    (STAGE_ID, "identity", "id", "text"),
    (STAGE_PARENT_ID, "identity", "parent_id", "text"),
    (STAGE_ATTEMPT, "identity", "attempt", "integer"),
    (STAGE_STATUS, "identity", "status", "text"),
    (STAGE_SKIP_REASON, "identity", "skip_reason", "text"),
    (STAGE_INDEX, "identity", "index", "integer"),
    (STAGE_INPUT_URI, "identity", "input_uri", "text"),
    (STAGE_OUTPUT_URI, "identity", "output_uri", "text"),
    (STAGE_INPUT_VALUE, "identity", "input", "anything"),
    (STAGE_OUTPUT_VALUE, "identity", "output", "anything"),
    (CONTENT_HIDDEN_KEYS, "field", "content_hidden", "texts"),
    (ASSETS, "identity", "assets", "anything"),
    (RUN_ID, "context", "run_id", "text"),
    (RUN_ID_ALIAS, "context", "run_id", "text"),
    (RUN_NAME, "context", "run_name", "text"),
    (RUN_KIND, "context", "run_kind", "text"),
    (RUN_PARENT_ID, "context", "run_parent_id", "text"),
    (DATASET_NAME, "context", "dataset_name", "text"),
    (DATASET_VERSION, "context", "dataset_version", "text"),
    (TEST_CASE_ID, "context", "test_case_id", "text"),
    (TENANT_ID, "context", "tenant_id", "text"),
    (SCHEMA_VERSION, "context", "schema_version", "text"),
    (INPUT_QUERY, "field", "query", "question"),
    (INPUT_LANGUAGE, "field", "language", "text"),
    (RETRIEVAL_QUERY, "field", "query", "text"),
    (RETRIEVAL_DOC_IDS, "field", "doc_ids", "texts"),
    (RETRIEVAL_SCORES, "field", "scores", "numbers"),
    (RETRIEVAL_TOP_K, "field", "top_k", "integer"),
    (RETRIEVAL_RELEVANT_DOC_IDS, "field", "relevant_doc_ids", "texts"),
    (RETRIEVAL_CACHE_HIT, "field", "cache_hit", "boolean"),
    (RETRIEVAL_SEARCHED_COUNT, "field", "total_docs_searched", "integer"),
    (RETRIEVAL_INDEX_SIZE, "field", "index_size", "integer"),
    (RERANK_INPUT_COUNT, "field", "input_count", "integer"),
    (RERANK_OUTPUT_COUNT, "field", "output_count", "integer"),
    (RERANK_DOC_IDS, "field", "doc_ids", "texts"),
    (RERANK_SCORES, "field", "scores", "numbers"),
    (OUTPUT_ANSWER, "field", "answer", "text"),
    (OUTPUT_CITATIONS, "field", "citations", "citations"),
    (USAGE_INPUT_TOKENS, "field", "tokens_in", "integer"),
    (USAGE_OUTPUT_TOKENS, "field", "tokens_out", "integer"),
    (USAGE_TOTAL_TOKENS, "field", "tokens_used", "integer"),
    (COST_INPUT, "field", "cost_in", "number"),
    (COST_OUTPUT, "field", "cost_out", "number"),
    (COST_TOTAL, "field", "cost_total", "number"),
    (COST_CURRENCY, "field", "currency", "text"),
    (SAFETY_VIOLATION_COUNT, "field", "violation_count", "integer"),
    (SAFETY_VIOLATIONS, "field", "violations", "anything"),
    (SAFETY_BLOCKED, "field", "blocked", "boolean"),
    (VALIDATION_PASSED, "field", "passed", "boolean"),
    (CLASSIFICATION_LABEL, "field", "predicted_label", "text"),
    (CLASSIFICATION_CONFIDENCE, "field", "confidence", "number"),
)
# The same for the attributes of an asset event.
ASSET_FILLS: Final[tuple[tuple[str, str, str], ...]] = (
    (ASSET_KIND, "kind", "text"),
    (ASSET_TYPE_ALIAS, "kind", "text"),
    (ASSET_NAME, "name", "text"),
    (ASSET_ID, "asset_id", "text"),
    (ASSET_VERSION, "version", "text"),
    (ASSET_DIGEST, "digest", "text"),
    (ASSET_ORIGIN, "origin", "text"),
    (ASSET_FALLBACK, "fallback", "boolean"),
    (ASSET_SUBTYPE, "subtype", "text"),
    (ASSET_ROLE, "role", "text"),
    (ASSET_CACHE_HIT, "cache_hit", "boolean"),
    (ASSET_LOAD_DURATION, "load_s", "number"),
)
