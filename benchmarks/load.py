"""The load generator, a process of its own: `python -m benchmarks.load --target 127.0.0.1:4317`.

Closed loop, unless told otherwise: each connection sends the next request when its last one is acknowledged, and ends
when one is refused. With `--rate` it is an open loop: requests are due at fixed times, whatever became of those before,
and latencies count from the time at which a request was due (no coordinated omission).

Requests are made before the clock starts. Prints `ready`, then (with `--wait`, after a line on standard input) starts
the clock; a second line, or the end of the input, ends the load. At the end one line of JSON says what became of it.
"""

import argparse
import itertools
import json
import re
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from .client import Client, Refused, connect
from .payloads import Recycler, encoded
from .traces import SPANS_PER_EXPORT, Generator

_RECYCLED = 12
# A request of the open loop that is so late is not sent at all: then the generator, not the server, is what is slow.
_TOO_LATE_S = 1.0
_NUMBER = re.compile(r"\b\d{4,}")


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a load. `spans` and `seconds` are those of the measured part; `warmup_spans` came before it.

    `latencies_ms` are those of acknowledged requests, from when each was due; `answers_ms` from when it was sent, which
    differs in an open loop only. `refusals` counts answers by their text (with N for large numbers), `unhinted` those
    without a time to come back, `unsent` requests of an open loop that the generator was too slow for. `stamps` end
    the trace ids of the acknowledged requests of an endless load.
    """

    spans: int
    seconds: float
    warmup_spans: int
    bytes_per_span: float
    latencies_ms: list[float]
    answers_ms: list[float]
    refusals: dict[str, int]
    unhinted: int
    unsent: int
    stamps: list[str]

    @property
    def rate(self) -> float:
        """Acknowledged spans per second."""
        return self.spans / self.seconds

    @property
    def refused(self) -> int:
        """Requests that were not acknowledged."""
        return sum(self.refusals.values())


def together(parts: Sequence[Sent]) -> Sent:
    """Loads that ran at the same time as one."""
    return Sent(
        spans=sum(part.spans for part in parts),
        seconds=max(part.seconds for part in parts),
        warmup_spans=sum(part.warmup_spans for part in parts),
        bytes_per_span=sum(part.bytes_per_span for part in parts) / len(parts),
        latencies_ms=[latency for part in parts for latency in part.latencies_ms],
        answers_ms=[latency for part in parts for latency in part.answers_ms],
        refusals=dict(sum((Counter(part.refusals) for part in parts), Counter())),
        unhinted=sum(part.unhinted for part in parts),
        unsent=sum(part.unsent for part in parts),
        stamps=[stamp for part in parts for stamp in part.stamps],
    )


@dataclass(slots=True)
class _Tally:
    """What one connection did."""

    latencies: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    stamps: list[str] = field(default_factory=list)
    unhinted: int = 0
    unsent: int = 0
    last_ack: float = 0.0


@dataclass(slots=True)
class _Clock:
    """When the load began and when it ends; `stop` ends it early."""

    started: float
    seconds: float
    stop: threading.Event

    def over(self) -> bool:
        return self.stop.is_set() or time.perf_counter() >= self.started + self.seconds


_Next = Callable[[], tuple[bytes, str]]


def _export(client: Client, following: _Next, tally: _Tally, due: float | None = None) -> None:
    """Send one request and note what became of it.

    Raises:
        IndexError: there is none left.
    """
    payload, stamp = following()
    sent = time.perf_counter()
    try:
        client.export(payload)
    except Refused as exc:
        tally.refusals[_NUMBER.sub("N", str(exc))] += 1
        tally.unhinted += not exc.hinted
        return
    tally.last_ack = time.perf_counter()
    tally.answers.append(tally.last_ack - sent)
    tally.latencies.append(tally.last_ack - (sent if due is None else due))
    tally.stamps.append(stamp)


def _one_after_the_other(client: Client, following: _Next, tally: _Tally, clock: _Clock) -> None:
    """Send until nothing is left, time is up, or the server refuses."""
    while not (clock.over() or tally.refusals):
        try:
            _export(client, following, tally)
        except IndexError:
            return


def _at_rate(rate: float) -> Callable[[Client, _Next, _Tally, _Clock], None]:
    """A connection's part in an open loop: it takes the next time that is due, waits for it, sends."""
    numbers = itertools.count()

    def send(client: Client, following: _Next, tally: _Tally, clock: _Clock) -> None:
        while not clock.over():
            due = clock.started + next(numbers) / rate
            if due >= clock.started + clock.seconds:
                return
            early = due - time.perf_counter()
            if early > 0:
                time.sleep(early)
            elif early < -_TOO_LATE_S:
                tally.unsent += 1
                continue
            _export(client, following, tally, due)

    return send


