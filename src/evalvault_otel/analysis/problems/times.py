"""Where time is lost: stages that are slow now and then, and what became another while the run went on."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from ...store.symptoms import WINDOWS, Symptom
from ..drift import WATCHED, Drift
from ..failing import score_text
from ..figures import duration, iso, number, percent
from ..report_model import Bottleneck, Problem
from ..texts import quoted
from .drafts import Draft, impact

# A stage that takes at least this part of the path is where a speed-up would show.
_DOMINATES: Final = 0.5
# Exceptions that cost less than this part of the time are in the table of bottlenecks, not among the findings.
_NOTICED: Final = 0.01
# One or two exceptions may be chance.
_ENOUGH: Final = 3
# A stage that is slow as a rule harms less than one that is slow against the rule.
_USUAL: Final = 0.02
_NAMES: Final = {"tokens_in": "input tokens", "cost_total": "cost"}
_WATCHED_HARM: Final = 0.5


def slow(found: Iterable[Bottleneck], drifting: Collection[str]) -> Iterable[Draft]:
    """Stages that are slow now and then, and the one that traces wait for most; not those that drift."""
    for stage in found:
        if is_sometimes_slow(stage) and stage.stage_type not in drifting:
            yield Draft(_sometimes(stage), Symptom(stage.stage_type, above_ms=stage.slow_above_ms))
        elif stage.critical_path_share >= _DOMINATES:
            yield Draft(_dominating(stage))


def is_sometimes_slow(stage: Bottleneck) -> bool:
    """Whether exceptions cost enough time to be a finding."""
    return stage.slow_share >= _NOTICED


def _sometimes(stage: Bottleneck) -> Problem:
    return Problem(
        kind="slow",
        subject=stage.stage_type,
        headline=f"{quoted(stage.stage_type)} is sometimes slow: {stage.slow_count:,} of {stage.count:,} took more "
        f"than {duration(stage.slow_above_ms)}, where {duration(stage.typical_self_ms)} is usual, in all "
        f"{duration(stage.slow_excess_ms)} longer ({percent(stage.slow_share)} of all time spent).",
        advice="Compare a slow span with a usual one: a cold cache, a retry, a shared resource, a larger input?",
        impact=impact("slow", stage.slow_share * min(stage.slow_count / _ENOUGH, 1.0)),
        examples=stage.examples,
    )


def _dominating(stage: Bottleneck) -> Problem:
    return Problem(
        kind="slow",
        subject=stage.stage_type,
        headline=f"{quoted(stage.stage_type)} takes {percent(stage.critical_path_share)} of the time that traces wait "
        f"(median {duration(stage.p50_ms)}, p95 {duration(stage.p95_ms)}).",
        advice="Nothing else can win more time.",
        impact=impact("slow", stage.critical_path_share * _USUAL),
        examples=stage.examples,
    )


def drifting(found: Iterable[Drift], path_shares: Mapping[str, float], span_ns: tuple[int, int]) -> Iterable[Draft]:
    """One draft per stage type of which something became another."""
    for stage_type, members in groupby(found, key=lambda drift: drift.stage_type):
        moved = _told(list(members), path_shares)
        begin = span_ns[0] + moved[0].part * ((span_ns[1] - span_ns[0]) // WINDOWS + 1)
        yield Draft(_drifted(stage_type, moved, begin, path_shares), Symptom(stage_type, from_ns=begin))


def _told(moved: Sequence[Drift], path_shares: Mapping[str, float]) -> list[Drift]:
    """What moved, its causes first: more input is dearer and makes the ratio of tokens another."""
    named = {drift.name for drift in moved}
    kept = [drift for drift in moved if not (drift.name == "token_ratio" and "tokens_in" in named)]
    order = {"tokens_in": 0, "cost_total": 1}
    return sorted(kept, key=lambda drift: (order.get(drift.name, 2), -_harm(drift, path_shares), drift.metric_name))


def _harm(drift: Drift, path_shares: Mapping[str, float]) -> float:
    if drift.name in WATCHED:
        return drift.change * _WATCHED_HARM
    return drift.change * (path_shares.get(drift.stage_type, 0.0) if drift.name == "latency_ms" else 1.0)


def _drifted(stage_type: str, moved: Sequence[Drift], begin_ns: int, path_shares: Mapping[str, float]) -> Problem:
    first = moved[0]
    pace = "little by little" if first.gradual else f"from about {iso(begin_ns)[:19]}Z on"
    return Problem(
        kind="drift",
        subject=stage_type,
        headline=f"{quoted(stage_type)} changed while the run went on, {pace}: {', '.join(map(_moved, moved[:2]))}.",
        advice=_advice(first),
        impact=impact("drift", _harm(first, path_shares)),
        examples=[],
    )


def _moved(drift: Drift) -> str:
    way = "rose" if drift.after > drift.before else "fell"
    if drift.name == "latency_ms":
        return f"it became slower, from {duration(drift.before)} to {duration(drift.after)} on average"
    said = [
        number(x) if drift.name in WATCHED else score_text(drift.metric_name, x) for x in (drift.before, drift.after)
    ]
    return f"{_NAMES.get(drift.name) or quoted(drift.metric_name)} {way} from {said[0]} to {said[1]} on average"


def _advice(drift: Drift) -> str:
    if drift.name == "tokens_in":
        if drift.after < drift.before:
            return (
                "Does the context still reach the model? Look for a token budget, fewer chunks or a changed template."
            )
        return "What made the prompt longer: more or longer chunks, the history, a changed template?"
    if drift.name == "latency_ms":
        return "What grows or fills up: an index, a cache that no longer hits, a queue, a connection pool?"
    return "Compare an early trace with a late one: the index, the documents, the model or the traffic is another."
