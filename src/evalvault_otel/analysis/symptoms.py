"""What shows in a run beside errors, times and scores: failed checks, drift, loops, stages that hang wrongly."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..store.reads import Queries
from ..store.records import Run
from ..store.symptoms import Check, LateChildren
from .drift import Drift, drifts
from .repeats import LEAST, LEAST_FAILURES, Repeat, repeats


@dataclass(frozen=True, slots=True)
class Symptoms:
    """What was found; the drifts by stage type."""

    checks: Sequence[Check]
    drifts: Sequence[Drift]
    repeats: Sequence[Repeat]
    late_children: Sequence[LateChildren]


def symptoms(store: Queries, run: Run, examples: int) -> Symptoms:
    """The symptoms of a run, each with so many examples."""
    return Symptoms(
        checks=store.checks(run.run_id, examples),
        drifts=drifts(store.windows(run.run_id, run.first_ns, run.last_ns)),
        repeats=repeats(store.loops(run.run_id, LEAST, LEAST_FAILURES), examples),
        late_children=store.late_children(run.run_id, examples),
    )
