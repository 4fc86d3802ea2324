"""What happens in a RAG trace of the load, and how its spans tell it.

Attribute names are those of `docs/conventions.md` and of OpenInference's `semantic_conventions.md`.
"""

import json
import random
from dataclasses import dataclass
from typing import Any

from .prose import Prose


@dataclass(frozen=True, slots=True)
class Document:
    """A retrieved passage."""

    id: str
    score: float
    content: str


@dataclass(frozen=True, slots=True)
class Story:
    """What happened in one trace: all spans of it are told from this."""

    question: str
    variants: tuple[str, ...]
    documents: tuple[Document, ...]
    relevant: tuple[str, ...]
    system: str
    answer: str
    version: str
    slowness: float
    failing: str | None
    session: str
    test_case: str

    @property
    def context(self) -> str:
        """The passages that go into the prompt."""
        return "\n\n".join(f"[{doc.id}] {doc.content}" for doc in self.documents[:3])

    @property
    def prompt(self) -> str:
        """The whole user message."""
        return f"Answer from these passages only, cite their ids.\n\n{self.context}\n\nQuestion: {self.question}"


def make_story(rng: random.Random, prose: Prose) -> Story:
    """One of the things that happen: 3 % find nothing, 2 % fail, 3 % are eight times as slow."""
    chance = rng.random()
    documents = _ranked(rng, prose, 0 if rng.random() < 0.03 else 5)
    return Story(
        question=prose.question(),
        variants=tuple(prose.question() for _ in range(4)),
        documents=documents,
        relevant=tuple(doc.id for doc in documents[1:3]) or ("doc-00001",),
        system=prose.text(400),
        answer=prose.text(500),
        version="12" if chance < 0.5 else "13",
        slowness=rng.uniform(0.7, 1.4) * (8 if chance > 0.97 else 1),
        failing="generation" if chance < 0.01 else "rerank" if chance < 0.02 else None,
        session=f"session-{rng.randint(1, 5_000)}",
        test_case=f"tc-{rng.randint(1, 400):04d}",
    )


def _ranked(rng: random.Random, prose: Prose, count: int) -> tuple[Document, ...]:
    scores = sorted((round(rng.uniform(2, 18), 6) for _ in range(count)), reverse=True)
    return tuple(Document(f"doc-{rng.randint(1, 40_000):05d}", score, prose.text(410)) for score in scores)


def root_attributes(story: Story) -> dict[str, Any]:
    """Attributes of the root, without the run id."""
    return {
        "openinference.span.kind": "CHAIN",
        "http.request.method": "POST",
        "http.route": "/ask",
        "http.response.status_code": 500 if story.failing else 200,
        "url.path": "/ask",
        "server.address": "rag.example.org",
        "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0",
        "session.id": story.session,
        "input.value": story.question,
        "input.mime_type": "text/plain",
        "output.value": story.answer,
        "output.mime_type": "text/plain",
        "evalvault.run.kind": "offline",
        "evalvault.dataset.name": "insurance-qa",
        "evalvault.dataset.version": "1.2.0",
        "evalvault.test_case.id": story.test_case,
    }


def stage_attributes(story: Story) -> dict[str, dict[str, Any]]:
    """Attributes of each stage, in the order in which the stages run."""
    ids = [doc.id for doc in story.documents]
    return {
        "input": {
            "evalvault.stage.type": "input",
            "evalvault.input.query": story.question,
            "evalvault.input.language": "en",
            "input.value": json.dumps(
                {"question": story.question, "session": story.session, "history": story.variants}
            ),
            "input.mime_type": "application/json",
        },
        "query_rewrite": {
            "evalvault.stage.type": "query_rewrite",
            "input.value": story.question,
            "output.value": json.dumps(story.variants),
            "output.mime_type": "application/json",
        },
        "retrieval": {
            "evalvault.stage.type": "retrieval",
            "evalvault.retrieval.query": story.variants[0],
            "evalvault.retrieval.doc_ids": ids,
            "evalvault.retrieval.scores": [doc.score for doc in story.documents],
            "evalvault.retrieval.top_k": 5,
            "evalvault.retrieval.relevant_doc_ids": list(story.relevant),
            "evalvault.retrieval.searched.count": 40_000,
            **_documents("retrieval.documents", story.documents),
        },
        "rerank": {
            "evalvault.stage.type": "rerank",
            "evalvault.rerank.input.count": len(ids),
            "evalvault.rerank.output.count": len(ids[:3]),
            "evalvault.rerank.doc_ids": ids[:3],
            "evalvault.rerank.scores": [round(doc.score / 20, 6) for doc in story.documents[:3]],
            **_documents("reranker.output_documents", story.documents[:3]),
        },
        "prompt": {
            "evalvault.stage.type": "prompt",
            "llm.prompt_template.version": story.version,
            "output.value": story.prompt,
        },
        "generation": _generation(story),
        "output": {
            "evalvault.stage.type": "output",
            "evalvault.output.answer": story.answer,
            "evalvault.output.citations": ids[:2],
            "input.value": story.question,
            "evalvault.stage.output.uri": f"answers://{story.session}/{story.test_case}?type=json",
        },
    }


def _generation(story: Story) -> dict[str, Any]:
    tokens_in, tokens_out = len(story.prompt) // 4, len(story.answer) // 4
    return {
        "openinference.span.kind": "LLM",
        "llm.model_name": "large-instruct-70b",
        "llm.provider": "example",
        "llm.invocation_parameters": '{"temperature": 0.1, "top_p": 0.95, "max_tokens": 800, "seed": 7}',
        "llm.token_count.prompt": tokens_in,
        "llm.token_count.completion": tokens_out,
        "llm.token_count.total": tokens_in + tokens_out,
        "llm.cost.total": round(tokens_in * 4e-7 + tokens_out * 1.6e-6, 9),
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": story.system,
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.content": story.prompt,
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": story.answer,
        "llm.finish_reason": "stop",
    }


def _documents(prefix: str, documents: tuple[Document, ...]) -> dict[str, Any]:
    """Documents the way OpenInference spreads a list over keys."""
    flat: dict[str, Any] = {}
    for index, doc in enumerate(documents):
        flat[f"{prefix}.{index}.document.id"] = doc.id
        flat[f"{prefix}.{index}.document.score"] = doc.score
        flat[f"{prefix}.{index}.document.content"] = doc.content
    return flat
