"""Stages that follow from others: the generation that is the answer, the input and the system prompt.

Source: design rules 5 and 6. An explicit stage of the type always wins; what is derived says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ..conventions.coerce import question, text
from ..conventions.openinference import visible
from ..model import Value
from .nodes import Node, Tree

# A generation under one of these serves that step; it does not answer the user.
_SERVING = frozenset(
    {"retrieval", "rerank", "query_rewrite", "evaluation", "answer_validation", "safety_check", "intent", "route_plan"}
)
# Enough to recognise a prompt by; its body is in the archive and its digest tells versions apart.
_PREVIEW = 80


def promote_answer(stages: Sequence[Node]) -> None:
    """Make the generation that produced the answer the `output`, if no stage is one explicitly."""
    if any(stage.stage_type == "output" for stage in stages):
        return
    serving: dict[int, bool] = {}
    candidates = [stage for stage in stages if stage.stage_type == "generation" and not _serves(stage, serving)]
    if candidates:
        last = max(candidates, key=lambda stage: (stage.span.end_ns, stage.span.start_ns, stage.span.span_id))
        last.type_source = f"rule:answering_generation, {last.type_source}"
        last.stage_type = "output"


def _serves(stage: Node, known: dict[int, bool]) -> bool:
    """Whether a stage above serves another step; `known` keeps what was learned of the stages on the way."""
    passed, above = [], stage.above
    while above is not None and id(above) not in known and above.stage_type not in _SERVING:
        passed.append(id(above))
        above = above.above
    found = above is not None and known.get(id(above), True)
    known.update(dict.fromkeys(passed, found))
    return found


DERIVED_TYPES = ("input", "system_prompt")


@dataclass(frozen=True, slots=True)
class Derived:
    """A stage without a span of its own: what it comes from and what it holds."""

    source: Node
    stage_type: str
    type_source: str
    fields: dict[str, Value]


def derived(tree: Tree, stages: Sequence[Node]) -> Iterator[Derived]:
    """The `input` and `system_prompt` that spans imply and no stage states."""
    types = {stage.stage_type for stage in stages}
    # A trace that only embeds, as an index is built, asks nothing.
    if "input" not in types and tree.has_root and tree.entry.stage_type != "embedding":
        query = question(visible(tree.entry.reading.identity.get("input"))) or text(tree.entry.fields.get("_question"))
        if query:
            yield Derived(tree.entry, "input", "rule:root_input", {"query": query})
    if "system_prompt" not in types:
        for stage in stages:
            prompt = text(stage.fields.get("_system_prompt"))
            if prompt and stage.stage_type in {"generation", "output"}:
                digest = "sha256:" + sha256(prompt.encode()).hexdigest()
                fields: dict[str, Value] = {"text": prompt[:_PREVIEW], "digest": digest}
                yield Derived(stage, "system_prompt", "rule:system_message", fields)
                return
