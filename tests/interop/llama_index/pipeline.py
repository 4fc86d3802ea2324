"""LlamaIndex RAG: three nodes are indexed, and one question is asked three ways: sync, async, streaming. Four traces.

The fake model says its name and what it used, as real ones do.
"""

import asyncio
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import CompletionResponse, CompletionResponseGen, LLMMetadata, MockLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.schema import TextNode

from tests.interop.recorder import record

QUESTION = "What is a trace?"
_NODES = [
    TextNode(id_="node-span", text="A span is one operation."),
    TextNode(id_="node-trace", text="A trace is a tree of spans."),
    TextNode(id_="node-cat", text="A cat sleeps all day."),
]
_USED = {
    "prompt_tokens": 100,
    "completion_tokens": 5,
    "total_tokens": 105,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


_RAW = {"model": "mock-1", "usage": _USED}


class FakeModel(MockLLM):
    """A chat model; by a public name, since one instrumentation passes over classes with an underscore."""

    model: str = "mock-1"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name=self.model, is_chat_model=True)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text="A tree of spans.", raw=_RAW)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def said() -> CompletionResponseGen:
            yield CompletionResponse(text="A tree", delta="A tree")
            yield CompletionResponse(text="A tree of spans.", delta=" of spans.", raw=_RAW)

        return said()


def _openinference() -> None:
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

    LlamaIndexInstrumentor().instrument()


def _traceloop() -> None:
    from opentelemetry.instrumentation.llamaindex import LlamaIndexInstrumentor

    LlamaIndexInstrumentor().instrument()


def _questions() -> None:
    index = VectorStoreIndex(_NODES, embed_model=MockEmbedding(embed_dim=4, model_name="mock-embedding-1"))
    model = FakeModel()
    index.as_query_engine(llm=model, similarity_top_k=2).query(QUESTION)
    asyncio.run(index.as_query_engine(llm=model, similarity_top_k=2).aquery(QUESTION))
    streamed = index.as_query_engine(llm=model, similarity_top_k=2, streaming=True).query(QUESTION)
    streamed.get_response()


if __name__ == "__main__":
    record({"openinference": _openinference, "traceloop": _traceloop}, _questions)
