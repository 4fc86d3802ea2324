"""Stage nodes as `StageEvent` records: times, status, usage, payload references, attributes and metrics."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..conventions.coerce import integer, number
from ..conventions.genai_events import Evaluation
from ..model import PayloadRef, StageEvent, Value
from ..text import clean_text
from . import timing
from .attempts import Attempt, attempts
from .bodies import MAX_TEXT, cut
from .context import LATEST_NS, SPAN, has_time
from .evaluations import by_stage, evaluation_scores
from .metrics import StageMetrics, stage_metrics
from .nodes import Node, Tree
from .outcome import SUCCESS, Outcome, outcome
from .parents import Note, stage_parents, within
from .roles import Derived, derived

_Shared = dict[tuple[int, str, str], dict[str, Value]]

# Usage counts on calls of a model, nowhere else; parents only repeat it. A plan may be the call of a decision model.
_USAGE_TYPES = frozenset({"generation", "output", "embedding", "rerank", "route_plan"})
_USAGE_FIELDS = {"tokens_in": integer, "tokens_out": integer, "tokens_used": integer, "cost_total": number}
_USAGE_NAMES = frozenset(_USAGE_FIELDS)
_METADATA = (
    *("test_case_id", "dataset_name", "dataset_version", "session_id", "user_id", "tenant_id", "run_parent_id"),
    "run_id_source",
)
_MAX_NAME = 200
FAILED = frozenset({"error", "timeout"})
_FIRST: Attempt = (1, "")
_NOTHING: Mapping[str, float | int | None] = {}
_RETRIEVING = frozenset({"retrieval", "rerank", "fusion"})


def stage_events(tree: Tree, nodes: Sequence[Node], notes: list[Note]) -> list[StageEvent]:
    """All stages of a trace, derived ones first, else top-down; adds to `notes` what was found on the way."""
    parents = stage_parents(nodes, notes)
    times = _timings(nodes, parents)
    usage = _usage(nodes, notes)
    retrieved = _retrieved(nodes)
    evaluated = by_stage(tree.nodes)
    ended = [outcome(node) for node in nodes]
    failed = {node.stage_id for node, end in zip(nodes, ended, strict=True) if end.status in FAILED}
    tried = attempts(nodes, parents, failed)
    shared: _Shared = {}
    events = [_derived_event(item, _metadata(item.source, shared), notes) for item in derived(tree, nodes)]
    for node, end in zip(nodes, ended, strict=True):
        stage_id, metadata = node.stage_id, _metadata(node, shared)
        attempt, evaluations = tried.get(stage_id, _FIRST), evaluated.get(stage_id, ())
        attributes = _attributes(node, evaluations, attempt)
        measured = _measured(node, attributes, metadata, retrieved, evaluations)
        if measured.bad:
            notes += [("bad_value", node, {"detail": sentence}) for sentence in measured.bad]
        about = (attributes, metadata, measured.scores, usage.get(stage_id, _NOTHING))
        events.append(_event(node, end, attempt[0], parents[stage_id], times.get(stage_id), *about))
    return events


def name_text(value: str) -> str:
    """A name as it is stored: clean, and not longer than a name can be."""
    return _short_name(value) if len(value) <= _MAX_NAME else clean_text(value)[:_MAX_NAME]


# The same few names again and again; long ones are not kept.
_short_name = lru_cache(maxsize=4096)(clean_text)


def _timings(nodes: Iterable[Node], parents: Mapping[str, str | None]) -> dict[str, timing.Interval]:
    """Intervals of all stages with a duration, linked as the stages are, with the critical path marked."""
    intervals = {
        node.stage_id: timing.Interval(node.span.start_ns, node.span.end_ns)
        for node in nodes
        if 0 < node.span.start_ns <= node.span.end_ns < LATEST_NS
    }
    tops: list[timing.Interval] = []
    found: dict[str, str | None] = {}
    for stage_id, interval in intervals.items():
        parent = parents.get(stage_id)
        if parent is not None and parent not in intervals:
            parent = within(parent, parents, intervals, found)
        (tops if parent is None else intervals[parent].children).append(interval)
    timing.mark_critical_path(tops)
    return intervals


def _usage(nodes: Sequence[Node], notes: list[Note]) -> dict[str, dict[str, float | int | None]]:
    """Usage per stage, once per call: not where a stage below reports it too."""
    counted: dict[str, dict[str, float | int | None]] = {}
    reported_below: set[int] = set()
    for node in reversed(nodes):  # children before parents
        if _USAGE_NAMES.isdisjoint(node.fields):
            continue
        said = {name: read(node.fields[name]) for name, read in _USAGE_FIELDS.items() if name in node.fields}
        if not any(value is not None for value in said.values()) or "_counted_before" in node.fields:
            continue
        if node.stage_type not in _USAGE_TYPES:
            notes.append(("usage_repeated" if id(node) in reported_below else "usage_ignored", node, {}))
            continue
        if id(node) in reported_below:
            notes.append(("usage_repeated", node, {}))
            continue
        counted[node.stage_id] = said
        above = node.above.owner if node.above is not None else None
        while above is not None and id(above) not in reported_below:
            reported_below.add(id(above))
            above = above.above.owner if above.above is not None else None
    return counted


def _retrieved(nodes: Iterable[Node]) -> Collection[str] | None:
    """Ids of all documents that the trace retrieved; None when it retrieved nothing that is known."""
    found: set[str] = set()
    for node in nodes:
        if node.stage_type in _RETRIEVING:
            ids = node.fields.get("doc_ids")
            found.update(str(item) for item in ids if item is not None) if isinstance(ids, list) else None
    return found or None


def _event(  # noqa: PLR0913, PLR0917 - one record, one call
    node: Node,
    ended: Outcome,
    attempt: int,
    parent_stage_id: str | None,
    interval: timing.Interval | None,
    attributes: dict[str, Value],
    metadata: dict[str, Value],
    scores: dict[str, float],
    usage: Mapping[str, float | int | None],
) -> StageEvent:
    span, identity = node.span, node.reading.identity
    silent = _PAYLOADS.isdisjoint(identity)
    # In the order of the fields: named, they would take three times as long.
    return StageEvent(
        span.trace_id,
        node.stage_id,
        node.run_id,
        node.stage_type or "",
        name_text(str(identity.get("name") or span.name)) or None,
        parent_stage_id,
        ended.status,
        attempt,
        span.start_ns if interval or has_time(span.start_ns) else None,
        span.end_ns if interval else None,
        timing.duration_ms(interval) if interval else None,
        timing.self_ms(interval) if interval else None,
        timing.critical_ms(interval) if interval else None,
        None if silent else _payload_ref(identity, "input"),
        None if silent else _payload_ref(identity, "output"),
        _shortened(attributes),
        metadata,
        span.span_id,
        False,  # noqa: FBT003 - derived
        node.type_source,
        tuple([inner.span.span_id for inner in node.wrapped]) if node.wrapped else (),
        ended.error_type,
        ended.error_message,
        ended.fingerprint,
        _whole(usage.get("tokens_in")),
        _whole(usage.get("tokens_out")),
        usage.get("cost_total"),
        scores,
    )


def _attributes(node: Node, evaluations: Sequence[Evaluation], attempt: Attempt) -> dict[str, Value]:
    attributes = {name: value for name, value in node.fields.items() if name[0] != "_"}
    if node.reading.others:
        attributes = {**node.reading.others, **attributes}
    ids, scores = attributes.get("doc_ids"), attributes.get("scores")
    if ids.__class__ is list and scores.__class__ is list and 0 < len(scores) < len(ids):
        attributes["scores"] = [*scores, *[None] * (len(ids) - len(scores))]
    if attempt[1]:
        attributes["attempt_source"] = attempt[1]
    if evaluations:
        attributes["evaluations"] = [said.shown() for said in evaluations]
    return attributes


def _measured(
    node: Node,
    attributes: Mapping[str, Value],
    metadata: Mapping[str, Value],
    retrieved: Collection[str] | None,
    evaluations: Sequence[Evaluation],
) -> StageMetrics:
    """The scores of a stage; what is computed here goes before what an evaluator says under the same name."""
    stage_type = node.stage_type or ""
    measured = stage_metrics(stage_type, attributes, metadata, retrieved)
    if not evaluations:
        return measured
    said = evaluation_scores(stage_type, evaluations)
    return StageMetrics({**said.scores, **measured.scores}, (*measured.bad, *said.bad))


def _derived_event(item: Derived, metadata: dict[str, Value], notes: list[Note]) -> StageEvent:
    node = item.source
    measured = stage_metrics(item.stage_type, item.fields, metadata)
    notes += [("bad_value", node, {"detail": sentence}) for sentence in measured.bad]
    start = node.span.start_ns
    return StageEvent(
        trace_id=node.span.trace_id,
        stage_id=f"{node.span.span_id}:{item.stage_type}",
        run_id=node.run_id,
        stage_type=item.stage_type,
        parent_stage_id=node.owner.stage_id if node.owner is not None else None,
        status=SUCCESS.status,
        started_ns=start if has_time(start) else None,
        attributes=_shortened(item.fields),
        metadata=metadata,
        span_id=node.span.span_id,
        derived=True,
        type_source=item.type_source,
        metrics=measured.scores,
    )


def _whole(said: float | None) -> int | None:
    return None if said is None else int(said)


def _metadata(node: Node, shared: _Shared) -> dict[str, Value]:
    """What is known about the case; stages that know the same share one object."""
    span = node.span
    key = (id(node.context), span.resource.id, span.scope.id)
    if key not in shared:
        metadata: dict[str, Value] = {"service": span.resource.service}
        if span.scope.name:
            metadata["scope"] = clean_text(span.scope.name)
        metadata.update((name, node.context[name]) for name in _METADATA if name in node.context)
        # Named by the span or one above it: how it is meant to be, and not worth its bytes in every row.
        if metadata["run_id_source"] == SPAN:
            del metadata["run_id_source"]
        shared[key] = metadata
    return shared[key]


def _payload_ref(identity: Mapping[str, Value], side: str) -> PayloadRef | None:
    """Where the body is: the address that the span gives, else its place in the archive."""
    uri, messages, kind, text_ref, json_ref = _SIDES[side]
    if uri in identity and isinstance(identity[uri], str):
        return PayloadRef.parse(identity[uri])
    if side in identity:
        return json_ref if kind in identity and "json" in str(identity[kind]) else text_ref
    return json_ref if messages in identity else None


_SIDES = {
    side: (
        *(f"{side}_uri", f"{side}_messages", f"{side}_type"),
        *(PayloadRef("span", side, "text"), PayloadRef("span", side, "json")),
    )
    for side in ("input", "output")
}
_PAYLOADS = frozenset(name for side in _SIDES for name in (side, f"{side}_uri", f"{side}_messages"))


def _shortened(attributes: dict[str, Value]) -> dict[str, Any]:
    """Attributes without bodies: long texts, also within lists and maps, are cut and `truncated` says so."""
    long: dict[str, Any] = {}
    for name, value in attributes.items():
        kind = value.__class__
        if kind is str:  # most are short: asked here, a call for each would cost as much as all the rest
            if len(value) > MAX_TEXT:
                long[name] = cut(value)
        elif (kind is list or kind is dict) and (shortened := cut(value)) is not value:
            long[name] = shortened
    return {**attributes, **long, "truncated": True} if long else attributes
