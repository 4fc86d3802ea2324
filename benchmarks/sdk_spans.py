"""What the application side costs its host: time per span, memory while the receiver is away, the end of the program.

Cost is the CPU time of the program's own thread, of start and end of a span, beyond that without any span processor;
both processors have an exporter that does nothing.
"""

import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from evalvault_otel.sdk.processor import EvalVaultSpanProcessor

from .figures import Figure, at_most, skipped, void
from .options import Options
from .packages import OFFLINE, fresh_python, pip
from .place import ROOT, work_directory

_RATIO, _MEGABYTES, _DELAY_S, _IMPORT_MS, _PACKAGES = 1.3, 64, 5.0, 150, 2
_SPANS_A_ROUND = 400
_ATTRIBUTES: dict[str, Any] = {
    "evalvault.stage.type": "retrieval",
    "evalvault.retrieval.query": "what does the policy say about water damage?",
    "evalvault.retrieval.doc_ids": tuple(f"doc-{number}" for number in range(5)),
    "evalvault.retrieval.scores": (0.9, 0.8, 0.7, 0.6, 0.5),
    "evalvault.retrieval.top_k": 5,
}
_AWAY = "http://127.0.0.1:9"
_HEAVY = ("grpc", "fastapi", "psycopg", "requests")
_PLAIN = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")

_MEMORY = """
import sys
from opentelemetry import trace
import evalvault_otel as ev
handle = ev.instrument(sys.argv[1])
tracer = trace.get_tracer("bench")
def offer(number):
    for index in range(number):
        tracer.start_span("retrieval", attributes={"query": f"{index} " + "q" * 200, "top_k": 5}).end()
offer(100)
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
before = peak()
offer(int(sys.argv[2]))
after = peak()
counts = handle.processor.counts()
handle.shutdown(0)
print((after - before) / 1000, counts.dropped, counts.waiting)
"""
_END = """
import sys, time
from opentelemetry import trace
import evalvault_otel as ev
ev.instrument(sys.argv[1])
for number in range(2000):
    trace.get_tracer("bench").start_span(str(number)).end()
print(time.time(), flush=True)
"""
_IMPORT = """
import json, sys, time
began = time.perf_counter()
import evalvault_otel
seconds = time.perf_counter() - began
from evalvault_otel import instrument
print(json.dumps([1000 * seconds, 1000 * (time.perf_counter() - began), sorted(sys.modules)]))
"""


class _Nothing(SpanExporter):
    """Takes everything."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - as the SDK calls it
        return SpanExportResult.SUCCESS


def run(options: Options) -> list[Figure]:
    """All figures of the application side that need no server."""
    return [_cost(options), _memory(options), _unreachable(), _hanging(), _import(), _packages(options)]


def _cost(options: Options) -> Figure:
    rounds = 20 if options.quick else 100
    none, batch, ours = _providers(None, BatchSpanProcessor, EvalVaultSpanProcessor)
    taken: list[list[float]] = [[], [], []]
    for _ in range(rounds):
        for provider, times in zip((none, batch, ours), taken, strict=True):
            times.append(_round(provider))
            provider.force_flush()
    base, theirs, mine = (1e6 * statistics.median(times) for times in taken)
    for provider in (none, batch, ours):
        provider.shutdown()
    detail = f"a span without processor {base:.1f} us, BatchSpanProcessor +{theirs - base:.2f}, ours +{mine - base:.2f}"
    return at_most("our processor against BatchSpanProcessor", (mine - base) / (theirs - base), _RATIO, "times", detail)


def _providers(*kinds: Callable[[SpanExporter], SpanProcessor] | None) -> list[TracerProvider]:
    made = []
    for kind in kinds:
        made.append(TracerProvider(shutdown_on_exit=False))
        if kind is not None:
            made[-1].add_span_processor(kind(_Nothing()))
    return made


def _round(provider: TracerProvider) -> float:
    """Seconds of this thread per span."""
    tracer = provider.get_tracer("bench")
    began = time.thread_time()
    for _ in range(_SPANS_A_ROUND):
        tracer.start_span("retrieval", attributes=_ATTRIBUTES).end()
    return (time.thread_time() - began) / _SPANS_A_ROUND


def _memory(options: Options) -> Figure:
    offered = 100_000 if options.quick else 1_000_000
    grown, dropped, waiting = _said(_MEMORY, _AWAY, str(offered)).split()
    detail = f"{offered:,} spans offered, the receiver away: {int(dropped):,} dropped, {int(waiting):,} waiting"
    return at_most("memory of spans that cannot be sent", float(grown), _MEGABYTES, "MB", detail)


def _unreachable() -> Figure:
    delay_s = -float(_said(_END, _AWAY)) + time.time()
    return at_most("end of a program, nobody listens", delay_s, _DELAY_S, "s", "2000 spans waiting")


def _hanging() -> Figure:
    """A listener that never accepts: connections are made by the kernel, answers never come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        delay_s = -float(_said(_END, f"http://127.0.0.1:{listener.getsockname()[1]}")) + time.time()
    # The interpreter itself needs a moment to end, after the time that is ours.
    return at_most("end of a program, receiver hangs", delay_s, _DELAY_S + 0.5, "s", "5 s are the default")


def _import() -> Figure:
    said = [json.loads(_said(_IMPORT)) for _ in range(5)]
    heavy = [name for name in _HEAVY if name in said[0][2]]
    with_instrument = statistics.median(one[1] for one in said)
    detail = f"with instrument {with_instrument:.0f} ms; of {', '.join(_HEAVY)} imported then: {heavy or 'none'}"
    return at_most("import evalvault_otel", statistics.median(one[0] for one in said), _IMPORT_MS, "ms", detail)


def _packages(options: Options) -> Figure:
    name = "packages of the plain install"
    if options.quick:
        return skipped(name, "takes long; left out with --quick")
    with work_directory() as directory:
        python = fresh_python(directory)
        counts = []
        for wanted in (_PLAIN, (str(ROOT),)):
            installed = pip(python, "install", "--quiet", "--retries", "1", *wanted)
            if installed.returncode:
                last = " ".join(installed.stderr.strip().splitlines()[-1:])
                return (skipped if re.search(OFFLINE, installed.stderr) else void)(name, last)
            counts.append(_listed(python))
    return at_most(name, len(counts[1] - counts[0]), _PACKAGES, "", " ".join(sorted(counts[1] - counts[0])))


def _listed(python: Path) -> set[str]:
    return {row["name"].lower() for row in json.loads(pip(python, "list", "--format", "json").stdout)}


def _said(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
