"""What cannot be known, or only with doubt: findings of assembly that change what the report can say."""

from collections.abc import Iterable, Sequence
from typing import Final

from ..figures import count, share
from ..report_model import EvidencePart, Problem, RunPart
from ..texts import first_line
from .drafts import Draft, impact

_SEVERE: Final = frozenset({"warning", "error"})
_LONGEST: Final = 240
# How bad it is if all traces have it: a trace without its top tells little, one with other clocks has wrong times.
_HARM: Final = {
    "no_root": 0.35,
    "cycle": 0.35,
    "missing_parent": 0.33,
    "attributes_dropped": 0.3,
    "documents_truncated": 0.3,
    "events_dropped": 0.3,
    "values_truncated": 0.2,
    "clock_skew": 0.2,
}
_OTHER: Final = 0.1
# Notes that are a choice or a fact are not among the findings; these may surprise the one who reads the figures.
_NOTED: Final = {"content_off": 0.06, "usage_repeated": 0.06, "no_stages": 0.1}
# The second follows from the first.
_FOLLOWS: Final = {"missing_parent": "no_root", "log_event_without_span": "no_root"}


def lost(found: Sequence[EvidencePart], run: RunPart) -> Iterable[Draft]:
    """One draft per code that matters and does not follow from another."""
    traces = {item.code: item.traces for item in found}
    for item in found:
        cause = _FOLLOWS.get(item.code, "")
        weight = _HARM.get(item.code, _OTHER) if item.severity in _SEVERE else _NOTED.get(item.code, 0.0)
        if weight and traces.get(cause, 0) < item.traces:
            yield Draft(
                Problem(
                    kind="evidence_lost",
                    subject=item.code,
                    headline=f"In {item.traces:,} of {count(run.traces, 'trace')}: "
                    f"{first_line(item.detail, _LONGEST)}.",
                    advice=item.fix or "Until this is settled, figures of these traces may be wrong.",
                    impact=impact("evidence_lost", weight * share(item.traces, run.traces)),
                    examples=item.examples,
                )
            )
