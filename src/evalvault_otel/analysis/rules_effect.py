"""What rules of a user change: spans of a trace in, each as it is without the rules and with them out. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..assembly import assemble
from ..assembly.log_events import merged
from ..assembly.nodes import Node, build
from ..conventions.reading import Conventions
from ..model import Attributes, LogEvent, Span, StageEvent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a span becomes. Without `stage_type` it is structural; `part_of` is the stage that it merely repeats."""

    stage_type: str | None = None
    stage_name: str | None = None
    why: str = ""
    run_id: str | None = None
    part_of: str | None = None
    fields: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanEffect:
    """A span before and after; `depth` is how many spans are above it."""

    trace_id: str
    span_id: str
    name: str
    depth: int
    before: Outcome
    after: Outcome

    @property
    def changed(self) -> bool:
        """Whether the rules make anything else of the span. Another reason for the same is no change."""
        return any(
            getattr(self.before, name) != getattr(self.after, name)
            for name in ("stage_type", "stage_name", "run_id", "part_of", "fields")
        )

    @property
    def changed_fields(self) -> list[str]:
        """Names of fields that differ: `+` new, `-` gone, `~` another value."""
        before, after = self.before.fields, self.after.fields
        signs = {name: "~" if name in before else "+" for name in after if before.get(name) != after[name]}
        signs |= {name: "-" for name in before if name not in after}
        return [f"{signs[name]}{name}" for name in sorted(signs)]


def effects(
    spans: Iterable[Span], logs: Iterable[LogEvent], before: Conventions, after: Conventions
) -> list[SpanEffect]:
    """Every span of some traces with what either mapping makes of it, trace by trace, top-down."""
    by_trace: dict[str, dict[str, Span]] = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, {}).setdefault(span.span_id, span)
    logged: dict[str, list[LogEvent]] = {}
    for event in logs:
        logged.setdefault(event.trace_id, []).append(event)
    return [
        effect
        for trace_id, members in by_trace.items()
        for effect in _of_trace(list(members.values()), logged.get(trace_id, []), before, after)
    ]


def _of_trace(
    spans: Sequence[Span], logs: Sequence[LogEvent], before: Conventions, after: Conventions
) -> Iterable[SpanEffect]:
    was, now = _outcomes(spans, logs, before), _outcomes(spans, logs, after)
    depths: dict[str, int] = {}
    for node in build(spans).nodes:
        span = node.span
        depths[span.span_id] = 0 if node.parent is None else depths[node.parent.span.span_id] + 1
        yield SpanEffect(
            span.trace_id, span.span_id, span.name, depths[span.span_id], was[span.span_id], now[span.span_id]
        )


def _outcomes(spans: Sequence[Span], logs: Sequence[LogEvent], conventions: Conventions) -> Mapping[str, Outcome]:
    stages = [stage for stage in assemble(spans, logs, conventions).stages if not stage.derived]
    own = {stage.span_id: stage for stage in stages}
    repeated = {span_id: stage for stage in stages for span_id in stage.wrapped_span_ids}
    whole = merged(spans, logs)[0] if logs else spans
    return {
        node.span.span_id: _outcome(node, own.get(node.span.span_id), repeated.get(node.span.span_id))
        for node in build(whole, conventions).nodes
    }


def _outcome(node: Node, own: StageEvent | None, repeated: StageEvent | None) -> Outcome:
    if own is not None:
        return Outcome(own.stage_type, own.stage_name, own.type_source, own.run_id, None, own.attributes)
    if repeated is not None:
        return Outcome(node.stage_type, None, node.type_source, repeated.run_id, repeated.stage_id)
    return Outcome(why=node.type_source)
