"""What a person should know about a trace, in their words: what is missing or doubtful, and what helps."""

from collections.abc import Iterator

from ..model import Finding
from ..text import clean_text
from .context import has_time
from .nodes import Node, Tree

INFO, WARNING = "info", "warning"

# code -> (severity, sentence)
CODES = {
    "no_root": (
        WARNING,
        (
            "The trace has no root span: its start and what called it are unknown. The root was not sampled, has not "
            "been sent yet, or is made by a service that does not report here."
        ),
    ),
    "missing_parent": (
        WARNING,
        "The parent {parent} of span {span} never arrived: the stage hangs one level too high.",
    ),
    "cycle": (WARNING, "Span {span} is its own ancestor: its parent link was cut."),
    "attributes_dropped": (
        WARNING,
        (
            "The SDK dropped {n} attributes of span {span}, the oldest first: query and best-ranked documents may be "
            "among them. Set OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=10000."
        ),
    ),
    "events_dropped": (
        WARNING,
        (
            "The SDK dropped {n} events of span {span}: asset uses may be among them. "
            "Set OTEL_SPAN_EVENT_COUNT_LIMIT=1000."
        ),
    ),
    "documents_truncated": (
        WARNING,
        (
            "The first documents of span {span} are missing, the best-ranked ones. "
            "Set OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=10000."
        ),
    ),
    "convention_conflict": (INFO, "Conventions disagree on span {span}: {detail}."),
    "run_conflict": (WARNING, "{detail}; spans without a run of their own or of an ancestor go to the fallback run."),
    "usage_repeated": (
        INFO,
        "Stage {stage} repeats token counts that stages below it report: they are counted once, below.",
    ),
    "usage_ignored": (INFO, "Stage {stage} reports tokens, but only model calls count usage: they are not added."),
    "bad_value": (WARNING, "A value could not be used for a metric: {detail}."),
    "bad_time": (WARNING, "Span {span} {detail}: its duration is not known."),
    "log_event_without_span": (
        WARNING,
        (
            "Log events belong to {n} spans that never arrived ({missing}): they are kept, but no stage shows them. "
            "The spans were not sampled, have not been sent yet, or go elsewhere."
        ),
    ),
    "duplicate_stage_id": (WARNING, "Several spans claim stage id {stage}: the later ones got their span id added."),
    "no_stages": (INFO, "No span of this trace is a stage: no convention that is known names any of them."),
}


def of_tree(tree: Tree) -> Iterator[tuple[str, Node, dict[str, object]]]:
    """Findings about the shape of the trace: code, node, and what the sentence needs."""
    if not tree.has_root:
        yield "no_root", tree.entry, {}
    for node in tree.cut:
        yield "cycle", node, {}
    if not any(node.is_stage for node in tree.nodes):
        yield "no_stages", tree.entry, {}


def of_node(node: Node) -> Iterator[tuple[str, Node, dict[str, object]]]:
    """Findings about one span."""
    span = node.span
    if node.missing_parent:
        yield "missing_parent", node, {"parent": span.parent_span_id}
    if span.dropped_attributes:
        yield "attributes_dropped", node, {"n": span.dropped_attributes}
    if span.dropped_events:
        yield "events_dropped", node, {"n": span.dropped_events}
    for conflict in node.reading.conflicts:
        yield "convention_conflict", node, {"detail": conflict}
    if node.fields.get("documents_truncated"):
        yield "documents_truncated", node, {}
    problem = time_problem(node)
    if problem:
        yield "bad_time", node, {"detail": problem}


def time_problem(node: Node) -> str | None:
    """What is wrong with a span's times, or None."""
    span = node.span
    if not has_time(span.start_ns):
        return "has no valid start time"
    if not has_time(span.end_ns):
        return "has no valid end time"
    return "ends before it starts" if span.end_ns < span.start_ns else None


def finding(ordinal: int, code: str, node: Node, facts: dict[str, object]) -> Finding:
    """The record of a finding; `ordinal` orders the findings of a trace."""
    severity, sentence = CODES[code]
    owner = node.owner
    detail = sentence.format(span=node.span.span_id, stage=owner.stage_id if owner else "", **facts)
    return Finding(
        trace_id=node.span.trace_id,
        ordinal=ordinal,
        run_id=node.run_id,
        code=code,
        severity=severity,
        detail=clean_text(detail),
        stage_id=owner.stage_id if owner else None,
        span_id=node.span.span_id,
    )
