"""What holds for a span besides its own attributes: run, data set, test case, session.

For each of them the first hit counts: the span itself, its nearest ancestor, any span of the trace if all that say it
agree, the resource. For the run there are more: a `run_id` in association metadata, the session where the user wants
that, and the fallback: `{service}@{UTC day}` of the trace's start, or the trace itself. Where the run came from stands
beside it as `run_id_source`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from ..conventions.coerce import text
from ..conventions.reading import DIALECTS
from ..conventions.rules import Part
from ..model import Resource, Value
from ..text import REPLACEMENT
from .nodes import Node, Tree
from .options import DEFAULT_OPTIONS, TRACE, AssemblyOptions

_RESOURCE_KEYS = {
    rule.key: rule.name
    for dialect in DIALECTS
    for rule in dialect.rules
    if rule.part is Part.CONTEXT and rule.key.startswith("evalvault.")
}
_MAX_RUN_ID = 128
_DAY_NS = 86_400 * 1_000_000_000
SPAN: Final = "span"
"""Source of a run id that the span itself, or one above it, names."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
LATEST_NS: Final = 1 << 63
"""In the year 2262: what a database holds in 64 bits with a sign."""


def resolve(tree: Tree, conflicts: list[str], options: AssemblyOptions = DEFAULT_OPTIONS) -> None:
    """Fill `context` and `run_id` of every node; append a sentence to `conflicts` if spans disagree about the run."""
    agreed = _agreed(tree.nodes, conflicts)
    bases: dict[str, dict[str, Value]] = {}
    merged: dict[tuple[int, str], tuple[dict[str, Value], str]] = {}
    fallback = fallback_run(tree, options)
    for node in tree.nodes:
        above = node.parent.inherited if node.parent is not None else _NOTHING
        own = node.inherited = {**above, **node.reading.context} if node.reading.context else above
        resource = node.span.resource
        # Most nodes share what they inherit, so each mixture is made once.
        key = (id(own), resource.id)
        known = merged.get(key)
        if known is None:
            if resource.id not in bases:
                bases[resource.id] = _said_by(resource)
            known = merged[key] = _mixture(own, agreed, bases[resource.id], fallback, options)
        node.context, node.run_id = known


def settle(tree: Tree, stages: Sequence[Node]) -> None:
    """Let what a span says count for a run in which the trace has a stage (any, where it has none at all).

    A span that names another run, without a stage of its own there, adds nothing to that run: its uses and findings
    would belong to a run that does not have this trace. They count for the run of its stage, or of the trace.
    """
    real = {node.run_id for node in stages} or {tree.entry.run_id}
    usual = tree.entry.run_id if tree.entry.run_id in real else min(real)
    for node in tree.nodes:
        if node.run_id not in real:
            node.run_id = node.owner.run_id if node.owner is not None else usual


_NOTHING: dict[str, Value] = {}


def _mixture(
    own: Mapping[str, Value],
    agreed: Mapping[str, Value],
    resource: Mapping[str, Value],
    fallback: tuple[str, str],
    options: AssemblyOptions,
) -> tuple[dict[str, Value], str]:
    """All that holds for a span, with its run id and where that came from."""
    mixture = {**resource, **agreed, **own}
    run_id, source = fallback
    said = _run_id(mixture.get("run_id"))
    if said:
        run_id, source = said, SPAN if "run_id" in own else "trace" if "run_id" in agreed else "resource"
    elif said := _run_id(mixture.get("associated_run_id")):
        run_id, source = said, "association"
    elif options.run_from_session and (said := _run_id(mixture.get("session_id"))):
        run_id, source = said, "session"
    mixture["run_id_source"] = source
    return mixture, run_id


def _run_id(said: Value) -> str | None:
    return _CONTROL.sub(REPLACEMENT, said)[:_MAX_RUN_ID] if isinstance(said, str) and said else None


def _agreed(nodes: Sequence[Node], conflicts: list[str]) -> dict[str, Value]:
    """What spans of the trace say without contradiction."""
    said: dict[str, Value] = {}
    differing: set[str] = set()
    runs: set[str] = set()
    for node in nodes:
        for name, value in node.reading.context.items():
            if said.setdefault(name, value) != value:
                differing.add(name)
            if name == "run_id":
                runs.add(str(value))
    if len(runs) > 1:
        conflicts.append(f"spans of this trace name {len(runs)} runs: {', '.join(sorted(runs))}")
    return {name: value for name, value in said.items() if name not in differing}


def _said_by(resource: Resource) -> dict[str, Value]:
    said: dict[str, Value] = {}
    for key, name in _RESOURCE_KEYS.items():
        value = text(resource.attributes.get(key))
        if value is not None:
            said.setdefault(name, value)
    return said


def fallback_run(tree: Tree, options: AssemblyOptions = DEFAULT_OPTIONS) -> tuple[str, str]:
    """The run of a trace that names none, and its source: "today's traffic" of a service, or the trace itself."""
    if options.run_fallback == TRACE:
        return tree.entry.span.trace_id, "trace_id"
    starts = [node.span.start_ns for node in tree.nodes if 0 < node.span.start_ns < LATEST_NS]
    return _service_day(tree.entry.span.resource.service, min(starts, default=0) // _DAY_NS), "service_day"


@lru_cache(maxsize=1000)
def _service_day(service: str, day: int) -> str:
    """The run of a service on one day, counted from 1970."""
    date = datetime.fromtimestamp(day * 86_400, tz=UTC).date().isoformat()
    return f"{_CONTROL.sub(REPLACEMENT, service)[:_MAX_RUN_ID]}@{date}"


def has_time(time_ns: int) -> bool:
    """Whether a time can be one: set, and before the year 2262."""
    return 0 < time_ns < LATEST_NS
