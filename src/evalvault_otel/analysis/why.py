"""Why each stage of a trace is what it is: its rule, the attribute and value that decided, its run, its conflicts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..assembly.context import SPAN
from ..assembly.explain import Reasons, reasons
from ..assembly.options import DEFAULT_OPTIONS, AssemblyOptions
from ..conventions.heuristics import guess
from ..conventions.reading import DEFAULT, DIALECTS, Conventions
from ..model import LogEvent, Span, StageEvent
from ..values import plain_json

# Guessed from a name; `heuristic:has_…` from the fields that are there.
_BY_NAME: Final = re.compile(r"(?:^|\s)heuristic:(?!has_)")
_MAX_VALUE: Final = 200


@dataclass(frozen=True, slots=True)
class Why:
    """`attribute` and `value` (as JSON, cut to 200 characters) decided the type; None where it follows from others.

    `attribute` is `name` where the name of the span decided. `run_source` says in words where the run id comes from;
    None when the spans of the trace are not in the archive.
    """

    stage_id: str
    stage_type: str
    type_source: str
    attribute: str | None
    value: str | None
    wrapped_span_ids: tuple[str, ...]
    run_id: str
    run_source: str | None
    conflicts: tuple[str, ...]


def explain(
    stages: Sequence[StageEvent],
    spans: Sequence[Span],
    logs: Sequence[LogEvent] = (),
    conventions: Conventions = DEFAULT,
    options: AssemblyOptions = DEFAULT_OPTIONS,
) -> list[Why]:
    """A `Why` per stage, in the order of the stages, from the archived spans of their trace."""
    by_id = {span.span_id: span for span in spans}
    known = reasons(spans, logs, conventions, options)
    return [_why(stage, by_id, known) for stage in stages]


def _why(stage: StageEvent, spans: Mapping[str, Span], known: Mapping[str, Reasons]) -> Why:
    span = spans.get(stage.span_id or "")
    attribute, value = _decided(stage.type_source, span)
    said = known.get(stage.span_id or "")
    members = () if stage.derived else (stage.span_id or "", *stage.wrapped_span_ids)
    return Why(
        stage_id=stage.stage_id,
        stage_type=stage.stage_type,
        type_source=stage.type_source,
        attribute=attribute,
        value=value,
        wrapped_span_ids=stage.wrapped_span_ids,
        run_id=stage.run_id,
        run_source=_run_source(stage, said) if said else None,
        conflicts=tuple(text for member in members if member in known for text in known[member].conflicts),
    )


# Where a run id came from, by `run_id_source`; a row without one has it from its span or one above.
_SOURCES: Final[Mapping[str, str]] = {
    SPAN: "an attribute of this span or one above",
    "trace": "a span of the trace",
    "resource": "the resource",
    "association": "association metadata",
    "session": "the session id",
    "service_day": "service and UTC day, since no span named a run",
    "trace_id": "the trace itself, since no span named a run",
}


def _run_source(stage: StageEvent, said: Reasons) -> str:
    """In words; what the row says wins, since it may have been made with other settings than those of now."""
    source = str(stage.metadata.get("run_id_source", SPAN))
    if (stage.run_id, source) == (said.run_id, said.source):
        return said.run_source
    return f"{_SOURCES.get(source, source)} when it was mapped; the settings of this command give {said.run_id}"


def _decided(type_source: str, span: Span | None) -> tuple[str | None, str | None]:
    """The attribute at the end of the source (`attribute:KEY`, or a rule and its key), or the name that was read."""
    if _BY_NAME.search(type_source):
        return ("name", None) if span is None else _name_read(type_source, span)
    key = type_source.rpartition(":")[2]
    if span is not None and key in span.attributes:
        return key, _short(span.attributes[key])
    return (key if "attribute:" in type_source else None), None


def _name_read(type_source: str, span: Span) -> tuple[str, str]:
    """The name that a guess was made by: that which a convention has for a step, or the span's."""
    for dialect in DIALECTS:
        said = span.attributes.get(dialect.named_by) if dialect.named_by else None
        guessed = guess(said) if isinstance(said, str) else None
        if guessed is not None and type_source.endswith(f"heuristic:{guessed[1]}"):
            return dialect.named_by, _short(said)
    return "name", _short(span.name)


def _short(value: object) -> str:
    return plain_json(value)[:_MAX_VALUE]
