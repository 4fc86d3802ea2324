"""Self time and critical path of a trace's stages.

Self time: a stage's duration without the time in which a child stage ran. Critical path: walking back from the end of
the trace, the child that ended last before the current moment was the one waited for; time in which no such child ran
is the stage's own. Every moment of the trace is counted once, so the shares add up. Source: the definition of Jaeger's
critical path view and of CRISP (Zhang et al., USENIX ATC 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

_MS = 1_000_000
_BY_START, _BY_END = attrgetter("start"), attrgetter("end", "start")


@dataclass(slots=True)
class Interval:
    """A stage on the clock, in nanoseconds, with the stages under it."""

    start: int
    end: int
    children: list["Interval"] = field(default_factory=list)
    critical: int = 0


def duration_ms(stage: Interval) -> float:
    """Milliseconds from start to end."""
    return (stage.end - stage.start) / _MS


def self_ms(stage: Interval) -> float:
    """Milliseconds of `stage` in which none of its children ran; overlapping children count once."""
    if not stage.children:
        return (stage.end - stage.start) / _MS
    covered, reached = 0, stage.start
    for child in sorted(stage.children, key=_BY_START):
        start, end = max(child.start, reached), min(child.end, stage.end)
        if end > start:
            covered += end - start
            reached = end
    return (stage.end - stage.start - covered) / _MS


def mark_critical_path(tops: Sequence[Interval]) -> None:
    """Set `critical` of every interval below `tops`: its own part of the path through the trace."""
    if not tops:
        return
    trace = Interval(min(top.start for top in tops), max(top.end for top in tops), list(tops))
    stack = [(trace, trace.start, trace.end)]
    while stack:
        stage, earliest, latest = stack.pop()
        # A stage counts only while the one that waited for it ran.
        begin, bound = max(stage.start, earliest), min(stage.end, latest)
        now = bound
        if not stage.children:
            stage.critical += max(0, now - begin)
            continue
        for child in sorted(stage.children, key=_BY_END, reverse=True):
            end, start = min(child.end, bound), max(child.start, begin)
            if end > now or start >= end:
                continue
            stage.critical += now - end
            stack.append((child, begin, end))
            now = start
        stage.critical += max(0, now - begin)


def critical_ms(stage: Interval) -> float:
    """Milliseconds of the critical path spent in the stage itself."""
    return stage.critical / _MS
