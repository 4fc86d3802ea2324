"""A small BM25 index over sections. It scores in memory and keeps nothing on disk.

Source of the formula: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009),
with the idf that is never negative.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from corpus import Section
from words import terms


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """How the index is asked. A change of any figure is a new version."""

    version: str = "1"
    k1: float = 1.4
    b: float = 0.6
    heading_weight: int = 3
    top_k: int = 5

    def describe(self) -> str:
        """The figures as one line of text, for a digest."""
        return f"k1={self.k1} b={self.b} heading_weight={self.heading_weight} top_k={self.top_k}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A section with its score; larger is better."""

    section: Section
    score: float


class Index:
    """Term counts of all sections; `spec` says how they are weighted."""

    def __init__(self, sections: Sequence[Section], spec: QuerySpec) -> None:
        self.sections = tuple(sections)
        self.spec = spec
        self._counts = [self._count(section) for section in self.sections]
        self._lengths = [counts.total() for counts in self._counts]
        self._mean_length = sum(self._lengths) / len(self._lengths)
        self._holders = Counter(term for counts in self._counts for term in counts)

    def search(self, query: str) -> list[Hit]:
        """The best `top_k` sections that share a term with `query`, best first; equal scores in corpus order."""
        wanted = set(terms(query))
        hits = [Hit(section, self._score(number, wanted)) for number, section in enumerate(self.sections)]
        ranked = sorted((hit for hit in hits if hit.score > 0), key=lambda hit: -hit.score)
        return ranked[: self.spec.top_k]

    def idf(self, term: str) -> float:
        """How rare `term` is: 0 when no section has it."""
        holders = self._holders[term]
        return math.log(1 + (len(self.sections) - holders + 0.5) / (holders + 0.5)) if holders else 0.0

    def _count(self, section: Section) -> Counter[str]:
        counts = Counter(terms(section.text))
        for term in terms(f"{section.heading} {section.page}"):
            counts[term] += self.spec.heading_weight
        return counts

    def _score(self, number: int, wanted: set[str]) -> float:
        counts, spec = self._counts[number], self.spec
        length = 1 - spec.b + spec.b * self._lengths[number] / self._mean_length
        # Sorted, because the sum of floats depends on their order and a set has none.
        return math.fsum(
            self.idf(term) * counts[term] * (spec.k1 + 1) / (counts[term] + spec.k1 * length)
            for term in sorted(wanted & counts.keys())
        )
