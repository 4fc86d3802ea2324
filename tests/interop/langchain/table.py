"""What the chain does: retrieve two of three documents, fill the prompt, ask the model, take the text of its answer."""

from tests.interop.tables import Difference, Pipeline, Stage

_TRACE, _SPAN = "What is a trace?", "What is a span?"
_FOUND_FOR_TRACE = "Answer from the context: A cat sleeps all day.\nA span is one operation."
_FOUND_FOR_SPAN = "Answer from the context: A span is one operation.\nA trace is a tree of spans."
_MODEL = "fake-chat-1"

_ANSWERED = (
    Stage("input", "workflow", _TRACE),
    Stage("system_prompt", "output", _FOUND_FOR_TRACE),
    Stage("workflow"),
    Stage("retrieval", "workflow", _TRACE, documents=("doc-cat", "doc-span")),
    Stage("embedding", "retrieval", _TRACE),
    Stage("prompt", "workflow"),
    Stage(
        "output",
        "workflow",
        "A trace is a tree of spans.",
        model=_MODEL,
        tokens_in=100,
        tokens_out=5,
        cached=64,
        reasoning=2,
    ),
    Stage("postprocess", "workflow"),
)
# The parser is not reached.
_FAILED = (
    Stage("input", "workflow", _SPAN),
    Stage("system_prompt", "output", _FOUND_FOR_SPAN),
    Stage("workflow", status="timeout", error="TimeoutError"),
    Stage("retrieval", "workflow", _SPAN, documents=("doc-span", "doc-trace")),
    Stage("embedding", "retrieval", _SPAN),
    Stage("prompt", "workflow"),
    Stage("output", "workflow", model=_MODEL, status="timeout", error="TimeoutError"),
)

_NO_CALLBACK = "LangChain has no callback for embeddings, so no instrumentation of it sees them"
_NO_EMBEDDING = (Difference(0, 4, _NO_CALLBACK), Difference(1, 4, _NO_CALLBACK))
_NO_IDS = "content and metadata of documents are sent, not their ids: the file they come from has to stand for it"

PIPELINE = Pipeline(
    name="langchain",
    environment="interop-langchain",
    module="tests.interop.langchain.pipeline",
    tables=(_ANSWERED, _FAILED),
    instrumentations={
        "openinference": _NO_EMBEDDING,
        "openinference-genai": _NO_EMBEDDING,
        "traceloop": (
            *_NO_EMBEDDING,
            Difference(0, 3, _NO_IDS, {"documents": ("cats.md", "otel.md")}),
            # Told where it shows: two documents of one file.
            Difference(1, 3, _NO_IDS, {"documents": ("otel.md", "otel.md")}, finding="documents_without_ids"),
            Difference(0, 6, "reasoning tokens are not recorded", {"reasoning": None}),
        ),
    },
)
