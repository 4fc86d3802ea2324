"""Where the time of a run goes: the stages that traces wait for, and those that are slow now and then."""

import math
from collections.abc import Sequence
from typing import Final

from ..model import StageEvent
from ..store.reads import Queries
from ..store.records import Outliers, SlowTrace, StageTypeStats
from .figures import duration, rounded, share
from .report_model import Bar, Bottleneck, Example, SlowTracePart
from .summary import path_shares

# A stage is slow when it takes this many times what is typical for its type, and not only by a moment of noise.
_SLOW_FACTOR: Final = 3.0
_NOISE_MS: Final = 1.0
_RARE_SIGMA: Final = 3.5
# A tenth of a normal distribution is below its mean by this many deviations.
_TENTH_SIGMA: Final = 1.2816
_DIVIDED: Final = 5.0
_ABOVE_TENTH: Final = 1.5
# Of fewer stages nobody knows what is typical.
_FEWEST_STAGES: Final = 8
# Below both, a type costs too little time to be called a bottleneck.
_SMALLEST_SHARE: Final = 0.05
_SMALLEST_SLOW_SHARE: Final = 0.01
_NS_PER_MS: Final = 1_000_000


def bottlenecks(store: Queries, run_id: str, types: Sequence[StageTypeStats], examples: int) -> list[Bottleneck]:
    """Stage types that cost a real part of the time, the dearest first, by share of the path and by slow exceptions."""
    bounds = {stats.stage_type: bound for stats in types if (bound := slow_bound(stats)) is not None}
    typical = [(name, *bound) for name, bound in bounds.items()]
    slow = {found.stage_type: found for found in store.outliers(run_id, typical, examples)} if typical else {}
    shares = path_shares(types)
    whole = sum(stats.self_ms for stats in types)
    found = [
        _bottleneck(s, shares[s.stage_type], whole, slow.get(s.stage_type), bounds.get(s.stage_type))
        for s in types
        if s.self_ms > 0
    ]
    costly = [b for b in found if b.critical_path_share >= _SMALLEST_SHARE or b.slow_share >= _SMALLEST_SLOW_SHARE]
    return sorted(costly, key=lambda b: (-max(b.critical_path_share, b.slow_share), b.stage_type))


def slow_bound(stats: StageTypeStats) -> tuple[float, float] | None:
    """What is typical for a stage type, and from where on a stage is slow, in milliseconds; None for a few stages.

    The bound follows the spread of the quicker half, which exceptions do not touch: where times differ by nature (a
    log-normal, as long answers give), a stage is slow beyond 3.5 of its deviations. Where the quickest tenth takes less
    than a fifth of the median there are two kinds of stages, and the quick kind is what is typical.
    """
    half, tenth = stats.self_p50_ms, stats.self_p10_ms
    if half is None or tenth is None or stats.timed < _FEWEST_STAGES:
        return None
    divided = half > tenth * _DIVIDED and half > tenth + _NOISE_MS
    typical = tenth * _ABOVE_TENTH if divided else half
    sigma = math.log(half / tenth) / _TENTH_SIGMA if tenth > 0 and not divided else 0.0
    return typical, max(typical * _SLOW_FACTOR, typical * math.exp(_RARE_SIGMA * sigma), typical + _NOISE_MS)


def _bottleneck(
    stats: StageTypeStats, path_share: float, whole_ms: float, slow: Outliers | None, bound: tuple[float, float] | None
) -> Bottleneck:
    typical_ms = bound[0] if bound else stats.self_p50_ms or 0.0
    p50, p95 = stats.p50_ms or 0.0, stats.p95_ms or 0.0
    shown = slow.examples if slow else ()
    return Bottleneck(
        stage_type=stats.stage_type,
        count=stats.count,
        critical_path_share=path_share,
        self_ms=rounded(stats.self_ms),
        p50_ms=rounded(p50),
        p95_ms=rounded(p95),
        max_ms=rounded(stats.max_ms or 0.0),
        tail_ms=rounded(p95 - p50),
        typical_self_ms=rounded(typical_ms),
        slow_count=slow.count if slow else 0,
        slow_excess_ms=rounded(slow.excess_ms) if slow else 0.0,
        slow_share=share(slow.excess_ms, whole_ms) if slow else 0.0,
        slow_above_ms=rounded(bound[1]) if bound else 0.0,
        examples=[Example(place.trace_id, place.span_id, place.stage_id, duration(ms)) for place, ms in shown],
    )


def slowest_traces(store: Queries, run_id: str, limit: int) -> list[SlowTracePart]:
    """The slowest traces of a run with their stages on the clock."""
    slowest = store.slowest_traces(run_id, limit)
    return [_slow_trace(slow, store.trace_stages(slow.part.trace_id, run_id)) for slow in slowest]


def _slow_trace(slow: SlowTrace, stages: Sequence[StageEvent]) -> SlowTracePart:
    return SlowTracePart(
        trace_id=slow.part.trace_id,
        root_span_id=slow.root_span_id,
        name=slow.part.name,
        duration_ms=rounded(slow.duration_ms),
        errors=slow.part.errors,
        waterfall=[_bar(stage, slow.part.started_ns, depth) for stage, depth in in_tree_order(stages)],
    )


def _bar(stage: StageEvent, begin_ns: int, depth: int) -> Bar:
    started = begin_ns if stage.started_ns is None else stage.started_ns
    return Bar(
        stage_type=stage.stage_type,
        stage_name=stage.stage_name,
        span_id=stage.span_id,
        depth=depth,
        offset_ms=rounded((started - begin_ns) / _NS_PER_MS),
        duration_ms=None if stage.derived else rounded(stage.duration_ms),
        status=stage.status,
    )


def in_tree_order(stages: Sequence[StageEvent]) -> list[tuple[StageEvent, int]]:
    """Stages with their depth, parents before children, siblings in the order given. No stage is lost or repeated."""
    known = {stage.stage_id for stage in stages}
    children: dict[str | None, list[StageEvent]] = {}
    for stage in stages:
        parent = stage.parent_stage_id if stage.parent_stage_id in known else None
        children.setdefault(parent, []).append(stage)
    ordered: list[tuple[StageEvent, int]] = []
    seen: set[str] = set()
    # A circle of parents hangs on no top: its stages come last, as tops of their own.
    for top in [*children.get(None, ()), *stages]:
        stack = [(top, 0)]
        while stack:
            stage, depth = stack.pop()
            if stage.stage_id not in seen:
                seen.add(stage.stage_id)
                ordered.append((stage, depth))
                stack += [(child, depth + 1) for child in reversed(children.get(stage.stage_id, ()))]
    return ordered
