"""What spans are linked to, as records of the stages they belong to (ADR 0018).

A link is a fact about the linking side: nothing is known here of the span it names, which may be in another trace and
may never arrive. Source: OpenTelemetry specification, "Links"; `evalvault.link.type` says what the link means.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..conventions.names import LINK_TYPE
from ..model import SpanLink, StageLink, Value
from ..text import clean_text
from .nodes import Node

EVALUATES: Final = "evaluates"
RETRY_OF: Final = "retry_of"
# A link that does not say what it means.
UNTYPED: Final = "link"

_EVALUATION: Final = "evaluation"
_MAX_TEXT: Final = 200
_MAX_ATTRIBUTES: Final = 32
# A response id stands where a span id would: there is no trace of this id.
NO_TRACE: Final = ""

_Target = tuple[str, str, str]


def link_type(link: SpanLink) -> str:
    """What the link means; an open vocabulary in small letters."""
    said = link.attributes.get(LINK_TYPE)
    return clean_text(said.strip().lower())[:_MAX_TEXT] if isinstance(said, str) and said.strip() else UNTYPED


def stage_links(nodes: Sequence[Node]) -> Iterator[StageLink]:
    """The links of a trace's spans, by stage id; each target once for a stage."""
    linking = [node for node in nodes if node.span.links]
    judging = [node for node in nodes if node.stage_type == _EVALUATION and node.is_stage]
    if not linking and not judging:
        return
    found: dict[str, dict[_Target, tuple[Node, Mapping[str, Value]]]] = {}
    for node in linking:
        for link in node.span.links:
            target = (link_type(link), *_ids(link))
            known = found.setdefault(node.owner.stage_id if node.owner else "", {})
            known.setdefault(target, (node.owner or node, _attributes(link)))
    for stage, target, said in (*_passed_down(nodes, linking, judging), *_of_responses(judging)):
        found.setdefault(stage.stage_id, {}).setdefault(target, (stage, said))
    for stage_id in sorted(found):
        for ordinal, (target, (node, said)) in enumerate(found[stage_id].items()):
            yield StageLink(node.span.trace_id, stage_id, ordinal, node.run_id, *target, said)


def _ids(link: SpanLink) -> tuple[str, str]:
    return clean_text(link.trace_id.lower())[:_MAX_TEXT], clean_text(link.span_id.lower())[:_MAX_TEXT]


def _attributes(link: SpanLink) -> Mapping[str, Value]:
    """Short attributes of a link; the rest stays in the archive."""
    if len(link.attributes) <= 1 and (not link.attributes or LINK_TYPE in link.attributes):
        return {}
    short = {
        clean_text(key): value
        for key, value in link.attributes.items()
        if key != LINK_TYPE and isinstance(value, (str, bool, int, float)) and len(str(value)) <= _MAX_TEXT
    }
    return dict(list(short.items())[:_MAX_ATTRIBUTES])


def _passed_down(
    nodes: Sequence[Node], linking: Sequence[Node], judging: Sequence[Node]
) -> Iterator[tuple[Node, _Target, Mapping[str, Value]]]:
    """The one `evaluates` link of a span holds for the evaluations below it: often the judges are its children."""
    said: dict[int, SpanLink] = {}
    for node in linking if judging else ():
        meant = [link for link in node.span.links if link_type(link) == EVALUATES]
        if len(meant) == 1:
            said[id(node)] = meant[0]
    if not said:
        return
    above: dict[int, SpanLink] = {}
    judges = set(map(id, judging))
    for node in nodes:  # parents before children
        passed = above.get(id(node.parent)) if node.parent is not None else None
        if id(node) in judges and passed is not None and not any(map(_evaluates, node.span.links)):
            yield node, (EVALUATES, *_ids(passed)), _attributes(passed)
        link = said.get(id(node), passed)
        if link is not None:
            above[id(node)] = link


def _evaluates(link: SpanLink) -> bool:
    return link_type(link) == EVALUATES


def _of_responses(judging: Sequence[Node]) -> Iterator[tuple[Node, _Target, Mapping[str, Value]]]:
    """An evaluation may name the response it judges by id, where it does not know the span."""
    for node in judging:
        response_id = node.fields.get("response_id")
        if isinstance(response_id, str) and response_id and not any(map(_evaluates, node.span.links)):
            yield node, (EVALUATES, NO_TRACE, clean_text(response_id)[:_MAX_TEXT]), {}
