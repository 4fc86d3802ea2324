"""A deterministic stand-in for a language model: it follows the instructions of the rendered prompt.

It reads how many sentences are allowed and when to cite, picks the sentences that share the rarest terms with the
question (those of the first passages count more), and quotes them. So a change of the prompt really changes the answer.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corpus import Section
from prompt import Prompt
from words import sentences, terms

VERSION = "1"
NO_ANSWER = "The documentation does not answer this."
_MOST_SENTENCES = re.compile(r"at most (\d+) sentence")
_ASKS_WHERE = re.compile(r"\bwhere\b|\bwhich page\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """The text with markers such as `[1]`, and the ids of the sections they stand for."""

    text: str
    citations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Quote:
    text: str
    passage: int
    weight: float


def answer(prompt: Prompt, question: str, passages: Sequence[Section], weight: Callable[[str], float]) -> Answer:
    """Answer from `passages` as the prompt says; `weight` tells how telling a term is."""
    limit = int(match[1]) if (match := _MOST_SENTENCES.search(prompt.template)) else 1
    quotes = _best_quotes(question, passages, weight)[:limit]
    if not quotes:
        return Answer(NO_ANSWER, ())
    if not _wants_citations(prompt, question):
        return Answer(" ".join(quote.text for quote in quotes), ())
    text = " ".join(f"{quote.text} [{quote.passage + 1}]" for quote in quotes)
    return Answer(text, tuple(dict.fromkeys(passages[quote.passage].id for quote in quotes)))


def _wants_citations(prompt: Prompt, question: str) -> bool:
    if "Cite only when asked where" in prompt.template:
        return bool(_ASKS_WHERE.search(question))
    return "Cite" in prompt.template


def _best_quotes(question: str, passages: Sequence[Section], weight: Callable[[str], float]) -> list[_Quote]:
    wanted = sorted(set(terms(question)))

    def overlap(text: str) -> float:
        held = set(terms(text))
        return sum(weight(term) for term in wanted if term in held)

    quotes = [
        _Quote(text, number, (overlap(text) + overlap(section.heading) / 2) / (1 + number / 4))
        for number, section in enumerate(passages)
        for text in sentences(section.text)
    ]
    return sorted((quote for quote in quotes if quote.weight > 0), key=lambda quote: (-quote.weight, quote.passage))
