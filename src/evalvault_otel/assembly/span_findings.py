"""What spans tell about themselves: notes for findings, from a tree of nodes.

Called for every span, so the loop asks cheap questions first; whatever costs more runs only where there is trouble.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ..conventions import names
from ..conventions.deprecated import DEPRECATED
from ..conventions.evalvault import STAGE_TYPE, nearest_type
from ..conventions.names import STAGE_TYPE_VALUES
from ..conventions.openinference import REDACTED
from ..model import STATUS_ERROR, Span, Value
from . import losses
from .context import LATEST_NS, has_time
from .finding_codes import CONTENT_SETTINGS
from .nodes import Node

Note = tuple[str, Node, dict[str, object]]

_USUAL_TYPES: Final = frozenset(STAGE_TYPE_VALUES)
_MAX_SHOWN: Final = 60
_CHANGED: Final = names.CONTENT_HIDDEN_KEYS
_SAYS: Final = re.compile(r"(\S+) says ")
_MS: Final = 1_000_000
# SDKs in browsers and Node round to milliseconds, and processes of one host differ by less.
_SKEW_NS: Final = 2 * _MS
_CONSUMER: Final = 5  # trace.proto, SPAN_KIND_CONSUMER: it works when its parent has long ended
_DEFAULT_LIMIT: Final = 128  # OpenTelemetry specification, "Span Limits"


def of_spans(nodes: Sequence[Node]) -> Iterator[Note]:
    """Notes about single spans, top-down for each kind of note."""
    yield from _of_places(nodes)
    yield from _of_contents(nodes)
    yield from _of_stages(nodes)


def _of_places(nodes: Sequence[Node]) -> Iterator[Note]:
    """What is missing, and times that cannot be."""
    for node in nodes:
        span, parent = node.span, node.parent
        if span.dropped_attributes or span.dropped_events or span.dropped_links or node.missing_parent:
            yield from _missing(node)
        for event in span.events:
            if event.dropped_attributes:
                yield "event_attributes_dropped", node, {"n": event.dropped_attributes}
        if not 0 < span.start_ns <= span.end_ns < LATEST_NS:
            yield "bad_time", node, {"detail": time_problem(node)}
        elif parent is not None and not parent.span.start_ns <= span.start_ns <= parent.span.end_ns:
            yield from _skewed(node, parent)


def _of_contents(nodes: Sequence[Node]) -> Iterator[Note]:
    for node in nodes:
        span = node.span
        attributes = span.attributes
        for conflict in node.reading.conflicts:
            yield "convention_conflict", node, {"detail": conflict, "between": parties(conflict)}
        if len(attributes) == _DEFAULT_LIMIT and not span.dropped_attributes:
            yield "attribute_limit_reached", node, {}
        if node.stage_type not in _USUAL_TYPES and STAGE_TYPE in attributes:
            yield from _odd_type(node)
        if node.reading.deprecated:
            yield from _deprecated(node)
        # What is hidden in lists spread over keys is not in `hidden`; such lists are of stages that have rules here.
        hidden = node.reading.hidden or _CHANGED in attributes
        if hidden or (node.stage_type in _OF_STAGE and REDACTED in attributes.values()):
            yield from _redacted(node)
    yield from losses.truncated(nodes)


def _of_stages(nodes: Sequence[Node]) -> Iterator[Note]:
    requests: dict[int, list[Node]] = {}
    for node in nodes:
        if node.stage_type is None:
            if node.above is not None and _is_request(node.span):
                requests.setdefault(id(node.above.owner), []).append(node)
        elif node.wrapped_in is not None:
            outer = node.wrapped_in
            if node.span.status_code == STATUS_ERROR and outer.span.status_code != STATUS_ERROR:
                yield "error_inside", node, {}
        elif node.stage_type in _OF_STAGE:
            yield from _OF_STAGE[node.stage_type](node)
    for members in requests.values():
        yield from _retried(members)


def _odd_type(node: Node) -> Iterator[Note]:
    """A type of the user's own that looks like a slip, or one that could not be read."""
    if not node.reading.explicit:
        said = str(node.span.attributes[STAGE_TYPE])[:_MAX_SHOWN]
        yield "odd_stage_type", node, {"detail": f"says {said!r}, which is no word: nothing follows from it"}
    elif meant := nearest_type(node.stage_type or ""):
        yield "odd_stage_type", node, {"detail": f"is {node.stage_type!r}: did you mean {meant}?"}


def time_problem(node: Node) -> str | None:
    """What is wrong with a span's times, or None."""
    span = node.span
    if not has_time(span.start_ns):
        return "has no valid start time"
    if not has_time(span.end_ns):
        return "has no valid end time"
    return "ends before it starts" if span.end_ns < span.start_ns else None


def parties(conflict: str) -> str:
    """Which attributes disagree, without what they say: the same for every span of an instrumentation."""
    return " and ".join(_SAYS.findall(conflict))


def _missing(node: Node) -> Iterator[Note]:
    span = node.span
    if node.missing_parent:
        yield "missing_parent", node, {"parent": span.parent_span_id}
    if span.dropped_attributes:
        kept = len(span.attributes)
        limit = f"limit of {kept} attributes" if kept > 1 else "attribute limit"
        detail = losses.lost_attributes(node) or "The oldest attributes were"
        yield "attributes_dropped", node, {"n": span.dropped_attributes, "limit": limit, "detail": detail}
    if span.dropped_events:
        yield "events_dropped", node, {"n": span.dropped_events}
    if span.dropped_links:
        yield "links_dropped", node, {"n": span.dropped_links}


