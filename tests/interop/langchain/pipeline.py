"""LangChain RAG as one LCEL chain: a question that is answered, and one for which the model fails. Two traces.

The store holds three documents and gives two; the fake model says what it used, as real ones do.
"""

import os
from collections.abc import Iterator
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from tests.interop.recorder import record

_DOCUMENTS = [
    Document(id="doc-span", page_content="A span is one operation.", metadata={"source": "otel.md"}),
    Document(id="doc-trace", page_content="A trace is a tree of spans.", metadata={"source": "otel.md"}),
    Document(id="doc-cat", page_content="A cat sleeps all day.", metadata={"source": "cats.md"}),
]
_ANSWER = AIMessage(
    "A trace is a tree of spans.",
    usage_metadata={
        "input_tokens": 100,
        "output_tokens": 5,
        "total_tokens": 105,
        "input_token_details": {"cache_read": 64},
        "output_token_details": {"reasoning": 2},
    },
    response_metadata={"model_name": "fake-chat-1"},
)


class _Model(GenericFakeChatModel):
    """A fake that names its model where the integrations of providers do."""

    model_name: str = "fake-chat-1"

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}


def _openinference() -> None:
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument()


def _openinference_dual() -> None:
    os.environ["OPENINFERENCE_ENABLE_GENAI_SEMCONV"] = "true"
    _openinference()


def _traceloop() -> None:
    from opentelemetry.instrumentation.langchain import LangchainInstrumentor

    LangchainInstrumentor().instrument()


def _said() -> Iterator[AIMessage]:
    yield _ANSWER
    raise TimeoutError("the model took too long")


def _joined(documents: list[Document]) -> str:
    return "\n".join(document.page_content for document in documents)


def _chain() -> Runnable[str, str]:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents(_DOCUMENTS)
    retriever = store.as_retriever(search_kwargs={"k": 2})
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Answer from the context: {context}"), ("human", "{question}")]
    )
    inputs: Any = {"context": retriever | _joined, "question": RunnablePassthrough()}
    return inputs | prompt | _Model(messages=_said()) | StrOutputParser()


def _questions() -> None:
    chain = _chain()
    chain.invoke("What is a trace?")
    try:
        chain.invoke("What is a span?")
    except TimeoutError:
        return
    raise AssertionError("the second call of the model fails")


if __name__ == "__main__":
    record(
        {"openinference": _openinference, "openinference-genai": _openinference_dual, "traceloop": _traceloop},
        _questions,
    )
