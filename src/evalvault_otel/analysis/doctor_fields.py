"""What stages of a type should carry, and how to send it: stages in, missing fields out."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ..model import StageEvent
from .doctor_model import Counted, StagePart


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    there: Callable[[StageEvent], bool]
    remedy: str


def _attribute(name: str, remedy: str) -> _Wanted:
    return _Wanted(name, lambda stage: stage.attributes.get(name) not in (None, ""), remedy)


_CONTENT: Final = (
    "turn content capture on (OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, TRACELOOP_TRACE_CONTENT; unset "
    "OPENINFERENCE_HIDE_*)"
)
_TOKENS: Final = ("tokens_in", "tokens_out", "tokens_used")
_CALL: Final = (
    _attribute("model_name", "send gen_ai.request.model or llm.model_name"),
    _Wanted(
        "tokens",
        lambda stage: any(stage.attributes.get(name) is not None for name in _TOKENS),
        "send gen_ai.usage.input_tokens and .output_tokens; with streaming ask the provider for usage "
        "(stream_options.include_usage)",
    ),
    _attribute("answer", _CONTENT),
)
_WANTED: Final[dict[str, tuple[_Wanted, ...]]] = {
    "retrieval": (
        _attribute("query", "send evalvault.retrieval.query or input.value"),
        _attribute("doc_ids", "send evalvault.retrieval.doc_ids, or documents with ids"),
        _attribute("scores", "send evalvault.retrieval.scores, or use a retriever that returns scores"),
    ),
    "rerank": (
        _attribute("scores", "send evalvault.rerank.scores"),
        _attribute("input_count", "send evalvault.rerank.input.count"),
        _attribute("output_count", "send evalvault.rerank.output.count"),
    ),
    "generation": _CALL,
    "embedding": (_attribute("model_name", "send gen_ai.request.model or embedding.model_name"),),
    "tool": (_attribute("tool_name", "send gen_ai.tool.name or tool.name"),),
    "output": (_attribute("answer", f"send evalvault.output.answer, or {_CONTENT}"),),
    "input": (_attribute("query", "send evalvault.input.query or input.value on the root"),),
    "answer_validation": (_attribute("passed", "send evalvault.validation.passed"),),
    "safety_check": (_attribute("blocked", "send evalvault.safety.blocked"),),
}
_PROMOTED: Final = "rule:answering_generation"


def stage_parts(stages: Iterable[StageEvent]) -> list[StagePart]:
    """Per stage type how many stages there are, and what how many of them lack."""
    counts: Counter[str] = Counter()
    missing: Counter[tuple[str, _Wanted]] = Counter()
    for stage in stages:
        counts[stage.stage_type] += 1
        # The generation that answers is the output, and still a call of a model.
        kind = "generation" if stage.type_source.startswith(_PROMOTED) else stage.stage_type
        if stage.status == "success":
            missing.update((stage.stage_type, wanted) for wanted in _WANTED.get(kind, ()) if not wanted.there(stage))
    ordered = sorted(missing.items(), key=_place)
    return [
        StagePart(name, count, [Counted(lack.name, n, lack.remedy) for (of, lack), n in ordered if of == name])
        for name, count in sorted(counts.items())
    ]


def _place(item: tuple[tuple[str, _Wanted], int]) -> tuple[int, str]:
    (_, wanted), count = item
    return -count, wanted.name