def _skewed(node: Node, parent: Node) -> Iterator[Note]:
    """A span cannot start before the span that started it; on another machine it does not start long after it."""
    span, outer = node.span, parent.span
    if time_problem(parent):
        return
    detail = None
    early, late = outer.start_ns - span.start_ns, span.start_ns - outer.end_ns
    if early > _SKEW_NS:
        detail = "before it"
    elif span.resource.id != outer.resource.id and late > max(outer.end_ns - outer.start_ns, _SKEW_NS):
        detail = None if span.kind == _CONSUMER else "after it"
    if detail:
        services = f"{span.resource.service} under {outer.resource.service}"
        yield "clock_skew", node, {"detail": f"{detail}, {services}", "offset": round(max(early, late) / _MS)}


def _deprecated(node: Node) -> Iterator[Note]:
    for key in node.reading.deprecated:
        if key in node.span.attributes:  # and not from an event
            yield "deprecated_names", node, {"names": f"{key} (now {DEPRECATED[key]})"}


def _redacted(node: Node) -> Iterator[Note]:
    """Values that were left out, and those that the sender says it changed."""
    attributes = node.span.attributes
    said = attributes.get(_CHANGED)
    changed = {key for key in said if isinstance(key, str)} if isinstance(said, list) else set()
    changed |= {key for key, value in attributes.items() if value == REDACTED}
    for key in sorted(changed):
        yield "redacted", node, {"n": 1, "keys": key}


def _is_request(span: Span) -> bool:
    return "http.request.method" in span.attributes or "http.method" in span.attributes


def _retried(members: Sequence[Node]) -> Iterator[Note]:
    """Several requests of one model call, of which one failed."""
    owner = members[0].above.owner if members[0].above is not None else None
    if owner is None or owner.stage_type not in _CALLS:
        return
    resent = sum(_count(node.span.attributes.get("http.request.resend_count")) > 0 for node in members)
    failed = sum(_failed(node.span) for node in members)
    if resent or (failed and len(members) > 1):
        yield "retries_inside", owner, {"n": len(members)}


_CALLS: Final = frozenset({"generation", "output", "embedding", "rerank"})
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


def _failed(span: Span) -> bool:
    status = span.attributes.get("http.response.status_code", span.attributes.get("http.status_code"))
    code = _count(status)
    return span.status_code == STATUS_ERROR or code == _TOO_MANY or code >= _SERVER_ERROR


def _count(value: Value) -> int:
    return value if isinstance(value, int) else 0


# What stages of a type lack.

_PAYLOADS: Final = frozenset(
    {"input", "output", "input_messages", "output_messages", "input_uri", "output_uri", "input_ref", "output_ref"}
)
_TEXTS: Final = frozenset({"answer", "query", "_question", "_system_prompt"})
# Contents as one text, of any form.
_WHOLE: Final = frozenset({"gen_ai.prompt", "gen_ai.completion", "ai.prompt", "ai.response.text"})


def _of_call(node: Node) -> Iterator[Note]:
    """A model call without its messages, where the convention has a setting for them."""
    if not _TEXTS.isdisjoint(node.fields):
        return
    parts = (node, *node.wrapped)
    if any(not _PAYLOADS.isdisjoint(part.reading.identity) for part in parts):
        return
    setting = next(filter(None, (_content_setting(part.span.attributes) for part in parts)), None)
    if setting:
        yield "content_off", node, {"setting": setting}


def _content_setting(attributes: Mapping[str, Value]) -> str | None:
    """The setting that turns content on, unless content is there that only could not be read."""
    if REDACTED in attributes.values() or not _WHOLE.isdisjoint(attributes):
        return None
    return next((setting for of, setting in CONTENT_SETTINGS if any(key.startswith(of) for key in attributes)), None)


def _of_documents(node: Node) -> Iterator[Note]:
    """Documents that lost ranks to a limit, or that an instrumentation sends without ids or scores."""
    if node.fields.get("documents_truncated") and not node.span.dropped_attributes:
        yield "documents_truncated", node, {"detail": losses.lost_attributes(node) or "The first documents were"}
    ids = node.fields.get("doc_ids")
    if node.reading.explicit or not isinstance(ids, list) or not ids:
        return
    # An id that several have is that of the source they come from.
    if any(not isinstance(item, str) or item.startswith("h:") for item in ids) or len(set(ids)) < len(ids):
        yield "documents_without_ids", node, {}
    if "scores" not in node.fields and "distances" not in node.fields:
        yield "documents_without_scores", node, {}


def _of_embedding(node: Node) -> Iterator[Note]:
    vector = node.span.attributes.get("embedding.embeddings.0.embedding.vector")
    if isinstance(vector, list) and vector:
        yield "embedding_vectors", node, {}


_OF_STAGE: Final[Mapping[str, Callable[[Node], Iterable[Note]]]] = {
    "generation": _of_call,
    "output": _of_call,
    "retrieval": _of_documents,
    "rerank": _of_documents,
    "fusion": _of_documents,
    "embedding": _of_embedding,
}


# Sampling.

_THRESHOLD_DIGITS: Final = 14  # 56 bits


def sampling(trace_state: str) -> float | None:
    """The probability with which a trace was kept, when its trace state says so and it is below 1.

    Source: OpenTelemetry specification, "TraceState: Probability Sampling": `ot=th:<rejection threshold>`.
    """
    if "ot=" not in trace_state:
        return None
    for member in trace_state.split(","):
        name, _, said = member.strip().partition("=")
        threshold = next((part[3:] for part in said.split(";") if part.startswith("th:")), "") if name == "ot" else ""
        if 0 < len(threshold) <= _THRESHOLD_DIGITS and not threshold.strip("0123456789abcdef"):
            rejected = int(threshold.ljust(_THRESHOLD_DIGITS, "0"), 16)
            return 1 - rejected / (1 << 56) if rejected else None
    return None
