"""What the pipeline does: retrieve two of three documents by BM25, build a prompt, ask the model."""

from tests.interop.tables import Pipeline, Stage

_TRACE, _CAT = "What is a trace of spans?", "Where does a cat sleep?"

_ANSWERED = (
    Stage("input", "workflow", _TRACE),
    Stage("workflow"),
    Stage("retrieval", "workflow", _TRACE, documents=("doc-trace", "doc-span"), scores=2),
    Stage("prompt", "workflow"),
    Stage("output", "workflow", "A tree of spans.", model="fake-1", tokens_in=100, tokens_out=5),
)
# The generator says its model with its answer only. The pipeline raises an error of its own.
_FAILED = (
    Stage("input", "workflow", _CAT),
    Stage("workflow", status="error", error="haystack.core.errors.PipelineRuntimeError"),
    Stage("retrieval", "workflow", _CAT, documents=("doc-cat", "doc-trace"), scores=2),
    Stage("prompt", "workflow"),
    Stage("output", "workflow", status="timeout", error="TimeoutError"),
)

PIPELINE = Pipeline(
    name="haystack",
    environment="interop-haystack",
    module="tests.interop.haystack.pipeline",
    tables=(_ANSWERED, _FAILED),
    instrumentations={"openinference": ()},
)
