"""A stage's attributes in, its scores out: one table from stage type to small rules.

Attributes arrive under the normalised names (`doc_ids`, `scores`, `tokens_in`, …). A value that cannot be used costs
the metrics made from it and nothing else. Latency is not made here: it is the stage's own `duration_ms`. Thresholds and
verdicts are not made here either: they may change without a stage being looked at again.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

from .metric_names import generic_name
from .metric_values import FALSE_TEXTS, BadValueError, amount, count, finite, items, number, numbers, text, truth

Attributes = Mapping[str, Any]
Scores = dict[str, float]
Rule = Callable[[Attributes, Attributes], Scores | None]

_CITATION_LISTS: Final = ("doc_ids", "ids", "sources", "citations")


class StageMetrics(NamedTuple):
    """Scores by full metric name (`retrieval.result_count`), and a sentence for each value that could not be used."""

    scores: dict[str, float]
    bad: tuple[str, ...] = ()


def stage_metrics(
    stage_type: str, attributes: Attributes, metadata: Attributes, retrieved: Collection[str] | None = None
) -> StageMetrics:
    """All scores of a stage.

    Args:
        stage_type: `retrieval`, `custom.ranker`, …; an unknown type gets the generic metrics only.
        attributes: the stage's attributes under their normalised names.
        metadata: what is known about the case (`relevant_doc_ids`).
        retrieved: ids of the documents that the trace retrieved, for `output.citation_coverage`.
    """
    scores: Scores = {}
    bad: list[str] = []
    names = _FULL_NAMES.get(stage_type, _NO_NAMES)
    for rule in _RULES.get(stage_type, ()):
        try:
            for name, score in (rule(attributes, metadata) or _NONE).items():
                scores[names[name]] = score
        except (BadValueError, OverflowError) as exc:
            bad.append(f"{stage_type}: {exc}")
    if retrieved is not None and stage_type == "output":
        scores.update(_citation_coverage(attributes, retrieved))
    _add_generic(stage_type, attributes, scores, bad)
    return StageMetrics(scores, tuple(bad))


# Rules. Each reads one or two attributes and returns the scores they give, or None without them.


def _documents(attributes: Attributes, _: Attributes) -> Scores:
    raw = attributes.get("doc_ids")
    if raw is None:  # not recorded, which is not the same as nothing found
        return {"ordering_warning": 1.0} if _unordered(attributes.get("scores")) else {}
    ids = items(raw)
    scores = {"result_count": float(len(ids))}
    if ids:
        known = [text(doc_id) for doc_id in ids if doc_id is not None]
        scores["duplicate_count"] = float(len(known) - len(set(known)))
    if _unordered(raw) or _unordered(attributes.get("scores")):
        scores["ordering_warning"] = 1.0
    return scores


def _unordered(value: Any) -> bool:
    kind = type(value)
    return kind is set or kind is frozenset


def _score_spread(attributes: Attributes, _: Attributes) -> Scores | None:
    raw = attributes.get("scores")
    if not raw:
        return None
    values = numbers(items(raw))
    if not values:
        return None
    scores = {"avg_score": finite(math.fsum(values) / len(values), "the mean of the scores")}
    if len(values) > 1:
        scores["score_gap"] = finite(max(values) - min(values), "the gap of the scores")
        if not _unordered(raw):
            scores["order_inversions"] = float(sum(a < b for a, b in pairwise(values)))
    return scores


def _relevance(attributes: Attributes, metadata: Attributes) -> Scores | None:
    relevant = {text(item) for item in items(attributes.get("relevant_doc_ids") or metadata.get("relevant_doc_ids"))}
    raw = attributes.get("doc_ids")
    if not relevant or raw is None:
        return None
    ids = [text(item) for item in items(raw)]
    ordered = not _unordered(raw)
    top_k = attributes.get("top_k")
    k = _cut(top_k, len(ids)) if ordered and top_k is not None else len(ids)
    # The rank at which each relevant document is first seen: a document returned twice is found once.
    ranks = [rank for rank, doc_id in enumerate(dict.fromkeys(ids[:k]), 1) if doc_id in relevant]
    found = len(ranks)
    scores = {
        "precision_at_k": found / k if k else 0.0,
        "recall_at_k": found / len(relevant),
        "hit_rate": 1.0 if found else 0.0,
    }
    if ordered:
        scores["mrr"] = 1.0 / ranks[0] if ranks else 0.0
        scores["ndcg_at_k"] = _gain(ranks) / _best_gain(min(k, len(relevant))) if ranks else 0.0
    return scores


def _cut(top_k: Any, returned: int) -> int:
    k = number(top_k, "top_k")
    return int(k) if 0 < k < returned else returned


def _gain(ranks: Sequence[int]) -> float:
    return math.fsum([1.0 / math.log2(rank + 1) for rank in ranks])


@lru_cache(maxsize=1024)
def _best_gain(number: int) -> float:
    """The gain of that many relevant documents at the first ranks."""
    return _gain(range(1, number + 1))


def _keep_rate(attributes: Attributes, _: Attributes) -> Scores | None:
    given = count(attributes, "input_count", "input_doc_ids")
    kept = count(attributes, "output_count", "doc_ids")
    return {"keep_rate": kept / given} if given and kept is not None else None


def _rank_displacement(attributes: Attributes, _: Attributes) -> Scores | None:
    before = {text(doc_id): rank for rank, doc_id in enumerate(items(attributes.get("input_doc_ids")))}
    after = [text(doc_id) for doc_id in items(attributes.get("doc_ids"))]
    moves = [abs(rank - before[doc_id]) for rank, doc_id in enumerate(after) if doc_id in before]
    return {"rank_displacement": sum(moves) / len(moves)} if moves else None


def _token_ratio(attributes: Attributes, _: Attributes) -> Scores | None:
    given, made = attributes.get("tokens_in"), attributes.get("tokens_out")
    if given is None or made is None:
        return None
    tokens_in = number(given, "tokens_in")
    return {"token_ratio": number(made, "tokens_out") / tokens_in} if tokens_in > 0 else None


def _citation_count(attributes: Attributes, _: Attributes) -> Scores:
    return {"citation_count": float(_counted(attributes.get("citations")))}


def _counted(citations: Any) -> float:
    match citations:
        case None | False | "":
            return 0
        case list() | tuple() | set() | frozenset():
            return len(citations)
        case Mapping():
            listed = next((citations[k] for k in _CITATION_LISTS if isinstance(citations.get(k), list | tuple)), None)
            if listed is not None:
                return len(listed)
            return amount(citations["count"], "citations.count") if "count" in citations else len(citations)
        case int() | float():
            return amount(int(citations) if citations is True else citations, "citations")
    return 1


def _citation_coverage(attributes: Attributes, retrieved: Collection[str]) -> Scores:
    citations = attributes.get("citations")
    if isinstance(citations, Mapping):
        citations = next((citations[key] for key in _CITATION_LISTS if key in citations), None)
    cited = {doc_id for item in items(citations) if (doc_id := _cited_id(item))}
    return {"output.citation_coverage": len(cited.intersection(retrieved)) / len(cited)} if cited else {}


def _cited_id(item: Any) -> str:
    if isinstance(item, Mapping):
        item = item.get("doc_id", item.get("id"))
    return "" if item is None or isinstance(item, bool) else text(item)


def _query_length(attributes: Attributes, _: Attributes) -> Scores | None:
    query = attributes.get("query")
    return {"query_length": float(len(query))} if isinstance(query, str) else None


def _accuracy(attributes: Attributes, _: Attributes) -> Scores | None:
    predicted, label = attributes.get("predicted_label"), attributes.get("label")
    if isinstance(predicted, str) and isinstance(label, str):
        return {"accuracy": 1.0 if predicted == label else 0.0}
    return None


def _confidence(attributes: Attributes, _: Attributes) -> Scores | None:
    value = attributes.get("confidence")
    return None if value is None else {"confidence": number(value, "confidence")}


def _violation_rate(attributes: Attributes, _: Attributes) -> Scores | None:
    violations = attributes.get("violations")
    if violations is None:
        violations = attributes.get("violation_count")
    match violations:
        case None:
            return None
        case str():
            return {"violation_rate": 0.0 if violations.strip().lower() in FALSE_TEXTS else 1.0}
        case list() | tuple() | set() | frozenset() | Mapping() | bool():
            return {"violation_rate": 1.0 if violations else 0.0}
    return {"violation_rate": 1.0 if amount(violations, "violation_count") > 0 else 0.0}


def _block_rate(attributes: Attributes, _: Attributes) -> Scores | None:
    blocked = attributes.get("blocked")
    return None if blocked is None else {"block_rate": truth(blocked, "blocked")}


def _pass_rate(attributes: Attributes, _: Attributes) -> Scores | None:
    passed = attributes.get("passed")
    return None if passed is None else {"pass_rate": truth(passed, "passed")}


_NONE: Final[Scores] = {}
_RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "retrieval": (_documents, _score_spread, _relevance),
    "rerank": (_keep_rate, _score_spread, _rank_displacement),
    "output": (_token_ratio, _citation_count),
    "input": (_query_length,),
    "language_detection": (_accuracy, _confidence),
    "intent": (_accuracy, _confidence),
    "safety_check": (_violation_rate, _block_rate),
    "answer_validation": (_pass_rate,),
}


class _FullNames(dict[str, str]):
    """Names of scores with their stage type, each made once."""

    def __init__(self, stage_type: str) -> None:
        self._stage_type = stage_type

    def __missing__(self, name: str) -> str:
        full = self[name] = f"{self._stage_type}.{name}"
        return full


_FULL_NAMES: Final[Mapping[str, Mapping[str, str]]] = {stage_type: _FullNames(stage_type) for stage_type in _RULES}
_NO_NAMES: Final[Mapping[str, str]] = {}


def _add_generic(stage_type: str, attributes: Attributes, scores: Scores, bad: list[str]) -> None:
    """Every other number becomes `{stage_type}.{key}`. A bool is not a number: `type` and not `isinstance`."""
    for key, value in attributes.items():
        kind = type(value)
        if (kind is float or kind is int) and (name := generic_name(stage_type, key)) is not None:
            try:
                # As in `numbers`: finite, and no call.
                scores[name] = value if kind is float and value - value == 0 else number(value, key)
            except BadValueError as exc:
                bad.append(f"{stage_type}: {exc}")