def _run_all(
    send: Callable[[Client, _Next, _Tally, _Clock], None],
    clients: Sequence[Client],
    following: _Next,
    seconds: float,
    stop: threading.Event,
) -> tuple[list[_Tally], float]:
    """Send over all connections at once; the tallies, and the time from the start to the last acknowledgement."""
    tallies = [_Tally() for _ in clients]
    clock = _Clock(time.perf_counter(), seconds, stop)
    threads = [
        threading.Thread(target=send, args=(client, following, tally, clock))
        for client, tally in zip(clients, tallies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tallies, max(0.0, max(tally.last_ack for tally in tallies) - clock.started)


def run_load(options: argparse.Namespace) -> Sent:
    """Warm up, wait for the word, then measure."""
    generator = Generator(options.seed, options.run, options.runs, time.time_ns())
    warmup = _ready(generator, options.warmup, options.encoding)
    following: _Next
    if options.exports:
        following = _ready(generator, options.exports, options.encoding)
    else:
        following = Recycler(list(generator.exports(_RECYCLED)), options.encoding).fresh
    send = _at_rate(options.rate) if options.rate else _one_after_the_other
    stop = threading.Event()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connect(options.target, options.transport, options.encoding))
            for _ in range(options.connections)
        ]
        before, _ = _run_all(_one_after_the_other, clients, warmup, 600, stop)
        print("ready", flush=True)
        if options.wait:
            sys.stdin.readline()
            threading.Thread(target=_stop_when_told, args=(stop,), daemon=True).start()
        tallies, seconds = _run_all(send, clients, following, options.seconds, stop)
    return _sent(before, tallies, seconds, encoded(next(generator.exports(1)), options.encoding))


def _stop_when_told(stop: threading.Event) -> None:
    sys.stdin.readline()
    stop.set()


def _ready(generator: Generator, count: int, encoding: str) -> _Next:
    payloads = deque(encoded(request, encoding) for request in generator.exports(count))
    return lambda: (payloads.popleft(), "")


def _sent(before: list[_Tally], tallies: list[_Tally], seconds: float, sample: bytes) -> Sent:
    return Sent(
        spans=sum(len(tally.latencies) for tally in tallies) * SPANS_PER_EXPORT,
        seconds=seconds,
        warmup_spans=sum(len(tally.latencies) for tally in before) * SPANS_PER_EXPORT,
        bytes_per_span=len(sample) / SPANS_PER_EXPORT,
        latencies_ms=[round(1000 * latency, 2) for tally in tallies for latency in tally.latencies],
        answers_ms=[round(1000 * latency, 2) for tally in tallies for latency in tally.answers],
        refusals=dict(sum((tally.refusals for tally in (*before, *tallies)), Counter())),
        unhinted=sum(tally.unhinted for tally in (*before, *tallies)),
        unsent=sum(tally.unsent for tally in tallies),
        stamps=[stamp for tally in tallies for stamp in tally.stamps if stamp],
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    options: tuple[tuple[str, type, Any, str], ...] = (
        ("--target", str, "127.0.0.1:4317", "address of the receiver"),
        ("--transport", str, "grpc", "grpc or http"),
        ("--encoding", str, "protobuf", "protobuf, or json over HTTP"),
        ("--connections", int, 4, "connections, each with one request under way"),
        ("--warmup", int, 16, "exports sent before the clock starts"),
        ("--exports", int, 100, "exports made; the load ends when they are used up; 0: endless, out of a few"),
        ("--rate", float, 0.0, "exports per second, sent when they are due; 0: as fast as they are acknowledged"),
        ("--seconds", float, 600.0, "the load ends after this time at the latest"),
        ("--run", str, "benchmark", "run id"),
        ("--runs", int, 1, "number of run ids that share the traces"),
        ("--seed", int, 1, "other seeds make other ids"),
    )
    for name, kind, default, text in options:
        parser.add_argument(name, type=kind, default=default, help=f"{text} (default: {default})")
    parser.add_argument("--wait", action="store_true", help="start the clock at a line on standard input")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the load and print what came of it."""
    print(json.dumps(asdict(run_load(_options(arguments)))), flush=True)


if __name__ == "__main__":
    main()
