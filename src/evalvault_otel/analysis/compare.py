"""Two runs compared by their stages: test case with test case where both have them, else as distributions.

A metric's value is the mean over a trace (or a test case), so that many stages of one trace count once. What decides is
corrected for the number of metrics (Holm), so that a comparison of two equal runs finds something in at most one of
twenty cases, however many metrics it looks at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from ..assembly.metric_names import direction
from ..errors import InvalidInput
from ..store.comparing import CaseOutcome, Part, UsedAsset, Values
from ..store.reads import Queries
from . import resampling
from .asset_drift import changes
from .compare_model import (
    BETTER,
    CHANGED,
    SAME,
    TOO_FEW,
    WORSE,
    AssetDifference,
    CaseDifference,
    Comparison,
    MetricDifference,
    Side,
    TypeDifference,
)
from .figures import count, iso, rounded, share
from .intervals import newcombe
from .resampling import Difference

_MOST_UNITS: Final = 2_000
_MOST_CASES: Final = 10_000
_SHOWN_CASES: Final = 20
# Cases are compared with themselves when at least this share of either side's is on the other side too.
_ALIGNED_FROM: Final = 0.5
_TAIL: Final = " p95"
_LOWER: Final = frozenset({"trace.latency_ms", "trace.error_rate", "trace.cost"})
LEAST_CHANGE: Final = 0.02
"""A mean that moved by less, relative to the larger, is the same whatever its interval says."""


@dataclass(frozen=True, slots=True)
class _Measured:
    name: str
    difference: Difference | None
    before: float
    after: float
    units: tuple[int, int]
    paired: bool


def compare(store: Queries, baseline: Part, candidate: Part) -> Comparison:
    """Compare two runs, or two parts of runs.

    Raises:
        NotFound: one of the runs is not there.
        InvalidInput: one of the parts holds no trace.
    """
    sides = [_side(store, part, what) for part, what in ((baseline, "baseline"), (candidate, "candidate"))]
    cases = [store.compared_cases(part, _MOST_CASES) for part in (baseline, candidate)]
    aligned = _are_aligned(*cases)
    before, after = (store.compared_values(part, _MOST_UNITS, by_case=aligned) for part in (baseline, candidate))
    metrics = differences(before, after, paired=aligned)
    broken, fixed = _changed_cases(*cases) if aligned else ([], [])
    types = [store.compared_types(part) for part in (baseline, candidate)]
    verdict = _overall(metrics)
    return Comparison(
        baseline=_counted(sides[0], cases[0]),
        candidate=_counted(sides[1], cases[1]),
        aligned=aligned,
        verdict=verdict,
        sentence=_sentence(verdict, metrics, len(broken)),
        metrics=metrics,
        stages=_types(types[0], types[1], sides[0].traces, sides[1].traces),
        stage_types_after=sorted(types[1]),
        cases=[*broken, *fixed][:_SHOWN_CASES],
        cases_broken=len(broken),
        cases_fixed=len(fixed),
        assets=_assets(store.compared_assets(baseline), store.compared_assets(candidate), metrics),
    )


def _side(store: Queries, part: Part, what: str) -> Side:
    store.run(part.run_id)
    traces = store.compared_traces(part)
    if not traces:
        raise InvalidInput(f"the {what} {part.run_id} has no trace in that time")
    return Side(part.run_id, iso(part.since_ns), iso(part.until_ns), traces, 0)


def _counted(side: Side, cases: Sequence[CaseOutcome]) -> Side:
    return Side(side.run_id, side.since, side.until, side.traces, len(cases))


def _are_aligned(before: Sequence[CaseOutcome], after: Sequence[CaseOutcome]) -> bool:
    both = {case.test_case for case in before} & {case.test_case for case in after}
    return bool(both) and len(both) >= _ALIGNED_FROM * max(len(before), len(after))


def differences(before: Values, after: Values, *, paired: bool) -> list[MetricDifference]:
    """Every metric that both sides have, by name; `paired` compares each unit with itself."""
    measured: list[_Measured] = []
    for name in sorted(before.keys() & after.keys()):
        measured += _measured(name, before[name], after[name], paired=paired)
    sure = resampling.holm({one.name: one.difference.probability for one in measured if one.difference is not None})
    return [_judged(one, sure=one.name in sure) for one in measured]


def _measured(name: str, before: Mapping[str, float], after: Mapping[str, float], *, paired: bool) -> list[_Measured]:
    if paired:
        both = sorted(before.keys() & after.keys())
        old, new = [before[unit] for unit in both], [after[unit] for unit in both]
    else:
        old, new = list(before.values()), list(after.values())
    if not (old and new):
        return []
    of = resampling.of_pairs if paired else resampling.of_means
    means = (sum(old) / len(old), sum(new) / len(new))
    found = [_Measured(name, of(old, new), *means, (len(old), len(new)), paired)]
    if name.endswith("latency_ms") and (tail := resampling.of_tails(old, new)) is not None:
        found.append(_Measured(name + _TAIL, tail, tail.before, tail.after, (len(old), len(new)), paired=False))
    return found


def _judged(one: _Measured, *, sure: bool) -> MetricDifference:
    found = one.difference
    difference, largest = one.after - one.before, max(abs(one.before), abs(one.after))
    verdict = TOO_FEW
    if found is not None:
        moved = sure and abs(difference) >= LEAST_CHANGE * largest and difference != 0
        verdict = _direction(one.name, difference) if moved else SAME
    return MetricDifference(
        metric_name=one.name,
        before=rounded(one.before),
        after=rounded(one.after),
        difference=rounded(difference),
        relative=rounded(difference / abs(one.before)) if one.before else None,
        low=None if found is None else rounded(found.low),
        high=None if found is None else rounded(found.high),
        units_before=one.units[0],
        units_after=one.units[1],
        paired=one.paired,
        verdict=verdict,
    )


def _direction(name: str, difference: float) -> str:
    plain = name.removesuffix(_TAIL)
    way = "lower" if plain in _LOWER else direction(plain)
    if way == "neutral":
        return CHANGED
    return BETTER if (difference > 0) == (way == "higher") else WORSE


def _types(old: Mapping[str, int], new: Mapping[str, int], before: int, after: int) -> list[TypeDifference]:
    found = []
    for name in sorted(old.keys() | new.keys()):
        parts = ((old.get(name, 0), before), (new.get(name, 0), after))
        interval = newcombe(*parts)
        if interval is not None and not interval[0] <= 0 <= interval[1]:
            what = "added" if not old.get(name) else "removed" if not new.get(name) else "share"
            found.append(TypeDifference(name, what, share(*parts[0]), share(*parts[1])))
    return found


def _changed_cases(
    before: Sequence[CaseOutcome], after: Sequence[CaseOutcome]
) -> tuple[list[CaseDifference], list[CaseDifference]]:
    """Test cases that failed on one side only: broken ones and fixed ones."""
    old = {case.test_case: case for case in before}
    broken: list[CaseDifference] = []
    fixed: list[CaseDifference] = []
    for case in after:
        was = old.get(case.test_case)
        if was is None or bool(was.failed) == bool(case.failed):
            continue
        what, where = ("broken", broken) if case.failed else ("fixed", fixed)
        where.append(CaseDifference(case.test_case, what, was.trace_id, case.trace_id))
    return broken, fixed


def _assets(
    before: Sequence[UsedAsset], after: Sequence[UsedAsset], metrics: Sequence[MetricDifference]
) -> list[AssetDifference]:
    old, new = _by_asset(before), _by_asset(after)
    found = []
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key, []), new.get(key, [])
        what = "changed" if was and now else "removed" if was else "added"
        used_by = sorted({use.stage_type for use in (*was, *now) if use.stage_type})
        moved = [m.metric_name for m in metrics if m.verdict in _MOVED and m.metric_name.startswith(_prefixes(used_by))]
        found += [AssetDifference(change, what, used_by, moved) for change in changes(*key, was, now)]
    return found


_MOVED: Final = frozenset({BETTER, WORSE, CHANGED})


def _prefixes(stage_types: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{stage_type}." for stage_type in stage_types)


def _by_asset(uses: Sequence[UsedAsset]) -> dict[tuple[str, str], list[UsedAsset]]:
    ordered = sorted(uses, key=lambda use: (use.kind, use.name))
    return {key: list(members) for key, members in groupby(ordered, key=lambda use: (use.kind, use.name))}


def _overall(metrics: Sequence[MetricDifference]) -> str:
    verdicts = {metric.verdict for metric in metrics}
    return next((one for one in (WORSE, BETTER, CHANGED, SAME) if one in verdicts), TOO_FEW)


def _sentence(verdict: str, metrics: Sequence[MetricDifference], broken: int) -> str:
    """What a tired person has to know."""
    by = {one: [metric for metric in metrics if metric.verdict == one] for one in (WORSE, BETTER, CHANGED, TOO_FEW)}
    cases = f" {count(broken, 'test case')} that worked before fails." if broken == 1 else ""
    cases = f" {count(broken, 'test case')} that worked before fail." if broken > 1 else cases
    if verdict == TOO_FEW:
        return f"Too little data to say anything: both sides need at least {resampling.FEWEST} traces.{cases}"
    if verdict == SAME:
        return f"No difference that holds, in {count(len(metrics) - len(by[TOO_FEW]), 'metric')}.{cases}"
    said = [f"{len(by[one])} {one}" for one in (WORSE, BETTER, CHANGED) if by[one]]
    first = max(
        by[WORSE] or by[BETTER] or by[CHANGED], key=lambda metric: (abs(metric.relative or 1.0), metric.metric_name)
    )
    worst = f"Most of all `{first.metric_name}`: {_moved(first)}."
    return f"Of {count(len(metrics), 'metric')}: {', '.join(said)}. {worst}{cases}"


def _moved(metric: MetricDifference) -> str:
    relative = "" if metric.relative is None else f" ({metric.relative:+.0%})"
    return f"{metric.before:g} before, {metric.after:g} now{relative}"
