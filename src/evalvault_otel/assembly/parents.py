"""The parent of each stage: what the span says, else the nearest stage above it. The result has no cycles."""

from collections.abc import Mapping, Sequence

from .nodes import Node

Note = tuple[str, Node, dict[str, object]]


def stage_parents(nodes: Sequence[Node], notes: list[Note]) -> dict[str, str | None]:
    """Stage id -> stage id of the parent, None for a top; every link that was cut becomes a note.

    An explicit parent may be a stage of another trace. Links that go round are cut above the topmost stage.
    """
    parents = {node.stage_id: _parent(node, notes) for node in nodes}
    if not any("parent_id" in node.reading.identity for node in nodes):
        return parents  # a tree, as the spans are
    done: set[str] = set()
    order = {node.stage_id: place for place, node in enumerate(nodes)}
    for node in nodes:
        path: dict[str, None] = {}
        step: str | None = node.stage_id
        while step is not None and step in parents and step not in done and step not in path:
            path[step] = None
            step = parents[step]
        if step is not None and step in path:
            way = list(path)
            first = nodes[min(order[member] for member in way[way.index(step) :])]
            parents[first.stage_id] = None
            notes.append(("cycle", first, {}))
        done.update(path)
    return parents


def _parent(node: Node, notes: list[Note]) -> str | None:
    said = node.reading.identity.get("parent_id")
    if isinstance(said, str):
        if said != node.stage_id:
            return said
        notes.append(("cycle", node, {}))
    owner = node.above.owner if node.above is not None else None
    return None if owner is None else owner.stage_id


def within(
    stage_id: str, parents: Mapping[str, str | None], known: Mapping[str, object], found: dict[str, str | None]
) -> str | None:
    """The nearest ancestor of a stage that is in `known`; `found` keeps what was learned for the next call."""
    passed, step = [stage_id], parents.get(stage_id)
    while step is not None and step not in known:
        if step in found:
            step = found[step]
            break
        passed.append(step)
        step = parents.get(step)
    found.update(dict.fromkeys(passed, step))
    return step
