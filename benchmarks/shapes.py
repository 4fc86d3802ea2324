"""Traces of many shapes, to see that a span costs the same in a trace of 20,000 as in one of 1,000."""

import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Span
from tests.support.traces import at, span

SMALL, LARGE = 1_000, 20_000
_REPEATS = 3
_KINDS = ("RETRIEVER", "LLM", "CHAIN", "TOOL", "RERANKER", None)
_LONG_NS = 10_000_000_000


def _span(number: int, parent: int) -> Span:
    kind = _KINDS[number % len(_KINDS)] if parent else "CHAIN"
    attributes = {} if kind is None else {"openinference.span.kind": kind}
    inset = number * 1000
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


def _us_per_span(spans: Sequence[Span]) -> float:
    """The least of some tries: what disturbs only adds."""
    tries = []
    for _ in range(_REPEATS):
        started = time.thread_time()
        assemble(spans)
        tries.append(time.thread_time() - started)
    return 1e6 * min(tries) / len(spans)


def growth() -> Mapping[str, float]:
    """Cost of a span in a large trace divided by that in a small one, by shape.

    Without the collector of cycles, which the server keeps from running that often as well.
    """
    gc.collect()
    gc.disable()
    try:
        return {shape: _us_per_span(_trace(shape, LARGE)) / _us_per_span(_trace(shape, SMALL)) for shape in _PARENTS}
    finally:
        gc.enable()
