"""Which try a stage was: as a convention says, by links to the try before, or by what failed just before it.

Of stages under one parent with the same type and name, one that began after another had ended in an error is the next
attempt. Stages that overlap are side by side, not tries of one thing. A link to an earlier try says
`evalvault.link.type = retry_of`.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ..model import STATUS_ERROR, Value
from .nodes import Node
from .outcome import outcome

_LINK_TYPE = "evalvault.link.type"
_RETRY_OF = "retry_of"
_FAILED = frozenset({"error", "timeout"})
# The answering generation is called `output`; the tries before it are not.
_SAME = {"output": "generation"}
_MAX = 2**31 - 1


def attempts(stages: Sequence[Node]) -> Mapping[str, int]:
    """Attempt by stage id, of those stages that are not the first or that say it."""
    found = {node.stage_id: said for node in stages if (said := _said(node.reading.identity.get("attempt")))}
    linked = [node for node in stages if node.span.links and node.stage_id not in found]
    if linked:
        _by_links(stages, linked, found)
    if any(node.span.status_code == STATUS_ERROR or "status" in node.reading.identity for node in stages):
        _by_failures(stages, found)
    return found


def _said(value: Value) -> int | None:
    return value if isinstance(value, int) and 1 <= value <= _MAX else None


def _by_links(stages: Sequence[Node], linked: Sequence[Node], found: dict[str, int]) -> None:
    by_span = {node.span.span_id: node for node in stages}
    before = {
        node.stage_id: by_span[link.span_id]
        for node in linked
        for link in node.span.links
        if link.attributes.get(_LINK_TYPE) == _RETRY_OF
        and link.trace_id == node.span.trace_id
        and link.span_id in by_span
    }
    for node in linked:
        # Back to the first try, or to one whose number is known; links that go round end where they began.
        way, step = [], node.stage_id
        while step in before and step not in found and step not in way:
            way.append(step)
            step = before[step].stage_id
        if step in way:
            continue
        number = found.get(step, 1)
        for stage_id in reversed(way):
            number += 1
            found[stage_id] = number


def _by_failures(stages: Sequence[Node], found: dict[str, int]) -> None:
    alike: dict[tuple[int, str | None, str], list[Node]] = {}
    for node in stages:
        name = str(node.reading.identity.get("name") or node.span.name)
        stage_type = _SAME.get(node.stage_type or "", node.stage_type)
        alike.setdefault((id(node.above), stage_type, name), []).append(node)
    for nodes in alike.values():
        if len(nodes) > 1:
            _in_a_row(sorted(nodes, key=lambda node: (node.span.start_ns, node.span.span_id)), found)


def _in_a_row(nodes: Sequence[Node], found: dict[str, int]) -> None:
    for before, node in pairwise(nodes):
        if node.stage_id in found or before.span.end_ns > node.span.start_ns:
            continue
        if outcome(before).status in _FAILED:
            found[node.stage_id] = found.get(before.stage_id, 1) + 1
