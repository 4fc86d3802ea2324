"""Guesses: the stage type of a step by its name, or by what it has. The weakest rules; a stage says that it was one.

Names are looked at only for spans that a convention calls some step (a chain, a task) without saying which. They are
read as words: `HyDEQueryTransform` and `hyde_query_transform` are the same. Of the patterns the first that fits wins,
so what is more special comes first. A word that programs also use for other things counts with its object only: to
validate an answer is a step of a pipeline, to validate a token is not.
"""

import re
from functools import lru_cache
from typing import Final

_MAX_NAME = 200

_DOCUMENTS: Final = r"(?:documents?|docs|chunks?|passages?|nodes)"
_ANSWER: Final = r"(?:answers?|responses?|outputs?|generations?|claims?|citations?|facts?|completions?|groundedness)"
# What is generated or split without a model or a text in it.
_NO_TEXT: Final = r"(?:ids?|uuids?|tokens?|keys?|hash(?:es)?|urls?|pdfs?|passwords?|signatures?|thumbnails?|secrets?)"

# (name of the rule, stage type, pattern over the words of the name, in lower case with a blank between them)
_NAMES: Final = tuple(
    (rule, stage_type, re.compile("|".join(patterns)))
    for rule, stage_type, *patterns in (
        (
            "rerank",
            "rerank",
            r"\bre ?rank",
            r"\branker\b",
            r"\bcross ?encoder",
            r"\bpostprocess nodes?\b",
            r"\bcompress documents\b",
            r"\bfilter by relevance\b",
        ),
        (
            "fusion",
            "fusion",
            r"\bfusion\b",
            r"\brrf\b",
            r"\breciprocal rank",
            r"\bensemble\b",
            r"\bdocuments? joiner\b",
        ),
        (
            "query_rewrite",
            "query_rewrite",
            r"\brewrit",
            r"\bmulti ?query\b",
            r"\bhy ?de\b",
            r"\bcondense\b",
            r"\bstep ?back\b",
            r"\bdecompos",
            r"\b(?:expand|transform)\w* (?:\w+ )?(?:query|queries|question)\b",
            r"\b(?:query|question) (?:expan|transform|gener)",
            r"\bgenerat\w* (?:\w+ )?queries\b",
        ),
        (
            "evaluation",
            "evaluation",
            r"\bevaluat",
            r"\bragas\b",
            r"\bjudge",
            r"\bfaithfulness\b",
            r"\brelevanc",
            r"\bgrader\b",
        ),
        (
            "answer_validation",
            "answer_validation",
            rf"\b(?:validat|verif|check)\w* (?:\w+ ){{0,2}}{_ANSWER}\b",
            rf"\b{_ANSWER} (?:validat|verif|check)",
            r"^(?:validat|verif)\w*$",
            r"\bgrounded",
            r"\bfact ?check",
            r"\bhallucinat",
            r"\bgrade (?:generation|answer)",
        ),
        (
            "safety_check",
            "safety_check",
            r"\bguards?\b",
            r"\bguard ?rail",
            r"\bmoderat",
            r"\bpii\b",
            r"\bsafety\b",
            r"\btoxic",
            r"\bjailbreak",
            r"\bprompt injection\b",
        ),
        ("cache", "cache", r"(?<!clear )(?<!invalidate )\bcached?\b(?! (?:stats?|config|keys?|size|backed)\b)"),
        ("language_detection", "language_detection", r"\blanguage (?:detect|identif)", r"\bdetect\w* language\b"),
        (
            "prompt",
            "prompt",
            r"\bprompt ?(?:builder|template)$",
            r"\b(?:build|format|render|make|create) (?:\w+ )*prompt$",
        ),
        ("embedding", "embedding", r"\bembed"),
        (
            "retrieval",
            "retrieval",
            r"\bretriev",
            r"\bsimilarity search\b",
            r"\bvector ?store\b",
            r"\bbm ?25\b",
            rf"\b(?:search|fetch|find) (?:\w+ )?{_DOCUMENTS}\b",
            r"\b(?:vector|semantic|hybrid|keyword|dense|sparse|knowledge|document|web) ?(?:base )?search\b",
        ),
        ("prompt", "prompt", r"\bprompt", r"\btemplates?\b"),
        ("postprocess", "postprocess", r"\bparser\b", r"\boutput pars", r"\bpost ?process"),
        ("intent", "intent", r"\bintents?\b", r"\bclassif"),
        ("route_plan", "route_plan", r"\bplan(?:s|ner|ning)?\b", r"\brout(?:e|er|ing)\b", r"\bdecide\b"),
        (
            "generation",
            "generation",
            r"\bsynthesi[sz]",
            r"\bcompact and refine\b",
            r"\ba?chat\b(?! (?:history|messages?|memory|session|store|id)\b)",
            rf"\bgenerat\w*\b(?! (?:\w+ )*{_NO_TEXT}\b)",
            r"\ba?complet(?:e|ions?)$",
            r"\bllms?\b",
        ),
        (
            "chunk",
            "chunk",
            r"^chunk\b",
            r"\bchunk(?:er|ing)\b",
            r"\bsplitter\b",
            rf"\bsplit\w* (?:texts?|sentences?|pages?|{_DOCUMENTS})\b",
        ),
        (
            "ingest",
            "ingest",
            r"\bingest",
            r"\b(?:documents?|data|pdf|web|html|csv|directory|file) ?load(?:er|ing)?\b",
            r"\breader load data\b",
            rf"\b(?:load|index) (?:\w+ )?(?:{_DOCUMENTS}|corpus)\b",
        ),
    )
)

# What holds steps of several types is none of them, whatever its name says of its parts.
_CONTAINER: Final = re.compile(r"\b(?:engine|executor)\b|^runnable (?:sequence|parallel|lambda|assign|map)\b")

# What a span with words of a convention but without a type must have to be of a type; the first that fits wins.
PRESENCE: Final = (
    ("generation", ("model_name", "tokens_out")),
    ("retrieval", ("doc_ids",)),
    # Spans of vector databases.
    ("retrieval", ("_hits",)),
    ("retrieval", ("_vector_query",)),
    ("tool", ("tool_name",)),
)

# `LLMRerank` is `LLM Rerank`, `ChatPrompt` is `Chat Prompt`; everything that is neither letter nor digit parts words.
_PARTS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")


@lru_cache(maxsize=4096)
def _guess(name: str) -> tuple[str, str] | None:
    words = _PARTS.sub(" ", name).strip().lower()
    if _CONTAINER.search(words):
        return None
    return next(((stage_type, rule) for rule, stage_type, pattern in _NAMES if pattern.search(words)), None)


def guess(name: str) -> tuple[str, str] | None:
    """(stage type, rule) that a name suggests, or None. A step called one of the container words is none."""
    return _guess(name[:_MAX_NAME])
