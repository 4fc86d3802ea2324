"""Stages that failed, ran over and over, are not there, or hang where they cannot belong."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from ...store.symptoms import LateChildren, Symptom
from ..figures import count, number, share
from ..repeats import Repeat
from ..report_model import ErrorPart, Example, Problem, RunPart
from ..summary import Missing
from ..texts import first_line, quoted
from .drafts import Draft, impact

_FEWEST_LATE: Final = 2
# So many failures within a quarter of the time of a run are a burst.
_FEWEST_IN_BURST: Final = 3
_BURST: Final = 0.25


def errors(groups: Sequence[ErrorPart], run: RunPart, loops: Iterable[Repeat]) -> Iterable[Draft]:
    """One draft per kind of failure that is not passed on from below, nor of a loop."""
    told = {loop.stage_type for loop in loops if loop.failing}
    for group in groups:
        if group.count > group.propagated and group.stage_type not in told:
            yield Draft(
                Problem(
                    kind="error",
                    subject=group.stage_type,
                    headline=f"{quoted(group.stage_type)} failed in {group.traces:,} of "
                    f"{count(run.traces, 'trace')} with {_said(group)}{_burst(group, run)}.",
                    advice="Open the examples: the exception event of the span has the stack trace.",
                    impact=impact("error", share(group.traces, run.traces)),
                    examples=group.examples,
                ),
                Symptom(group.stage_type, fingerprint=group.fingerprint),
            )


def _burst(group: ErrorPart, run: RunPart) -> str:
    """When, if all failures lie in a small part of the time of the run."""
    if group.count < _FEWEST_IN_BURST or group.first_seen is None or group.last_seen is None:
        return ""
    first, last = group.first_seen, group.last_seen
    begin, end, start, stop = map(datetime.fromisoformat, (first, last, run.started_at, run.finished_at))
    if end - begin > (stop - start) * _BURST:
        return ""
    return f", all between {first[:19]}Z and {last[11:19] if last[:10] == first[:10] else last[:19]}Z"


def repeated(loops: Sequence[Repeat], run: RunPart) -> Iterable[Draft]:
    """One draft per failing step; one for all others that ran over and over in as many traces: they are one loop."""
    by_loop = sorted(loops, key=_loop)
    for _, members in groupby(by_loop, key=_loop):
        steps = sorted(members, key=lambda loop: (-loop.stages, loop.stage_type, loop.name))
        worst = steps[0]
        yield Draft(
            Problem(
                kind="repeats",
                subject=worst.stage_type,
                headline=f"{' and '.join(map(_label, steps[:3]))} ran over and over in {worst.traces:,} of "
                f"{count(run.traces, 'trace')}, up to {worst.most:,} times{_why(worst)}.",
                advice="What ends the loop? Give it a bound, a growing pause, and a way out that says that it gave up.",
                impact=impact("repeats", share(worst.traces, run.traces)),
                examples=worst.examples,
            )
        )


def _loop(loop: Repeat) -> tuple[int, str, str]:
    return (-loop.traces, loop.stage_type, loop.name) if loop.failing else (-loop.traces, "", "")


def _label(loop: Repeat) -> str:
    return quoted(loop.stage_type) + (f" {quoted(loop.name)}" if loop.name not in {"", loop.stage_type} else "")


def _why(loop: Repeat) -> str:
    if not loop.failing:
        return f" where {number(loop.usual)} is usual"
    return f", failing with {_said(loop)}"


def _said(failed: ErrorPart | Repeat) -> str:
    """The error and its message."""
    said = f": {first_line(failed.message)}" if failed.message else ""
    return (first_line(failed.error_type) or "an error") + said


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
                    headline=f"{quoted(item.stage_type)} hangs under {quoted(item.parent_type)}, which had ended "
                    f"before it began, in {item.traces:,} of {count(item.of, 'trace')}: its parent is most likely "
                    "wrong.",
                    advice="The context of the ended span was never detached: end it in the `with` block or the "
                    "`finally` that attached it. Self times and the stage tree of these traces are wrong until then.",
                    impact=impact("late_child", share(item.traces, item.of)),
                    examples=shown,
                )
            )
