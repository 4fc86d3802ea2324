"""Five times as much as the server can take: an open loop over gRPC and HTTP, with clients that never slow down.

Usable by tests: `storm` is the load, `Storm` what came of it.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from tests.support.server import Server

from .attempt import attempt
from .database import Database
from .driver import drive, latencies, offer, wait_assembled
from .figures import Figure, at_least, at_most
from .load import Sent
from .options import Options
from .serving import serving
from .traces import SPANS_PER_EXPORT

RSS_MB, ACK_TIMEOUT_S = 400, 8.0
_TIMES = 5
_NAMES = (
    "server RSS at 5x capacity",
    "slowest accepted export at 5x capacity",
    "accepted at 5x capacity / maximum",
    "refusals without a hint at 5x capacity",
    "acknowledged exports lost at 5x capacity",
)
# Per transport. A request that waits takes one of them, so this many is also the most that may wait at once.
_CONNECTIONS = 48
_LEAST_RATIO = 0.5
_QUICK_S, _MAXIMUM_S, _QUICK_MAXIMUM_S = 8.0, 8.0, 3.0
_SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Storm:
    """`maximum` is the rate in spans/s without overload, `rss_mb` the most seen of the server, `lost` exports."""

    maximum: float
    sent: Sent
    rss_mb: float
    lost: int


def run(options: Options) -> list[Figure]:
    """Memory, latency, throughput, hints and losses."""
    return attempt(_NAMES, lambda: _figures(_QUICK_S if options.quick else options.overload_s, quick=options.quick))


def _figures(seconds: float, *, quick: bool) -> list[Figure]:
    with serving() as (server, database):
        found = storm(server, database, _QUICK_MAXIMUM_S if quick else _MAXIMUM_S, seconds)
    sent = found.sent
    accepted = len(sent.answers_ms)
    detail = f"{accepted} exports accepted, {sent.refused} refused, {sent.unsent} more were due and could not be sent"
    rates = f"{sent.rate:,.0f} spans/s accepted, without overload {found.maximum:,.0f}"
    slowest = max(sent.answers_ms, default=0.0) / 1000
    return [
        at_most(_NAMES[0], found.rss_mb, RSS_MB, "MB", f"{seconds:.0f} s"),
        at_most(_NAMES[1], slowest, ACK_TIMEOUT_S + 1, "s", f"{latencies(sent.answers_ms or [0.0])}; {detail}"),
        at_least(_NAMES[2], sent.rate / found.maximum, _LEAST_RATIO, "", rates),
        at_most(_NAMES[3], sent.unhinted, 0, "", "; ".join(sorted(sent.refusals))),
        at_most(_NAMES[4], found.lost, 0, ""),
    ]


def storm(server: Server, database: Database, maximum_s: float, seconds: float) -> Storm:
    """Find the maximum, then offer five times as much, half of it over each transport, and look what is stored."""
    maximum = drive(server, database, exports=0, seconds=maximum_s, warmup=8).sent.rate
    rate = _TIMES * maximum / SPANS_PER_EXPORT / 2
    load = {"exports": 0, "seconds": seconds, "rate": rate, "connections": _CONNECTIONS, "warmup": 0}
    with most_memory(server) as rss:
        sent = offer(server, database, [load | {"transport": transport} for transport in ("grpc", "http")]).sent
    wait_assembled(database)
    return Storm(maximum, sent, max(rss), lost_exports(database, sent.stamps))


def lost_exports(database: Database, stamps: Sequence[str]) -> int:
    """How many exports of these stamps are not stored as a whole."""
    counted = database.query("SELECT substr(trace_id, 17), count(*) FROM span GROUP BY substr(trace_id, 17)")
    whole = {stamp for stamp, spans in counted if spans == SPANS_PER_EXPORT}
    return len(set(stamps) - whole)


@contextmanager
def most_memory(server: Server) -> Iterator[list[float]]:
    """Resident megabytes of the server, a sample every 50 ms as long as the context lasts."""
    process = psutil.Process(server.process.pid)
    samples = [_megabytes(process)]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            samples.append(_megabytes(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        done.set()
        watcher.join()


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6
