"""All pipelines, and each with each instrumentation that traces it."""

from pathlib import Path

from tests.interop.dspy.table import PIPELINE as DSPY
from tests.interop.haystack.table import PIPELINE as HAYSTACK
from tests.interop.langchain.table import PIPELINE as LANGCHAIN
from tests.interop.llama_index.table import PIPELINE as LLAMA_INDEX
from tests.interop.openai.table import PIPELINE as OPENAI
from tests.interop.tables import Pipeline

PIPELINES: tuple[Pipeline, ...] = (OPENAI, LANGCHAIN, LLAMA_INDEX, HAYSTACK, DSPY)
PAIRS = [(pipeline, name) for pipeline in PIPELINES for name in pipeline.instrumentations]
NAMES = [f"{pipeline.name}-{name}" for pipeline, name in PAIRS]

FOLDER = Path(__file__).parents[1] / "golden" / "interop"


def recording(pipeline: Pipeline, instrumentation: str) -> Path:
    """The file with the spans that the instrumentation made of the pipeline."""
    return FOLDER / f"{pipeline.name}-{instrumentation}.jsonl"
