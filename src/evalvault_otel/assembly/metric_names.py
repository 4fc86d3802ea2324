"""What each metric is called, which way it is better, and what it was computed from."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

Direction = Literal["higher", "lower", "neutral"]

# Every metric with a name of its own, per stage type, and which way is better.
METRICS: Final[Mapping[str, Mapping[str, Direction]]] = {
    "retrieval": {
        "result_count": "higher",
        "avg_score": "higher",
        "score_gap": "higher",
        "precision_at_k": "higher",
        "recall_at_k": "higher",
        "mrr": "higher",
        "ndcg_at_k": "higher",
        "hit_rate": "higher",
        "ordering_warning": "lower",
        "duplicate_count": "lower",
        "order_inversions": "lower",
    },
    "rerank": {
        "keep_rate": "higher",
        "avg_score": "higher",
        "score_gap": "higher",
        "order_inversions": "lower",
        "rank_displacement": "neutral",
    },
    "output": {"token_ratio": "higher", "citation_count": "higher", "citation_coverage": "higher"},
    "input": {"query_length": "neutral"},
    "language_detection": {"accuracy": "higher", "confidence": "higher"},
    "intent": {"accuracy": "higher", "confidence": "higher"},
    "safety_check": {"violation_rate": "lower", "block_rate": "lower"},
    "answer_validation": {"pass_rate": "higher"},
}

# Endings that say of any other metric which way is better; what is not listed is neutral.
_LOWER_ENDINGS: Final = ("latency_ms", "_ms", "_seconds", "error_rate", "error_count", "errors", "timeouts")

# Attributes that a metric is computed from, to be shown beside it.
_EVIDENCE: Final[Mapping[str, tuple[str, ...]]] = {
    "result_count": ("doc_ids", "top_k"),
    "duplicate_count": ("doc_ids",),
    "ordering_warning": ("doc_ids", "scores"),
    "avg_score": ("scores",),
    "score_gap": ("scores",),
    "order_inversions": ("scores",),
    "precision_at_k": ("doc_ids", "relevant_doc_ids", "top_k"),
    "recall_at_k": ("doc_ids", "relevant_doc_ids", "top_k"),
    "mrr": ("doc_ids", "relevant_doc_ids", "top_k"),
    "ndcg_at_k": ("doc_ids", "relevant_doc_ids", "top_k"),
    "hit_rate": ("doc_ids", "relevant_doc_ids", "top_k"),
    "keep_rate": ("input_count", "output_count", "input_doc_ids", "doc_ids"),
    "rank_displacement": ("input_doc_ids", "doc_ids"),
    "token_ratio": ("tokens_in", "tokens_out"),
    "citation_count": ("citations",),
    "citation_coverage": ("citations", "retrieved_doc_ids"),
    "query_length": ("query",),
    "accuracy": ("predicted_label", "label"),
    "confidence": ("confidence",),
    "violation_rate": ("violations", "violation_count"),
    "block_rate": ("blocked",),
    "pass_rate": ("passed",),
}

# Attributes that the named metrics of a stage type read: they are no metrics of their own.
_INPUTS: Final = {
    stage_type: frozenset(key for name in names for key in _EVIDENCE[name]) for stage_type, names in METRICS.items()
}

# Numbers that describe the plumbing or the request, not how well a stage did.
_PLUMBING: Final = (
    "http.", "net.", "network.", "server.", "client.", "url.", "code.", "thread.", "process.", "db.", "rpc.",
    "messaging.", "host.", "container.", "k8s.", "os.", "otel.", "telemetry.", "gen_ai.", "llm.", "evalvault.",
    "tokens_", "cost_",
)  # fmt: skip
_PARAMETERS: Final = frozenset({
    "temperature", "top_p", "top_k", "max_tokens", "max_output_tokens", "seed", "n", "frequency_penalty",
    "presence_penalty", "repetition_penalty", "logprobs", "top_logprobs", "dimension", "dimensions", "timestamp",
    "port", "pid", "lineno", "attempt", "latency_ms", "duration_ms", "input_count", "output_count", "violation_count",
})  # fmt: skip


def direction(metric_name: str) -> Direction:
    """Which way a metric is better; `neutral` when nothing says so."""
    stage_type, _, name = metric_name.rpartition(".")
    known = METRICS.get(stage_type, {}).get(name)
    return known or ("lower" if name.endswith(_LOWER_ENDINGS) else "neutral")


def evidence(
    metric_name: str, attributes: Mapping[str, Any], metadata: Mapping[str, Any], duration_ms: float | None = None
) -> dict[str, Any]:
    """What a score was computed from: the values that are there, and `comparison: max` where lower is better."""
    name = metric_name.rpartition(".")[2]
    shown: dict[str, Any] = {}
    if name == "latency_ms":
        shown["duration_ms"] = duration_ms
    for key in _EVIDENCE.get(name) or _possible_keys(metric_name):
        value = attributes.get(key, metadata.get(key))
        if value is not None:
            shown[key] = value
    if name not in _EVIDENCE and (said := _evaluation(metric_name, attributes.get("evaluations"))):
        shown["evaluation"] = said
    if direction(metric_name) == "lower":
        shown["comparison"] = "max"
    return shown


def _evaluation(metric_name: str, evaluations: Any) -> Any:
    """The evaluation that gave a metric: the latest of its name."""
    said = [item for item in evaluations if isinstance(item, Mapping)] if isinstance(evaluations, list) else []
    return next((item for item in reversed(said) if metric_name.endswith(f".{item.get('name')}")), None)


def _possible_keys(metric_name: str) -> list[str]:
    """Where the stage type ends and the attribute begins is not known: both may hold dots."""
    parts = metric_name.split(".")
    return [".".join(parts[start:]) for start in range(1, len(parts))]


@lru_cache(maxsize=8192)
def generic_name(stage_type: str, key: str) -> str | None:
    """The metric that a numeric attribute makes by itself: `{stage_type}.{key}`, or None for what is no measurement."""
    last = key.rpartition(".")[2]
    plumbing = key.startswith(_PLUMBING) or key in _PARAMETERS or last in _PARAMETERS
    identifier = last in {"id", "ids"} or last.endswith(("_id", "_ids", "Id"))
    named = key in METRICS.get(stage_type, ()) or key in _INPUTS.get(stage_type, ())
    return None if plumbing or identifier or named else f"{stage_type}.{key}"
