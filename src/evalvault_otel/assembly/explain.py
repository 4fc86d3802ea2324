"""Why a span belongs to its run, and on what its conventions disagree: the spans of a trace in, reasons out.

For people who ask about one trace; nothing of this is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..conventions.reading import DEFAULT, DIALECTS, Conventions
from ..conventions.rules import Part
from ..model import LogEvent, Span
from . import context, log_events, nodes
from .nodes import Node, Tree
from .options import DEFAULT_OPTIONS, AssemblyOptions

# Which field named the run, by the source of the run id.
_FIELD_OF = {
    **dict.fromkeys(("span", "trace", "resource"), "run_id"),
    "association": "associated_run_id",
    "session": "session_id",
}
_FALLBACKS = {
    "service_day": "no span names a run: service and UTC day of the trace",
    "trace_id": "no span names a run: the trace itself",
}
_KEYS = {
    name: tuple(
        rule.key for dialect in DIALECTS for rule in dialect.rules if rule.part is Part.CONTEXT and rule.name == name
    )
    for name in set(_FIELD_OF.values())
}


@dataclass(frozen=True, slots=True)
class Reasons:
    """The run of a span, where it comes from (`source` as in rows, `run_source` in words), and conflicts on it."""

    run_id: str
    source: str
    run_source: str
    conflicts: tuple[str, ...]


def reasons(
    spans: Sequence[Span],
    logs: Sequence[LogEvent] = (),
    conventions: Conventions = DEFAULT,
    options: AssemblyOptions = DEFAULT_OPTIONS,
) -> dict[str, Reasons]:
    """Reasons by span id; empty for no spans."""
    if not spans:
        return {}
    whole = log_events.merged(spans, logs)[0] if logs else spans
    tree = nodes.build(whole, conventions)
    context.resolve(tree, [], options)
    sayers = {name: _Sayers.of(tree, name) for name in _KEYS}
    return {
        node.span.span_id: Reasons(
            node.run_id, node.context["run_id_source"], _run_source(node, sayers), tuple(node.reading.conflicts)
        )
        for node in tree.nodes
    }


@dataclass(frozen=True, slots=True)
class _Sayers:
    """Who says a field: for each node it or the nearest one above it, and the first of the trace."""

    nearest: dict[int, Node]
    first: Node | None

    @classmethod
    def of(cls, tree: Tree, name: str) -> "_Sayers":
        nearest: dict[int, Node] = {}
        for node in tree.nodes:  # parents before children
            if name in node.reading.context:
                nearest[id(node)] = node
            elif node.parent is not None and id(node.parent) in nearest:
                nearest[id(node)] = nearest[id(node.parent)]
        return cls(nearest, next((node for node in tree.nodes if name in node.reading.context), None))


def _run_source(node: Node, sayers: dict[str, _Sayers]) -> str:
    source = node.context["run_id_source"]
    if source in _FALLBACKS:
        return _FALLBACKS[source]
    name = _FIELD_OF[source]
    found = sayers[name].nearest.get(id(node))
    if found is not None:
        place = "this span" if found is node else f"span {found.span.span_id} above"
        return f"{_key(found, name)} of {place}"
    said = sayers[name].first
    if said is not None and said.reading.context[name] == node.context[name]:
        return f"{_key(said, name)} of span {said.span.span_id}, on which the trace agrees"
    return "the resource"


def _key(node: Node, name: str) -> str:
    return next((key for key in _KEYS[name] if key in node.span.attributes), f"{name} by a rule")
