"""What a person should know about a trace, in their words: notes of all steps in, findings out.

A finding stands for all spans of a trace with the same cause: it counts them and names the first, so a trace of 20,000
spans has a handful of findings. What the codes mean is in `finding_codes`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..model import Finding
from ..text import clean_text
from . import span_findings
from .finding_codes import CODES, FindingMeaning
from .nodes import Node, Tree

Note = tuple[str, Node, dict[str, object]]

# Spans and other things that a finding names; causes of one code that are told apart.
_NAMED: Final = 5
_MOST_CAUSES: Final = 8
_MAX_DETAIL: Final = 1000


def of_trace(tree: Tree, notes: Iterable[Note]) -> list[Finding]:
    """All findings: about the shape of the trace, what the steps of assembly noted, then about its spans."""
    groups: dict[tuple[str, str, str], _Group] = {}
    causes: dict[tuple[str, str], int] = {}
    for code, node, facts in _all_notes(tree, notes):
        meaning = CODES[code]
        cause = str(facts.get(meaning.cause, "")) if meaning.cause else ""
        key = (code, node.run_id, cause)
        if key not in groups:
            number = causes.get(key[:2], 0)
            if number >= _MOST_CAUSES:  # the last one stands for all further causes too
                key = (code, node.run_id, "")
            causes[key[:2]] = number + 1
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(code, meaning, node)
        group.add(node, facts)
    return [group.finding(ordinal) for ordinal, group in enumerate(groups.values())]


def _all_notes(tree: Tree, notes: Iterable[Note]) -> Iterator[Note]:
    yield from _of_tree(tree)
    yield from notes
    yield from span_findings.of_spans(tree.nodes)


def _of_tree(tree: Tree) -> Iterator[Note]:
    """Findings about the shape of the trace: code, node, and what the sentence needs."""
    if not tree.has_root:
        yield "no_root", tree.entry, {}
    for node in tree.cut:
        yield "cycle", node, {}
    if not any(node.is_stage for node in tree.nodes):
        yield "no_stages", tree.entry, {}
    chance = span_findings.sampling(tree.entry.span.trace_state)
    if chance:
        facts: dict[str, object] = {"probability": f"{chance:.3g}", "stands_for": f"{1 / chance:,.0f}"}
        yield "sampled", tree.entry, facts


@dataclass(slots=True)
class _Group:
    """Notes of one code and cause. Numbers named `n` add up, other facts are listed."""

    code: str
    meaning: FindingMeaning
    first: Node
    spans: dict[str, None] = field(default_factory=dict)
    stages: dict[str, None] = field(default_factory=dict)
    n: int = 0
    facts: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, node: Node, facts: dict[str, object]) -> None:
        self.spans[node.span.span_id] = None
        owner = node.owner
        if owner is not None:
            self.stages[owner.stage_id] = None
        for name, value in facts.items():
            if name == "n" and isinstance(value, int):
                self.n += value
            else:
                self.facts.setdefault(name, {})[str(value)] = None

    def finding(self, ordinal: int) -> Finding:
        """The record; `ordinal` orders the findings of a trace."""
        owner = self.first.owner
        said = {name: _some(list(values)) for name, values in self.facts.items()}
        detail = self.meaning.sentence.format(
            spans=_counted("span", list(self.spans)), stages=_counted("stage", list(self.stages)), n=self.n, **said
        )
        return Finding(
            trace_id=self.first.span.trace_id,
            ordinal=ordinal,
            run_id=self.first.run_id,
            code=self.code,
            severity=self.meaning.severity,
            detail=clean_text(detail)[:_MAX_DETAIL],
            stage_id=owner.stage_id if owner else None,
            span_id=self.first.span.span_id,
        )


def _counted(noun: str, ids: Sequence[str]) -> str:
    return f"{noun}{'' if len(ids) == 1 else 's'} {_some(ids)}"


def _some(values: Sequence[str]) -> str:
    """The first few values, and how many more there are."""
    shown, more = list(values[:_NAMED]), len(values) - _NAMED
    if more > 0:
        return f"{', '.join(shown)} and {more:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
