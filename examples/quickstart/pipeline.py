"""The RAG pipeline: a question in, an answer with citations out, one trace per question.

input → query_rewrite → retrieval → rerank → prompt → output. No network and no language model; the same seed gives the
same answers. The faults that a debug report should find are real and are listed in README.md.
"""

import hashlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import extractive
import rewriting
from bm25 import Hit, Index, QuerySpec
from corpus import Corpus, Section
from dataset import Dataset, Question
from opentelemetry.trace import Tracer
from prompt import Prompt, load_prompt
from telemetry import Asset, stage
from words import terms

KEEP = 3
SLOW_ONE_IN = 7
SLOW_SECONDS = (0.25, 0.40)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one question."""

    question: Question
    answer: str
    citations: tuple[str, ...]
    retrieved: tuple[str, ...]
    prompt_version: str


class Pipeline:
    """Answers the questions of a data set over a corpus. `tracer` gets one trace per question."""

    def __init__(self, corpus: Corpus, dataset: Dataset, tracer: Tracer, seed: int = 7) -> None:
        self._dataset = dataset
        self._tracer = tracer
        self._index = Index(corpus.sections, QuerySpec())
        self._prompts = [load_prompt("qa_answer", version) for version in ("1", "2")]
        self._pauses = _slow_reranks(dataset, seed)
        self._assets = _assets(corpus, self._index.spec)

    def run(self) -> Iterator[Result]:
        """Answer all questions in order. The second half gets the second version of the prompt."""
        half = (len(self._dataset.questions) + 1) // 2
        for number, question in enumerate(self._dataset.questions):
            yield self._answer(question, self._prompts[number >= half])

    def _answer(self, question: Question, prompt: Prompt) -> Result:
        attributes = {"evalvault.test_case.id": question.id}
        with self._tracer.start_as_current_span("answer_question", attributes=attributes):
            text = self._input(question)
            hits = self._retrieve(self._rewrite(text), question)
            passages = self._rerank(text, hits, self._pauses.get(question.id, 0.0))
            rendered = self._render(prompt, text, passages)
            answer = self._output(prompt, rendered, text, passages)
        retrieved = tuple(hit.section.id for hit in hits)
        return Result(question, answer.text, answer.citations, retrieved, prompt.version)

    def _input(self, question: Question) -> str:
        with stage(self._tracer, "input", "question") as span:
            text = " ".join(question.text.split())
            span.set_attribute("evalvault.input.query", text)
            return text

    def _rewrite(self, text: str) -> str:
        """The query for the search; the question itself when rewriting fails."""
        try:
            with stage(self._tracer, "query_rewrite", "synonyms", [self._assets["mapping"]]) as span:
                span.set_attribute("evalvault.stage.input.value", text)
                query = rewriting.rewrite(text)
                span.set_attribute("evalvault.stage.output.value", query)
                return query
        except ValueError:
            return text

    def _retrieve(self, query: str, question: Question) -> list[Hit]:
        used = [self._assets["index"], self._assets["query"]]
        with stage(self._tracer, "retrieval", "bm25", used) as span:
            hits = self._index.search(query)
            span.set_attributes(
                {
                    "evalvault.retrieval.query": query,
                    "evalvault.retrieval.doc_ids": [hit.section.id for hit in hits],
                    "evalvault.retrieval.scores": [round(hit.score, 4) for hit in hits],
                    "evalvault.retrieval.top_k": self._index.spec.top_k,
                    "evalvault.retrieval.index.size": len(self._index.sections),
                }
            )
            if question.relevant:
                span.set_attribute("evalvault.retrieval.relevant_doc_ids", question.relevant)
            return hits

    def _rerank(self, text: str, hits: Sequence[Hit], pause: float) -> list[Section]:
        with stage(self._tracer, "rerank", "term_coverage") as span:
            time.sleep(pause)
            best = max((hit.score for hit in hits), default=1.0)
            scored = [(self._coverage(text, hit.section) * hit.score / best, hit.section) for hit in hits]
            kept = sorted(scored, key=lambda pair: -pair[0])[:KEEP]
            span.set_attributes(
                {
                    "evalvault.rerank.input.count": len(hits),
                    "evalvault.rerank.output.count": len(kept),
                    "evalvault.rerank.doc_ids": [section.id for _, section in kept],
                    "evalvault.rerank.scores": [round(score, 4) for score, _ in kept],
                }
            )
            return [section for _, section in kept]

    def _coverage(self, text: str, section: Section) -> float:
        """The share of the question, by rarity of its terms, that a section covers; headings count as text."""
        rarity = {term: self._index.idf(term) for term in sorted(set(terms(text)))}
        held = set(terms(f"{section.page} {section.heading} {section.text}"))
        total = sum(rarity.values())
        return sum(value for term, value in rarity.items() if term in held) / total if total else 0.0

    def _render(self, prompt: Prompt, text: str, passages: Sequence[Section]) -> str:
        with stage(self._tracer, "prompt", prompt.name, [_prompt_asset(prompt)]) as span:
            rendered = prompt.render(text, passages)
            span.set_attribute("evalvault.stage.output.value", rendered)
            return rendered

    def _output(self, prompt: Prompt, rendered: str, text: str, passages: Sequence[Section]) -> extractive.Answer:
        used = [_prompt_asset(prompt), self._assets["model"]]
        with stage(self._tracer, "output", "extractive", used) as span:
            answer = extractive.answer(prompt, text, passages, self._index.idf)
            tokens_in, tokens_out = len(rendered.split()), len(answer.text.split())
            span.set_attributes(
                {
                    "evalvault.output.answer": answer.text,
                    "evalvault.output.citations": answer.citations,
                    "evalvault.usage.input_tokens": tokens_in,
                    "evalvault.usage.output_tokens": tokens_out,
                    "evalvault.usage.total_tokens": tokens_in + tokens_out,
                }
            )
            return answer


def _slow_reranks(dataset: Dataset, seed: int) -> dict[str, float]:
    """Seconds of pause by question id: one question in seven meets a cold cross-encoder (a sleep stands for it)."""
    chance = random.Random(seed)  # noqa: S311 - the same for the same seed is what is wanted here
    ids = [question.id for question in dataset.questions]
    return {id_: chance.uniform(*SLOW_SECONDS) for id_ in chance.sample(ids, len(ids) // SLOW_ONE_IN)}


def _assets(corpus: Corpus, spec: QuerySpec) -> dict[str, Asset]:
    index = Asset("index", "docs_bm25", corpus.digest[:12], f"sha256:{corpus.digest}", "builtin")
    query = Asset("query", "bm25_sections", spec.version, f"sha256:{_sha256(spec.describe())}", "builtin")
    mapping = Asset("mapping", "synonyms", rewriting.VERSION, rewriting.digest(), "builtin")
    model = Asset("model", "extractive", extractive.VERSION, f"sha256:{_sha256(extractive.VERSION)}", "builtin")
    return {asset.kind: asset for asset in (index, query, mapping, model)}


def _prompt_asset(prompt: Prompt) -> Asset:
    return Asset("prompt", prompt.name, prompt.version, prompt.digest)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
