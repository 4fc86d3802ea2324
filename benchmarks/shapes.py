"""Traces of many shapes, to see that a span costs the same in a trace of 20,000 as in one of 1,000."""

import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Span
from tests.support.traces import at, golden_spans, span

SMALL, LARGE = 1_000, 20_000
_REPEATS = 3
_LONG_NS = 10_000_000_000
_STEPS = [*golden_spans("langchain"), *golden_spans("llamaindex")]


def _span(number: int, parent: int) -> Span:
    """A span with what a step of a golden trace has: of every sixth, nothing."""
    alike = _STEPS[number % len(_STEPS)] if number % 6 else None
    inset = number * 1000
    attributes = {} if alike is None else alike.attributes
    return span(number, parent, attributes, start_ns=at(0) + inset, end_ns=at(0) + _LONG_NS - inset)


def _random_parent(number: int) -> int:
    return random.Random(number).randint(1, number - 1)  # noqa: S311 - reproducible shapes, no secret


# Shape -> the parent of a span; span 1 is the root.
_PARENTS: Mapping[str, Callable[[int], int]] = {
    "flat": lambda _: 1,
    "chain": lambda number: number - 1,
    "comb": lambda number: max(1, number - 2 + number % 2),
    "tree": lambda number: number // 2,
    "random": _random_parent,
    "orphans": lambda _: LARGE + 1,
}


def _trace(shape: str, size: int) -> Sequence[Span]:
    return [_span(1, 0), *(_span(number, _PARENTS[shape](number)) for number in range(2, size + 1))]


def _small(shape: str) -> Sequence[Sequence[Span]]:
    return [_trace(shape, SMALL) for _ in range(LARGE // SMALL)]


def _us_per_span(traces: Sequence[Sequence[Span]]) -> float:
    """The least of some tries: what disturbs only adds."""
    tries = []
    for _ in range(_REPEATS):
        started = time.thread_time()
        kept = [assemble(spans) for spans in traces]
        tries.append(time.thread_time() - started)
        del kept
    return 1e6 * min(tries) / sum(map(len, traces))


def growth() -> Mapping[str, float]:
    """Cost of a span in a large trace divided by that in small ones, by shape.

    Both have as many spans in all, so that both leave the caches of the processor. Without the collector of cycles,
    which the server keeps from running that often as well.
    """
    gc.collect()
    gc.disable()
    try:
        return {shape: _us_per_span([_trace(shape, LARGE)]) / _us_per_span(_small(shape)) for shape in _PARENTS}
    finally:
        gc.enable()
