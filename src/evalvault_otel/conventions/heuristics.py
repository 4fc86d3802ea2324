"""Guesses: the stage type of a step by its name, or by what it has. The weakest rules; a stage says that it was one.

Names are looked at only for spans that a convention calls some step (a chain, a task) without saying which. Of the
patterns the first that fits wins, so what is more special comes first.
"""

import re
from functools import lru_cache
from typing import Final

_MAX_NAME = 200

# (name of the rule, stage type, pattern over the lower-case name)
_NAMES: Final = tuple(
    (rule, stage_type, re.compile(pattern))
    for rule, stage_type, pattern in (
        ("rerank", "rerank", r"re-?rank|\branker|ranker\b|cross.?encoder|postprocess_?nodes|compress_?documents"),
        ("fusion", "fusion", r"fusion|\brrf\b|ensemble"),
        (
            "query_rewrite",
            "query_rewrite",
            r"rewrit|multi.?query|\bhyde\b|condense|expand\w*.?query|query.?expan|step.?back|decompos",
        ),
        ("evaluation", "evaluation", r"evaluat|\bragas|judge|faithfulness|relevanc"),
        ("answer_validation", "answer_validation", r"validat\w*.?answer|answer.?validat|verif|grounded|fact.?check"),
        ("safety_check", "safety_check", r"guard|moderation|\bpii\b|safety|toxic"),
        ("embedding", "embedding", r"embed"),
        ("retrieval", "retrieval", r"retriev|similarity_?search|vector_?store|\bbm25|bm25\b|search_?documents"),
        ("prompt", "prompt", r"prompt|template"),
        ("postprocess", "postprocess", r"parser|output_?pars"),
        ("intent", "intent", r"intent|classif"),
        ("route_plan", "route_plan", r"\bplan|planner|route\b|router|routing"),
        ("generation", "generation", r"synthesi[sz]|compact_?and_?refine|generat|\bchat|complet|llm"),
        ("cache", "cache", r"cache"),
        ("chunk", "chunk", r"split|chunk"),
        ("ingest", "ingest", r"ingest|document_?load|data_?load"),
    )
)

# What a span with words of a convention but without a type must have to be of a type; the first that fits wins.
PRESENCE: Final = (
    ("generation", ("model_name", "tokens_out")),
    ("retrieval", ("doc_ids",)),
    ("tool", ("tool_name",)),
)


@lru_cache(maxsize=4096)
def _guess(name: str) -> tuple[str, str] | None:
    return next(((stage_type, rule) for rule, stage_type, pattern in _NAMES if pattern.search(name)), None)


def guess(name: str) -> tuple[str, str] | None:
    """(stage type, rule) that a name suggests, or None."""
    return _guess(name[:_MAX_NAME].lower())
