"""`StageEventBuilder`: the stages of evaluated cases, chained as EvalVault's own runs have them.

Only what is known becomes a stage or a field: no citations that are the retrieved ids, no times that nobody measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from .tracer import new_stage_id


class StageEventBuilder:
    """Collects StageEvents of a run, for `StageTracer.record_batch`. `metadata` is said of every stage."""

    def __init__(self, run_id: str, **metadata: Any) -> None:
        self.run_id = run_id
        self._metadata = metadata
        self._events: list[dict[str, Any]] = []
        self._system_prompt: str | None = None

    def system_prompt(self, prompts: Mapping[str, Any] | Sequence[Any] | str) -> Self:
        """The prompts that all cases of the run share."""
        self._system_prompt = self._add("system_prompt", "prompt_manifest", None, {"prompts": prompts}, {})
        return self

    def case(  # noqa: PLR0913 - what may be known of a case
        self,
        test_case_id: str,
        query: str,
        *,
        doc_ids: Sequence[str] | None = None,
        scores: Sequence[float] | None = None,
        top_k: int | None = None,
        retrieval_ms: float | None = None,
        answer: str | None = None,
        citations: Sequence[str] | None = None,
        output_ms: float | None = None,
        tokens_used: int | None = None,
        **metadata: Any,
    ) -> Self:
        """A case: its question, what was retrieved if anything was, its answer if there is one."""
        about = {"test_case_id": test_case_id, **metadata}
        last = self._add("input", "user_query", self._system_prompt, {"query": query}, about)
        if doc_ids is not None:
            retrieved = {"query": query, "doc_ids": list(doc_ids), "scores": scores, "top_k": top_k}
            last = self._add("retrieval", "context_lookup", last, retrieved, about, retrieval_ms)
        if answer is not None:
            given = {"answer": answer, "citations": citations, "tokens_used": tokens_used}
            self._add("output", "final_answer", last, given, about, output_ms)
        return self

    def build(self) -> list[dict[str, Any]]:
        """The events so far, in their order."""
        return [dict(event) for event in self._events]

    def _add(  # noqa: PLR0913, PLR0917 - the fields of an event
        self,
        stage_type: str,
        name: str,
        parent: str | None,
        attributes: Mapping[str, Any],
        metadata: Mapping[str, Any],
        duration_ms: float | None = None,
    ) -> str:
        stage_id = new_stage_id()
        self._events.append(
            {
                "run_id": self.run_id,
                "stage_id": stage_id,
                "stage_type": stage_type,
                "stage_name": name,
                "parent_stage_id": parent,
                "duration_ms": duration_ms,
                "attributes": {key: value for key, value in attributes.items() if value is not None},
                "metadata": {**self._metadata, **metadata},
            }
        )
        return stage_id
