"""Which attempt a stage is: what it says itself, what its links say, else what follows from a failure before it.

The last is a guess, so it is made only for siblings of one type and name that ran one after the other, and says so.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Final

from ..model import Value
from .links import RETRY_OF, link_type
from .nodes import Node

_LARGEST: Final = 2**31
_GIVEN: Final = ("query", "tool_arguments", "_question")

# The answering generation is called `output`; the tries before it are not.
_SAME: Final = {"output": "generation"}

BY_LINK: Final = "link:retry_of"
BY_ORDER: Final = "rule:after_error"

Attempt = tuple[int, str]
"""A number from 1, and the rule that found it; no rule where the stage says it itself."""


def attempts(
    nodes: Sequence[Node], parents: Mapping[str, str | None], failed: Collection[str]
) -> Mapping[str, Attempt]:
    """Attempts other than a first one, by stage id. `failed` are ids of stages that ended in an error or timeout."""
    found = {node.stage_id: (said, "") for node in nodes if (said := _said(node)) is not None}
    if any(node.span.links or any(part.span.links for part in node.wrapped) for node in nodes):
        _by_links(nodes, found)
    if failed:
        _by_order(nodes, parents, failed, found)
    return found


def _said(node: Node) -> int | None:
    """What the span says, or one that it stands for."""
    for part in (node, *node.wrapped) if node.wrapped else (node,):
        said = part.reading.identity.get("attempt")
        if isinstance(said, int) and 1 <= said < _LARGEST:
            return said
    return None


def _by_links(nodes: Sequence[Node], found: dict[str, Attempt]) -> None:
    """One more than the attempt that a stage is a retry of; of a stage elsewhere, the second."""
    silent = [node for node in nodes if node.stage_id not in found]
    owners = {part.span.span_id: node.stage_id for node in nodes for part in (node, *node.wrapped)}
    retried: dict[str, str | None] = {}
    for node in silent:
        for part in (node, *node.wrapped):
            for link in part.span.links:
                if link_type(link) == RETRY_OF:
                    here = link.trace_id.lower() == node.span.trace_id
                    retried[node.stage_id] = owners.get(link.span_id.lower()) if here else None
    for stage_id in retried:
        chain: dict[str, None] = {}
        step: str | None = stage_id
        while step is not None and step in retried and step not in found and step not in chain:
            chain[step] = None
            step = retried[step]
        # A circle of retries begins somewhere: nobody knows where.
        before = found[step][0] if step in found else 1
        for again in reversed(chain):
            before = min(before + 1, _LARGEST - 1)
            found[again] = (before, BY_LINK)


def _by_order(
    nodes: Sequence[Node], parents: Mapping[str, str | None], failed: Collection[str], found: dict[str, Attempt]
) -> None:
    """A stage right after a failed sibling of its type and name tries the same again."""
    wanted = {_likeness(node, parents) for node in nodes if node.stage_id in failed}
    siblings: dict[tuple[str | None, ...], list[Node]] = {}
    for node in nodes:
        if (key := _likeness(node, parents)) in wanted:
            siblings.setdefault(key, []).append(node)
    for members in siblings.values():
        members.sort(key=lambda node: (node.span.start_ns, node.span.span_id))
        reached, parallel = members[0].span.end_ns, False
        for before, node in pairwise(members):
            overlaps = node.span.start_ns < reached
            tried_again = not (overlaps or parallel) and before.stage_id in failed and not _differ(before, node)
            if tried_again and node.stage_id not in found:
                found[node.stage_id] = (min(found.get(before.stage_id, (1, ""))[0] + 1, _LARGEST - 1), BY_ORDER)
            # One of several at once is no first attempt of the next.
            parallel = overlaps
            reached = max(reached, node.span.end_ns)


def _likeness(node: Node, parents: Mapping[str, str | None]) -> tuple[str | None, ...]:
    name = node.reading.identity.get("name")
    stage_type = _SAME.get(node.stage_type or "", node.stage_type)
    return parents.get(node.stage_id), stage_type, name if isinstance(name, str) else node.span.name


def _differ(one: Node, other: Node) -> bool:
    """Whether two stages were given different things, as far as that is known."""
    if _unlike(one.reading.identity.get("input"), other.reading.identity.get("input")):
        return True
    return any(_unlike(one.fields.get(name), other.fields.get(name)) for name in _GIVEN)


def _unlike(one: Value, other: Value) -> bool:
    return one is not None and other is not None and bool(one != other)
