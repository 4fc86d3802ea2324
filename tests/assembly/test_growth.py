"""What a span costs does not grow with its trace, whatever the trace looks like.

The shapes are of the kind that makes a careless step quadratic: deep, wide, in circles, or with something different in
every span. `make bench ARGS=assembly` measures ordinary shapes more exactly.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Resource, Span, SpanLink
from tests.support.traces import KIND, TRACE_ID, at, sid, span

_SMALL, _LARGE = 500, 8_000
# A quadratic step makes it up to 16 times; caches and other work of the machine, below 2.
_MOST = 3.0


def _leaf(number: int, **more: object) -> Span:
    return span(number, 1 if number > 1 else 0, {KIND: "LLM", **more})


def _inner(number: int, kinds: Sequence[str]) -> Span:
    inset = number * 1000
    kind = {KIND: kinds[number % len(kinds)], "llm.token_count.prompt": 5}
    return span(number, number - 1, kind, start_ns=at(0) + inset, end_ns=at(60_000) - inset)


def _timeless(number: int) -> Span:
    """The first quarter has no times and nests, the others are below its last."""
    if number <= _SMALL // 4:
        return span(number, number - 1, {KIND: "AGENT"}, start_ns=0, end_ns=0)
    return span(number, _SMALL // 4, {KIND: "TOOL"})


def _own_type(number: int) -> Span:
    if number < 3:
        return span(number, number - 1, {KIND: "CHAIN"}, name="rerank")
    return span(number, number - 1, {"evalvault.stage.type": f"custom.t{number}"})


def _own_resource(number: int) -> Span:
    resource = Resource(str(number), {"service.name": f"service-{number}"})
    return span(number, 1 if number > 1 else 0, {KIND: "LLM", "input.value": '{"a": "' + "x" * 50}, resource=resource)


def _again(number: int) -> Span:
    before = SpanLink(TRACE_ID, sid(number - 1), "", {"evalvault.link.type": "retry_of"})
    return span(number, 1 if number > 1 else 0, {KIND: "LLM"}, links=(before,) if number > 1 else ())


def _failed(number: int) -> Span:
    return span(number, 1 if number > 1 else 0, {KIND: "LLM"}, status_code=2, start=number, end=number + 1)


_SHAPES: Mapping[str, Callable[[int], Span]] = {
    "agents and calls in each other": lambda number: _inner(number, ("AGENT", "LLM")),
    "tools in each other": lambda number: _inner(number, ("TOOL",)),
    "one step wrapped again and again": lambda number: _inner(number, ("RETRIEVER",)),
    "every span its own parent": lambda number: span(number, number, {KIND: "LLM"}),
    "every span a test case": lambda number: _leaf(number, **{"evalvault.test_case.id": f"case-{number}"}),
    "every span a run": lambda number: _leaf(number, **{"evalvault.run.id": f"run-{number}"}),
    "every span a session": lambda number: _leaf(number, **{"session.id": f"session-{number}"}),
    "every span a resource": _own_resource,
    "every span a type, below a guess": _own_type,
    "no times above": _timeless,
    "stages in pairs around each other": lambda number: _leaf(number, **{"evalvault.stage.parent.id": sid(number ^ 1)}),
    "one stage id for all": lambda number: _leaf(number, **{"evalvault.stage.id": "same"}),
    "every call failed": _failed,
    "every call a retry": _again,
}


@pytest.mark.parametrize("shape", _SHAPES)
def test_a_span_costs_as_much_in_a_large_trace(shape: str) -> None:
    small = [[_SHAPES[shape](number) for number in range(1, _SMALL + 1)]] * (_LARGE // _SMALL)
    large = [_SHAPES[shape](number) for number in range(1, _LARGE + 1)]
    assert _seconds([large]) < _MOST * _seconds(small)


def _seconds(traces: Sequence[Sequence[Span]]) -> float:
    tries = []
    gc.disable()  # what it does grows with all that the process holds
    try:
        for _ in range(2):
            started = time.thread_time()
            for spans in traces:
                assemble(spans)
            tries.append(time.thread_time() - started)
    finally:
        gc.enable()
    return min(tries)
