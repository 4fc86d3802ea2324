"""What the three calls are: a chat, an embedding, a chat that the server refuses."""

from tests.interop.tables import Difference, Pipeline, Stage

_QUESTION = Stage("input", "output", "What is a trace?")
_INSTRUCTION = Stage("system_prompt", "output", "Answer in one sentence.")

_ANSWER = Stage(
    "output",
    text="A trace is a tree of spans.",
    model="gpt-4o-mini-2024-07-18",
    tokens_in=100,
    tokens_out=5,
    cached=64,
    reasoning=2,
)
_REFUSED = Stage("output", model="gpt-busy", status="error", error="openai.RateLimitError")
_EMBEDDING = Stage("embedding", text="What is a trace?", model="text-embedding-3-small", tokens_in=7)

_NO_TEXTS = "the convention has no attribute for the texts of an embedding, whatever content is captured"

PIPELINE = Pipeline(
    name="openai",
    environment="interop-openai",
    module="tests.interop.openai.pipeline",
    tables=(
        (_QUESTION, _INSTRUCTION, _ANSWER),
        (_EMBEDDING,),
        (_QUESTION, _INSTRUCTION, _REFUSED),
    ),
    instrumentations={
        "openinference": (),
        "traceloop": (),
        "genai": (Difference(1, 0, _NO_TEXTS, {"text": None}),),
    },
)
