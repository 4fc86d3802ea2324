"""Stages that failed, ran over and over, are not there, or hang where they cannot belong."""

from collections.abc import Iterable, Sequence
from typing import Final

from ...store.symptoms import LateChildren, Symptom
from ..figures import count, number, share
from ..repeats import Repeat
from ..report_model import ErrorPart, Example, Problem, RunPart
from ..summary import Missing
from ..texts import first_line, quoted
from .drafts import Draft, impact

_FEWEST_LATE: Final = 2


def errors(groups: Sequence[ErrorPart], run: RunPart, loops: Iterable[Repeat]) -> Iterable[Draft]:
    """One draft per kind of failure that is not passed on from below, nor of a loop."""
    told = {loop.stage_type for loop in loops if loop.failing}
    for group in groups:
        if group.count > group.propagated and group.stage_type not in told:
            said = f": {first_line(group.message)}" if group.message else ""
            yield Draft(
                Problem(
                    kind="error",
                    subject=group.stage_type,
                    headline=f"{quoted(group.stage_type)} failed in {group.traces:,} of "
                    f"{count(run.traces, 'trace')} with {first_line(group.error_type) or 'an error'}{said}.",
                    advice="Open the examples: the exception event of the span has the stack trace.",
                    impact=impact("error", share(group.traces, run.traces)),
                    examples=group.examples,
                ),
                Symptom(group.stage_type, fingerprint=group.fingerprint),
            )


def repeated(loops: Sequence[Repeat], run: RunPart) -> Iterable[Draft]:
    """One draft for all steps that are part of loops in as many traces; failing ones name their error."""
    for loop in sorted(loops, key=lambda loop: (-loop.traces, -loop.stages, loop.stage_type, loop.name))[:3]:
        label = quoted(loop.stage_type) + (
            f" {quoted(loop.name)}" if loop.name and loop.name != loop.stage_type else ""
        )
        where = f"in {loop.traces:,} of {count(run.traces, 'trace')}"
        said = f": {first_line(loop.error_message)}" if loop.error_message else ""
        why = f" each time failing with {loop.error_type or 'an error'}{said}" if loop.failing else ""
        usual = "" if loop.failing else f" where {number(loop.usual)} is usual"
        yield Draft(
            Problem(
                kind="repeats",
                subject=loop.stage_type,
                headline=f"{label} ran over and over {where}, up to {loop.most:,} times{usual}"
                f"{',' if why else ''}{why}.",
                advice="What ends the loop? Give it a bound, a growing pause, and a way out that says that it gave up.",
                impact=impact("repeats", share(loop.traces, run.traces)),
                examples=loop.examples,
            )
        )


def missing(found: Iterable[Missing], run: RunPart) -> Iterable[Draft]:
    """Stages that traces lack, more than failed before they came to them."""
    for item in found:
        lacking = item.traces - run.failed_traces
        if lacking > 0:
            yield Draft(
                Problem(
                    kind="missing_stage",
                    subject=item.stage_type,
                    headline=f"{item.traces:,} of {count(item.of, 'trace')} lack the stage {quoted(item.stage_type)}.",
                    advice="The application skipped it, or its span is not sent or not recognised: look at a trace "
                    "without it.",
                    impact=impact("missing_stage", share(lacking, item.of)),
                    examples=[Example(item.trace_id, None, "")] if item.trace_id else [],
                )
            )


def late(found: Iterable[LateChildren]) -> Iterable[Draft]:
    """Stages under one that had ended before they began."""
    for item in found:
        if item.traces >= _FEWEST_LATE:
            shown = [Example(p.trace_id, p.span_id, p.stage_id, p.stage_name or "") for p in item.examples]
            yield Draft(
                Problem(
                    kind="late_child",
                    subject=item.stage_type,
                    headline=f"{quoted(item.stage_type)} hangs under {quoted(item.parent_type)}, which had ended before "
                    f"it began, in {item.traces:,} of {count(item.of, 'trace')}: its parent is most likely wrong.",
                    advice="The context of the ended span was never detached: end it in the `with` block or the "
                    "`finally` that attached it. Self times and the stage tree of these traces are wrong until then.",
                    impact=impact("late_child", share(item.traces, item.of)),
                    examples=shown,
                )
            )
