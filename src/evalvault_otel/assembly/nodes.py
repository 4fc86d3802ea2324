"""Spans of a trace as a tree of nodes that the later steps fill in.

Out goes a list in top-down order: a parent always stands before its children, siblings by start time, then span id.
"""

from collections.abc import Iterable, Sequence
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
    """

    span: Span
    reading: Reading
    parent: "Node | None"
    missing_parent: bool
    stage_type: str | None
    type_source: str
    above: "Node | None" = None
    wrapped_in: "Node | None" = None
    wrapped: list["Node"] = field(default_factory=list)
    fields: dict[str, Value] = field(default_factory=dict)
    context: dict[str, Value] = field(default_factory=dict)
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
    parents = {key: span.parent_span_id for key, span in by_id.items() if span.parent_span_id in by_id}
    top_down, cut_ids = _top_down(by_id, parents), list[str]()
    if len(top_down) < len(by_id):  # no way leads from a top into a circle
        cut_ids = _cut_cycles(by_id, parents)
        top_down = _top_down(by_id, parents)
    nodes: dict[str, Node] = {}
    for span in top_down:
        nodes[span.span_id] = _node(span, nodes.get(parents.get(span.span_id, "")), by_id, conventions)
    ordered = list(nodes.values())
    _withdraw_guesses(ordered)
    tops = [node for node in ordered if node.parent is None]
    roots = [node for node in tops if not _parent_id(node.span)]
    return Tree(ordered, (roots or tops)[0], bool(roots), [nodes[span_id] for span_id in cut_ids])


_BY_START = attrgetter("start_ns", "span_id")


def _parent_id(span: Span) -> str:
    return "" if span.parent_span_id == NO_SPAN else span.parent_span_id


def _top_down(by_id: dict[str, Span], parents: dict[str, str]) -> list[Span]:
    """Spans that can be reached from a top: parents before children, siblings as in `by_id`."""
    children: dict[str, list[str]] = {}
    for key, parent in parents.items():
        children.setdefault(parent, []).append(key)
    stack = [key for key in reversed(by_id) if key not in parents]
    found = []
    while stack:
        key = stack.pop()
        found.append(by_id[key])
        if key in children:
            stack += reversed(children[key])
    return found


def _cut_cycles(by_id: dict[str, Span], parents: dict[str, str]) -> list[str]:
    """Take a parent away from each cycle, that of its earliest span; ids of these spans."""
    order = {key: position for position, key in enumerate(by_id)}
    cut: list[str] = []
    done: set[str] = set()
    for start in by_id:
        path: dict[str, None] = {}
        key: str | None = start
        while key is not None and key not in done and key not in path:
            path[key] = None
            key = parents.get(key)
        if key is not None and key in path:
            cycle = list(path)[list(path).index(key) :]
            first = min(cycle, key=order.__getitem__)
            del parents[first]
            cut.append(first)
        done.update(path)
    return sorted(cut, key=order.__getitem__)


def _node(span: Span, parent: Node | None, by_id: dict[str, Span], conventions: Conventions) -> Node:
    parent_id = _parent_id(span)
    reading = conventions.read(span, is_root=not parent_id)
    node = Node(
        span,
        reading,
        parent,
        missing_parent=bool(parent_id) and parent_id not in by_id,
        stage_type=reading.stage_type,
        type_source=reading.type_source,
        fields=reading.fields,
    )
    if parent is not None:
        node.above = parent if parent.stage_type is not None else parent.above
    return node


def _withdraw_guesses(nodes: Sequence[Node]) -> None:
    """A span whose name only suggests a type is no stage where one below really is of that type.

    `CompactAndRefine.synthesize` is a wrapper of the model call in it; without that span it stands for the call.
    """
    guessed = [node for node in nodes if node.type_source.startswith("heuristic:")]
    if not guessed:
        return
    weak = set(map(id, guessed))
    sure: set[tuple[int, str]] = set()
    for node in reversed(nodes):  # children before parents
        above, stage_type = node.above, node.stage_type
        if stage_type is not None and id(node) not in weak:
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
    for node in nodes:
        above = node.above
        if above is None or same_type.get(id(above)) != 1:
            continue
        outer = above.wrapped_in or above
        if not _repeats(node, outer):
            continue
        node.wrapped_in = outer
        outer.wrapped.append(node)
        for name, value in node.reading.fields.items():
            outer.fields.setdefault(name, value)


def _repeats(node: Node, outer: Node) -> bool:
    return (
        node.stage_type == outer.stage_type
        and node.stage_type not in _CONTAINERS
        and not (node.reading.explicit and outer.reading.explicit)
    )
