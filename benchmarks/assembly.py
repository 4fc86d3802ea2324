"""What each step of the ingest path costs one thread, in microseconds of CPU per span, without network and database."""

import gc
import statistics
import time
from collections.abc import Callable

from evalvault_otel.assembly import assemble
from evalvault_otel.ingest.grouping import group
from evalvault_otel.ingest.interpreter import collect_seldom
from evalvault_otel.store import rows
from evalvault_otel.values import dumps
from evalvault_otel.wire import protobuf

from . import shapes
from .figures import Figure, at_most
from .options import Options
from .traces import SPANS_PER_EXPORT, Generator

_REPEATS, _QUICK_REPEATS = 15, 3
_EXPORTS = 3
_ASSEMBLE = "assemble"
_ASSEMBLE_US, _GROWTH = 40, 1.5


def run(options: Options) -> list[Figure]:
    """Medians over the repetitions; most have no target, they say where to look."""
    payloads = Generator(seed=4).payloads(_EXPORTS)
    spans = [span for payload in payloads for span in protobuf.decode(payload).spans]
    batches = group(spans).traces
    assemblies = [assemble(batch.spans) for batch in batches]
    steps: dict[str, Callable[[], object]] = {
        "protobuf to Span": lambda: [protobuf.decode(payload) for payload in payloads],
        "group by trace and assemble": lambda: group(spans),
        _ASSEMBLE: lambda: [assemble(batch.spans) for batch in batches],
        "Span to archive row": lambda: [rows.span_row(span, 0) for span in spans],
        "  of which attributes to JSON": lambda: [dumps(span.attributes) for span in spans],
        "Assembly to derived rows": lambda: rows.derived_rows(assemblies),
    }
    repeats = _QUICK_REPEATS if options.quick else _REPEATS
    before = gc.get_threshold()
    collect_seldom()  # as the server does
    costs = {name: _us_per_span(step, repeats) for name, step in steps.items()}
    gc.set_threshold(*before)
    gc.unfreeze()
    figures = [Figure(f"{name}, one thread", cost, "µs/span") for name, cost in costs.items() if name != _ASSEMBLE]
    grown = shapes.growth()
    told = ", ".join(f"{shape} {ratio:.2f}" for shape, ratio in grown.items())
    large = f"a span of {shapes.LARGE:,} / a span of {shapes.SMALL:,}, worst shape"
    return [
        *figures,
        at_most(f"{_ASSEMBLE}, one thread", costs[_ASSEMBLE], _ASSEMBLE_US, "µs/span"),
        at_most(large, max(grown.values()), _GROWTH, "", told),
    ]


def _us_per_span(step: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.thread_time()
        step()
        times.append(time.thread_time() - started)
    return 1e6 * statistics.median(times) / (_EXPORTS * SPANS_PER_EXPORT)
