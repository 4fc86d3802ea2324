"""Spans of a trace as a tree of nodes that the later steps fill in.

Out goes a list in top-down order: a parent always stands before its children, siblings by start time, then span id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from ..conventions.reading import DEFAULT, Conventions, Reading
from ..model import Span, Value

NO_SPAN = "0" * 16


@dataclass(slots=True)
class Node:
    """A span on its way to becoming a stage, or part of one.

    `stage_type` is None for a structural span. `wrapped_in` is the stage that this span merely repeats (a collapsed
    wrapper chain), `wrapped` are the spans that this stage stands for. `above` is the nearest stage-typed ancestor.
    `inherited` is what it and the spans above it say for everything below, `context` all that holds for it.
    """

    span: Span
    reading: Reading
    parent: "Node | None"
    missing_parent: bool
    stage_type: str | None
    type_source: str
    above: "Node | None" = None
    wrapped_in: "Node | None" = None
    wrapped: Sequence["Node"] = ()
    fields: dict[str, Value] = field(init=False)
    inherited: Mapping[str, Value] = field(init=False)
    context: Mapping[str, Value] = field(init=False)
    stage_id: str = ""
    run_id: str = ""

    @property
    def is_stage(self) -> bool:
        """Whether this node becomes a stage of its own."""
        return self.stage_type is not None and self.wrapped_in is None

    @property
    def owner(self) -> "Node | None":
        """The stage that what happened in this span belongs to."""
        if self.wrapped_in is not None:
            return self.wrapped_in
        if self.stage_type is not None:
            return self
        return None if self.above is None else self.above.owner


@dataclass(frozen=True, slots=True)
class Tree:
    """All nodes top-down, the entry (root, or what comes closest), and the spans whose parent link was cut."""

    nodes: list[Node]
    entry: Node
    has_root: bool
    cut: list[Node]


def build(spans: Iterable[Span], conventions: Conventions = DEFAULT) -> Tree:
    """The tree of a trace's spans, the same for every order of the spans given. Needs at least one span."""
    by_id = {span.span_id: span for span in sorted(spans, key=_BY_START)}
    # From here on spans are known by their place in this order: looking ids up again and again leaves the caches.
    ordered = list(by_id.values())
    places = {span_id: place for place, span_id in enumerate(by_id)}
    above = [places.get(span.parent_span_id, _NOWHERE) for span in ordered]
    top_down, cut = _top_down(above), set[int]()
    if len(top_down) < len(ordered):  # no way leads from a top into a circle
        cut = _cut_cycles(above)
        top_down = _top_down(above)
    nodes: list[Node | None] = [None] * len(ordered)
    for place in top_down:
        parent = nodes[above[place]] if above[place] != _NOWHERE else None
        nodes[place] = _node(ordered[place], parent, conventions, lost=above[place] == _NOWHERE and place not in cut)
    lost_links = [node for place in sorted(cut) if (node := nodes[place])]
    return _tree([node for place in top_down if (node := nodes[place])], lost_links)


_BY_START = attrgetter("start_ns", "span_id")
_NOWHERE = -1


def _top_down(above: Sequence[int]) -> list[int]:
    """Places that can be reached from a top: parents before children, siblings in their order."""
    below: dict[int, list[int]] = {}
    for place, parent in enumerate(above):
        below.setdefault(parent, []).append(place)
    stack = below.get(_NOWHERE, [])[::-1]
    found = []
    while stack:
        place = stack.pop()
        found.append(place)
        if place in below:
            stack += reversed(below[place])
    return found


def _cut_cycles(above: list[int]) -> set[int]:
    """Take the parent away from the earliest span of each circle; the places of these spans."""
    cut: set[int] = set()
    done: set[int] = set()
    for start in range(len(above)):
        path: dict[int, None] = {}
        place = start
        while place != _NOWHERE and place not in done and place not in path:
            path[place] = None
            place = above[place]
        if place in path:
            way = list(path)
            first = min(way[way.index(place) :])
            above[first] = _NOWHERE
            cut.add(first)
        done.update(path)
    return cut


def _node(span: Span, parent: Node | None, conventions: Conventions, *, lost: bool) -> Node:
    """The node of a span under that of its parent; `lost` says that a parent that the span names is not there."""
    is_root = not span.parent_span_id or span.parent_span_id == NO_SPAN
    reading = conventions.read(span, is_root=is_root)
    above = None if parent is None else parent if parent.stage_type is not None else parent.above
    node = Node(span, reading, parent, lost and not is_root, reading.stage_type, reading.type_source, above)
    node.fields = reading.fields
    return node


def _tree(nodes: list[Node], cut: list[Node]) -> Tree:
    _withdraw_guesses(nodes)
    tops = [node for node in nodes if node.parent is None]
    roots = [node for node in tops if node.span.parent_span_id in {"", NO_SPAN}]
    return Tree(nodes, (roots or tops)[0], bool(roots), cut)


def _withdraw_guesses(nodes: Sequence[Node]) -> None:
    """A span whose name only suggests a type is no stage where one below really is of that type.

    `CompactAndRefine.synthesize` is a wrapper of the model call in it; without that span it stands for the call.
    """
    guessed = [node for node in nodes if node.type_source.startswith("heuristic:")]
    if not guessed:
        return
    weak, wanted = set(map(id, guessed)), {node.stage_type for node in guessed}
    sure: set[tuple[int, str | None]] = set()
    for node in reversed(nodes):  # children before parents
        above, stage_type = node.above, node.stage_type
        if stage_type in wanted and id(node) not in weak:
            while above is not None and (id(above), stage_type) not in sure:
                sure.add((id(above), stage_type))
                above = above.above
    for node in guessed:
        if (id(node), node.stage_type) in sure:
            node.stage_type, node.type_source = None, ""
    for node in nodes:
        if node.parent is not None:
            node.above = node.parent if node.parent.stage_type is not None else node.parent.above


# Steps that contain others: an agent inside an agent is a second agent, not a wrapper of the first.
_CONTAINERS = frozenset({"workflow", "agent", "tool"})


def collapse(nodes: Sequence[Node]) -> None:
    """Mark wrapper chains: the only child stage of the same type is the same step seen twice.

    The outermost span gives identity and times, inner spans fill in fields that it lacks. Several children of the type
    (a fusion retriever) stay stages of their own; so do two spans that a user typed explicitly (ADR 0007).
    """
    same_type: dict[int, int] = {}
    for node in nodes:
        if node.above is not None and node.above.stage_type == node.stage_type:
            same_type[id(node.above)] = same_type.get(id(node.above), 0) + 1
    wrapped: dict[int, tuple[Node, list[Node]]] = {}
    for node in nodes if same_type else ():
        above = node.above
        if above is None or same_type.get(id(above)) != 1:
            continue
        outer = above.wrapped_in or above
        if not _repeats(node, outer):
            continue
        node.wrapped_in = outer
        wrapped.setdefault(id(outer), (outer, []))[1].append(node)
        for name, value in node.reading.fields.items():
            outer.fields.setdefault(name, value)
    for outer, inner in wrapped.values():
        outer.wrapped = inner


def _repeats(node: Node, outer: Node) -> bool:
    return (
        node.stage_type == outer.stage_type
        and node.stage_type not in _CONTAINERS
        and not (node.reading.explicit and outer.reading.explicit)
    )
