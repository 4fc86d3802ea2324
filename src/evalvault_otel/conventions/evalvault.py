"""The `evalvault.*` attribute registry: our own names, the first to be believed.

The names and what they fill come from registry.yaml, through the generated `names` (ADR 0017). Stage types are an open
vocabulary: the words of the registry, `custom.<name>`, or any other lower-case word.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache

from ..model import SpanEvent, Value
from .coercions import COERCIONS
from .names import (
    ASSET_EVENT_ALIAS,
    ASSET_USED_EVENT,
    ASSETS,
    FILLS,
    RELEVANCE_EVENT,
    RETRIEVAL_RELEVANT_DOC_IDS,
    RUN_ID,
    STAGE_TYPE,
    STAGE_TYPE_VALUES,
)
from .rules import Dialect, Part, Rule, Typing

__all__ = ["ASSETS", "ASSET_EVENTS", "DIALECT", "RUN_ID", "STAGE_TYPE", "nearest_type", "stage_type"]

ASSET_EVENTS = frozenset({ASSET_USED_EVENT, ASSET_EVENT_ALIAS})

_USUAL = frozenset(STAGE_TYPE_VALUES)
_ALIKE = 0.8
_LONGEST = 200
_GAPS = re.compile(r"[\s\-]+")
_WORD = re.compile(r"[a-z][a-z0-9_.\-]{0,63}\Z")


def stage_type(value: str) -> str | None:
    """A stage type as users write it: trimmed and lower-cased; None when it is no word.

    Of the registry's words it does not matter how they are parted: `Query Rewrite` and `query-rewrite` are one of them.
    """
    return _stage_type(value) if len(value) <= _LONGEST else None


@lru_cache(maxsize=1000)  # the same few words on most spans
def _stage_type(value: str) -> str | None:
    word = value.strip().lower()
    usual = _GAPS.sub("_", word)
    return usual if usual in _USUAL else word if _WORD.match(word) else None


@lru_cache(maxsize=1000)
def nearest_type(word: str) -> str | None:
    """The word of the registry that someone most likely meant; None for those words, `custom.<name>` and all others."""
    if word in _USUAL or word.startswith("custom."):
        return None
    return next(iter(get_close_matches(word, STAGE_TYPE_VALUES, 1, _ALIKE)), None)


def _judged(events: Sequence[SpanEvent]) -> Mapping[str, Value]:
    """Which documents are relevant, said after the fact: the last judgement counts."""
    said = [event.attributes.get(RETRIEVAL_RELEVANT_DOC_IDS) for event in events if event.name == RELEVANCE_EVENT]
    last = next((ids for ids in reversed(said) if ids is not None), None)
    return {} if last is None else {RETRIEVAL_RELEVANT_DOC_IDS: last}


DIALECT: Dialect = Dialect(
    name="evalvault",
    of_events=_judged,
    event_names=frozenset({RELEVANCE_EVENT}),
    typings=(Typing(STAGE_TYPE, parse=stage_type),),
    rules=tuple(Rule(key, name, COERCIONS[read], Part(part)) for key, part, name, read in FILLS),
)
