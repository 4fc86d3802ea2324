"""The heart: spans of one trace in, stages, asset uses and findings out.

`assemble` is pure: the result depends on the set of spans and log events and on nothing else, not on their order, the
clock, or how they arrived. Each step is a module of this package; this one puts them in order and writes the records.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from ..conventions.reading import DEFAULT, Conventions
from ..model import Assembly, AssetUse, LogEvent, RunTrace, Span, StageEvent, Value
from . import assets, context, findings, links, log_events, nodes, roles, stages
from .nodes import Node, Tree
from .options import DEFAULT_OPTIONS, AssemblyOptions
from .parents import Note

# The largest number that a database holds in 64 bits.
_MAX_COUNT = (1 << 63) - 1
_SHOWN = 3


@dataclass(slots=True)
class _Work:
    """The state of one assembly."""

    tree: Tree
    stages: list[Node]
    notes: list[Note] = field(default_factory=list)


def assemble(
    spans: Sequence[Span],
    logs: Sequence[LogEvent] = (),
    conventions: Conventions = DEFAULT,
    options: AssemblyOptions = DEFAULT_OPTIONS,
) -> Assembly:
    """Everything that follows from the spans of a trace and from log events that name them.

    Spans must share one trace id and differ in span id. Log events are first put into their spans.

    Raises:
        ValueError: no spans.
    """
    if not spans:
        raise ValueError("a trace has at least one span")
    whole, missing = log_events.merged(spans, logs) if logs else (spans, [])
    work = _prepare(nodes.build(whole, conventions), options)
    if missing:
        work.notes.append(("log_event_without_span", work.tree.entry, {"n": len(missing), "missing": _some(missing)}))
    events = stages.stage_events(work.tree, work.stages, work.notes)
    runs = tuple(_runs(work, events))
    uses = tuple(_asset_uses(work))
    entry = work.tree.entry
    starts, ends = _times(spans)
    return Assembly(
        trace_id=entry.span.trace_id,
        run_id=entry.run_id,
        root_span_id=entry.span.span_id,
        first_ns=min(starts + ends, default=0),
        last_ns=max(starts + ends, default=0),
        stages=tuple(events),
        asset_uses=uses,
        findings=tuple(findings.of_trace(work.tree, work.notes)),
        runs=runs,
        mapping_version=conventions.version + options.mark,
        links=tuple(links.stage_links(work.tree.nodes)),
    )


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")


def _prepare(tree: Tree, options: AssemblyOptions) -> _Work:
    """Classify, collapse, find runs, give ids, find the answer."""
    nodes.collapse(tree.nodes)
    work = _Work(tree, [node for node in tree.nodes if node.is_stage])
    conflicts: list[str] = []
    context.resolve(tree, conflicts, options)
    context.settle(tree, work.stages)
    work.notes += [("run_conflict", tree.entry, {"detail": conflict}) for conflict in conflicts]
    _name_stages(work)
    roles.promote_answer(work.stages)
    return work


def _name_stages(work: _Work) -> None:
    """Stage id: what the span says, else the span id. Two of the same id in a trace cannot both keep it."""
    if not any("id" in node.reading.identity for node in work.stages):
        for node in work.stages:
            node.stage_id = node.span.span_id
        return
    # Derived stages have ids that follow from their span's: nobody else may claim one.
    taken = {f"{node.span.span_id}:{kind}" for node in work.tree.nodes for kind in roles.DERIVED_TYPES}
    for node in work.stages:
        said = node.reading.identity.get("id")
        node.stage_id = said if isinstance(said, str) else node.span.span_id
        if node.stage_id in taken:
            work.notes.append(("duplicate_stage_id", node, {}))
        while node.stage_id in taken:
            node.stage_id = f"{node.stage_id}~{node.span.span_id}"
        taken.add(node.stage_id)


# When an asset was used, where, what, and how it was loaded.
_Use = tuple[int, Node, assets.Content, assets.Loading]


def _asset_uses(work: _Work) -> Iterable[AssetUse]:
    by_stage: dict[str, list[_Use]] = {}
    for node in work.tree.nodes:
        recorded = assets.recorded(node)
        if recorded:
            owner = node.owner
            by_stage.setdefault(owner.stage_id if owner else "", []).extend(
                [(used_ns, node, content, loading) for content, used_ns, loading in recorded]
            )
    for stage in filter(assets.names_some, work.stages):
        known = (use[2] for use in by_stage.get(stage.stage_id, ()))
        for content in assets.by_convention(stage, known):
            by_stage.setdefault(stage.stage_id, []).append((stage.span.start_ns, stage, content, assets.NOT_SAID))
    for stage_id in sorted(by_stage):
        # Stable: uses of one instant keep the order of spans and of events within a span.
        uses = sorted(by_stage[stage_id], key=itemgetter(0))
        for ordinal, (used_ns, node, used, loading) in enumerate(uses):
            yield AssetUse(
                node.span.trace_id,
                stage_id,
                ordinal,
                node.run_id,
                used.kind,
                used.name,
                used.asset_id,
                used.version,
                used.digest,
                used.origin,
                used.fallback,
                used.subtype,
                used.role,
                used_ns if 0 < used_ns < context.LATEST_NS else None,
                loading[0],
                loading[1],
            )


def _runs(work: _Work, events: Sequence[StageEvent]) -> Iterable[RunTrace]:
    """What the trace adds to each run that its stages (or, without stages, its entry) belong to."""
    by_run: dict[str, list[StageEvent]] = {}
    for event in events:
        by_run.setdefault(event.run_id, []).append(event)
    entry = work.tree.entry
    of_run: dict[str, list[Node]] = {}
    for node in work.tree.nodes:
        of_run.setdefault(node.run_id, []).append(node)
    for run_id in sorted(by_run or {entry.run_id}):
        yield _run_trace(run_id, of_run.get(run_id) or [entry], by_run.get(run_id, ()))


def _run_trace(run_id: str, members: Sequence[Node], events: Sequence[StageEvent]) -> RunTrace:
    first = members[0]
    starts, ends = _times([node.span for node in members])
    said = first.context
    stage_types, errors, tokens_in, tokens_out, cost = set(), 0, 0, 0, 0.0
    for event in events:
        stage_types.add(event.stage_type)
        errors += event.status in stages.FAILED
        tokens_in += event.tokens_in or 0
        tokens_out += event.tokens_out or 0
        cost += event.cost_total or 0.0
    return RunTrace(
        trace_id=first.span.trace_id,
        run_id=run_id,
        service=_text(first.span.resource.service) or "",
        name=_text(first.span.name) or "unknown",
        started_ns=min(starts, default=0),
        finished_ns=max(starts + ends, default=0),
        stages=len(events),
        errors=errors,
        stage_types=tuple(sorted(stage_types)),
        tokens_in=min(tokens_in, _MAX_COUNT),
        tokens_out=min(tokens_out, _MAX_COUNT),
        cost_total=min(cost, sys.float_info.max),
        run_name=_text(said.get("run_name")),
        run_kind=_text(said.get("run_kind")),
        dataset=_text(said.get("dataset_name")),
        dataset_version=_text(said.get("dataset_version")),
    )


def _times(spans: Sequence[Span]) -> tuple[list[int], list[int]]:
    """Starts and ends that can be; compared here, since a call for each would cost as much as the rest."""
    starts = [span.start_ns for span in spans if 0 < span.start_ns < context.LATEST_NS]
    return starts, [span.end_ns for span in spans if 0 < span.end_ns < context.LATEST_NS]


def _text(value: Value) -> str | None:
    return stages.name_text(value) if isinstance(value, str) and value else None
