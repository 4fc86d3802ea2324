"""What LlamaIndex does: embed three nodes for the index; then three times retrieve two nodes, pack them, ask the model.

The fake embedding takes a batch text by text. The synthesizer packs the nodes twice, with a splitter, so that they fit.
"""

from tests.interop.tables import Difference, Pipeline, Stage

_QUESTION = "What is a trace?"
_EMBEDDING = "mock-embedding-1"
# Of a system prompt a stage keeps the beginning.
_SYSTEM = "You are an expert Q&A system that is trusted around the world.\nAlways answer the"

_INDEXED = (
    Stage("embedding", model=_EMBEDDING),
    Stage("embedding", "embedding", "A span is one operation.", model=_EMBEDDING),
    Stage("embedding", "embedding", "A trace is a tree of spans.", model=_EMBEDDING),
    Stage("embedding", "embedding", "A cat sleeps all day.", model=_EMBEDDING),
)
_ANSWERED = (
    Stage("input", "workflow", _QUESTION),
    Stage("system_prompt", "output", _SYSTEM),
    Stage("workflow"),
    Stage("retrieval", "workflow", _QUESTION, documents=("node-span", "node-trace"), scores=2),
    Stage("embedding", "retrieval", _QUESTION, model=_EMBEDDING),
    Stage("chunk", "workflow"),
    Stage("chunk", "workflow"),
    Stage(
        "output",
        "workflow",
        "A tree of spans.",
        model="mock-1",
        tokens_in=100,
        tokens_out=5,
        cached=64,
        reasoning=2,
    ),
)

_STREAMED = 3
_ONE_BY_ONE = "the model is said of the batch only"
_NO_REASONING = "reasoning tokens are not recorded"
_ROOT_OPEN = "the span of a query engine whose answer is streamed is never ended, so never sent"
_STREAM_LOST = "the end of the stream is not brought together with the span of the call: what was said and used is lost"

_UNENDED = (
    Difference(_STREAMED, 0, _ROOT_OPEN, finding="no_root"),
    Difference(_STREAMED, 2, _ROOT_OPEN, finding="missing_parent"),
    *(Difference(_STREAMED, stage, _ROOT_OPEN, {"parent": None}) for stage in (3, 5, 6)),
    Difference(
        _STREAMED,
        7,
        "a stream is read after its query has returned: the call of the model looks like the outermost of a second one",
        extra=Stage("workflow"),
    ),
    Difference(
        _STREAMED,
        7,
        _STREAM_LOST,
        dict.fromkeys(("text", "model", "tokens_in", "tokens_out", "cached", "reasoning")),
    ),
)

PIPELINE = Pipeline(
    name="llama_index",
    environment="interop-llama_index",
    module="tests.interop.llama_index.pipeline",
    tables=(_INDEXED, _ANSWERED, _ANSWERED, _ANSWERED),
    instrumentations={
        "openinference": (),
        "traceloop": (
            *(Difference(0, stage, _ONE_BY_ONE, {"model": None}) for stage in (1, 2, 3)),
            *(Difference(trace, 7, _NO_REASONING, {"reasoning": None}) for trace in (1, 2)),
            *_UNENDED,
        ),
    },
)
