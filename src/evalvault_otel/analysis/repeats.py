"""Loops: traces in which a step ran far more often than is usual, or failed again and again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from ..store.symptoms import Loop
from .report_model import Example

# So many stages of one type and name, or so many failed ones, are looked at.
LEAST: Final = 5
LEAST_FAILURES: Final = 3
_TIMES_USUAL: Final = 3


@dataclass(frozen=True, slots=True)
class Repeat:
    """A step that ran over and over in `traces`; `failing` where it did because it failed."""

    stage_type: str
    name: str
    traces: int
    most: int
    stages: int
    usual: float
    failing: bool
    error_type: str | None
    message: str | None
    examples: list[Example]


def repeats(loops: Iterable[Loop], examples: int) -> list[Repeat]:
    """The loops of a run, by stage type and name."""
    grouped = groupby(loops, key=lambda loop: (loop.stage_type, loop.name))
    return [found for _, members in grouped if (found := _repeat(list(members), examples)) is not None]


def _repeat(members: Sequence[Loop], examples: int) -> Repeat | None:
    failing = [loop for loop in members if loop.failures >= LEAST_FAILURES]
    found = failing or [loop for loop in members if loop.n >= max(LEAST, _TIMES_USUAL * loop.usual)]
    if not found:
        return None
    worst = found[0]
    return Repeat(
        stage_type=worst.stage_type,
        name=worst.name,
        traces=len(found),
        most=worst.n,
        stages=sum(loop.n for loop in found),
        usual=worst.usual,
        failing=bool(failing),
        error_type=worst.error_type,
        message=worst.error_message,
        examples=[Example(loop.trace_id, None, "", f"{loop.n} times") for loop in found[:examples]],
    )
