"""What the calls of the application side cost the thread that makes them, in CPU time, and the import."""

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from opentelemetry.sdk.trace import TracerProvider

import evalvault_otel as ev
from evalvault_otel.sdk import compat

from .figures import Figure, at_most
from .options import Options

_ASSET_US, _STAGE_RATIO, _IMPORT_MS = 5, 1.5, 150
_REPEATS, _QUICK_REPEATS = 40, 5
_STAGES, _BLOCKS, _USES = 2000, 20, 90
_MANY = 2000


def run(options: Options) -> list[Figure]:
    """Stages and plain spans take turns, so that both see the same machine: the median of their ratios.

    Of series of calls the fastest tenth counts, since whatever else runs on the machine only adds to them.
    """
    provider = TracerProvider()
    compat.use_provider(provider)
    repeats = _QUICK_REPEATS if options.quick else _REPEATS
    tracer = provider.get_tracer("benchmark")

    def plain() -> None:
        with tracer.start_as_current_span("retrieval bm25"):
            pass

    def stage() -> None:
        with ev.stage("retrieval", name="bm25"):
            pass

    gc.collect()
    gc.freeze()
    pairs = [(_us(stage, _STAGES), _us(plain, _STAGES)) for _ in range(repeats)]
    uses = [_asset_us(_USES) for _ in range(repeats * _BLOCKS)]
    many = [_asset_us(_MANY) for _ in range(repeats)]
    gc.unfreeze()
    compat.use_provider(None)
    middle = statistics.median(uses)
    stage_us, plain_us = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [
        at_most("ev.asset()", _fast(uses), _ASSET_US, "µs", f"with version and origin; median {middle:.1f} µs"),
        Figure(f"ev.asset(), {_MANY:,} in one stage", _fast(many), "µs"),
        at_most(
            "ev.stage() / tracer.start_as_current_span()",
            statistics.median(ours / theirs for ours, theirs in pairs),
            _STAGE_RATIO,
            "",
            f"{stage_us:.1f} and {plain_us:.1f} µs, enter and exit, no processor; ours has two attributes",
        ),
        at_most("import evalvault_otel, with run, stage and asset", _import_ms(repeats // 4), _IMPORT_MS, "ms"),
    ]


def _fast(times: list[float]) -> float:
    return sorted(times)[len(times) // 10]


def _us(call: Callable[[], object], times: int) -> float:
    started = time.thread_time_ns()
    for _ in range(times):
        call()
    return (time.thread_time_ns() - started) / times / 1000


def _asset_us(times: int) -> float:
    with ev.stage("execute"):
        ev.asset("query", "first")
        started = time.thread_time_ns()
        for _ in range(times):
            ev.asset("query", "find_policies", version=2, origin="registry")
        return (time.thread_time_ns() - started) / times / 1000


_IMPORT = """
import time
started = time.perf_counter()
import evalvault_otel as ev
ev.run, ev.stage, ev.asset  # each is imported when it is first asked for
print((time.perf_counter() - started) * 1000)
"""


def _import_ms(times: int) -> float:
    command = [sys.executable, "-c", _IMPORT]
    done = [subprocess.run(command, check=True, capture_output=True) for _ in range(max(times, 3))]
    return statistics.median(float(one.stdout) for one in done)
