"""A Haystack pipeline: retrieve by BM25, build a prompt, ask a fake model. The second question fails there."""

from typing import Any

from haystack import Document, Pipeline, component
from haystack.components.builders import PromptBuilder
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.core.errors import PipelineRuntimeError
from haystack.document_stores.in_memory import InMemoryDocumentStore

from tests.interop.recorder import record

_DOCUMENTS = [
    Document(id="doc-span", content="A span is one operation."),
    Document(id="doc-trace", content="A trace is a tree of spans."),
    Document(id="doc-cat", content="A cat sleeps all day."),
]
_TEMPLATE = "Context: {% for document in documents %}{{ document.content }} {% endfor %}Question: {{ question }}"


@component
class FakeGenerator:
    """Answers, and says its model and what it used as generators of Haystack do; some questions it cannot answer."""

    @component.output_types(replies=list[str], meta=list[dict[str, Any]])
    def run(self, prompt: str) -> dict[str, Any]:
        if "cat" in prompt.rpartition("Question:")[2]:
            raise TimeoutError("the model took too long")
        usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
        return {"replies": ["A tree of spans."], "meta": [{"model": "fake-1", "usage": usage}]}


def _openinference() -> None:
    from openinference.instrumentation.haystack import HaystackInstrumentor

    HaystackInstrumentor().instrument()


def _pipeline() -> Pipeline:
    store = InMemoryDocumentStore()
    store.write_documents(_DOCUMENTS)
    rag = Pipeline()
    rag.add_component("retriever", InMemoryBM25Retriever(store, top_k=2))
    rag.add_component("prompt_builder", PromptBuilder(_TEMPLATE, required_variables=["documents", "question"]))
    rag.add_component("llm", FakeGenerator())
    rag.connect("retriever.documents", "prompt_builder.documents")
    rag.connect("prompt_builder.prompt", "llm.prompt")
    return rag


def _ask(rag: Pipeline, question: str) -> None:
    rag.run({"retriever": {"query": question}, "prompt_builder": {"question": question}})


def _questions() -> None:
    rag = _pipeline()
    _ask(rag, "What is a trace of spans?")
    try:
        _ask(rag, "Where does a cat sleep?")
    except PipelineRuntimeError:
        return
    raise AssertionError("the fake model cannot answer about cats")


if __name__ == "__main__":
    record({"openinference": _openinference}, _questions)
