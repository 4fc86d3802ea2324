"""The load generator, a process of its own: `python -m benchmarks.load --target 127.0.0.1:4317`.

All requests are made before the clock starts. Each connection sends the next request when its last one is acknowledged.
Prints `measuring` when the clock starts, and at the end one line of JSON with what was acknowledged.
"""

import argparse
import json
import statistics
import threading
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from .client import Connection, Refused
from .traces import SPANS_PER_EXPORT, Generator


@dataclass(frozen=True, slots=True)
class Sent:
    """What was acknowledged. `spans` and `seconds` are those of the measured part; `warmup_spans` came before it."""

    spans: int
    seconds: float
    warmup_spans: int
    bytes_per_span: float
    median_ms: float
    p95_ms: float
    errors: list[str]

    @property
    def rate(self) -> float:
        """Acknowledged spans per second."""
        return self.spans / self.seconds


@dataclass(slots=True)
class _Tally:
    """What one connection did."""

    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    last_ack: float = 0.0


def _send(connection: Connection, payloads: deque[bytes], deadline: float, tally: _Tally) -> None:
    """Send until nothing is left, time is up, or the server refuses."""
    while time.perf_counter() < deadline:
        try:
            payload = payloads.popleft()
        except IndexError:
            return
        started = time.perf_counter()
        try:
            connection.export(payload)
        except Refused as exc:
            tally.errors.append(str(exc))
            return
        tally.last_ack = time.perf_counter()
        tally.latencies.append(tally.last_ack - started)


def _send_all(connections: list[Connection], payloads: deque[bytes], seconds: float) -> tuple[list[_Tally], float]:
    """Send over all connections at once; the tallies, and the time from the start to the last acknowledgement."""
    tallies = [_Tally() for _ in connections]
    started = time.perf_counter()
    threads = [
        threading.Thread(target=_send, args=(connection, payloads, started + seconds, tally))
        for connection, tally in zip(connections, tallies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tallies, max(tally.last_ack for tally in tallies) - started


def run_load(target: str, options: argparse.Namespace) -> Sent:
    """Warm up, then measure."""
    generator = Generator(options.seed, options.run, options.runs, time.time_ns())
    warmup = deque(generator.payloads(options.warmup))
    payloads = deque(generator.payloads(options.exports))
    size = sum(map(len, payloads)) / (len(payloads) * SPANS_PER_EXPORT)
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(target)) for _ in range(options.connections)]
        before, _ = _send_all(connections, warmup, seconds=600)
        print("measuring", flush=True)
        tallies, seconds = _send_all(connections, payloads, options.seconds)
    latencies = [1000 * latency for tally in tallies for latency in tally.latencies] or [0.0]
    return Sent(
        spans=sum(len(tally.latencies) for tally in tallies) * SPANS_PER_EXPORT,
        seconds=seconds,
        warmup_spans=sum(len(tally.latencies) for tally in before) * SPANS_PER_EXPORT,
        bytes_per_span=size,
        median_ms=statistics.median(latencies),
        p95_ms=sorted(latencies)[int(0.95 * (len(latencies) - 1))],
        errors=[error for tally in (*before, *tallies) for error in tally.errors],
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    options: tuple[tuple[str, type, Any, str], ...] = (
        ("--target", str, "127.0.0.1:4317", "gRPC address of the server"),
        ("--connections", int, 4, "connections, each with one request under way"),
        ("--warmup", int, 16, "exports sent before the clock starts"),
        ("--exports", int, 100, "exports made; the load ends when they are used up"),
        ("--seconds", float, 600.0, "the load ends after this time at the latest"),
        ("--run", str, "benchmark", "run id"),
        ("--runs", int, 1, "number of run ids that share the traces"),
        ("--seed", int, 1, "other seeds make other ids"),
    )
    for name, kind, default, text in options:
        parser.add_argument(name, type=kind, default=default, help=f"{text} (default: {default})")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the load and print what came of it."""
    options = _options(arguments)
    print(json.dumps(asdict(run_load(options.target, options))), flush=True)


if __name__ == "__main__":
    main()
