"""Acknowledged means durable: the server is killed around the moment of an acknowledgement, again and again.

Four connections keep sending, over gRPC and over HTTP in turn, so that each kill falls into the middle of other
transactions. Whatever was acknowledged must be in the database right afterwards, looked up without the product.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.server import Server, running_server, start_server

from .attempt import attempt
from .client import Refused, connect
from .database import KINDS, Database, empty_database
from .driver import wait_assembled
from .figures import Figure, at_most
from .options import Options
from .place import work_directory
from .traces import SPANS_PER_TRACE, Generator

CONNECTIONS = 4
TRANSPORTS = ("grpc", "http")
_QUICK_ROUNDS = 4
_MOST_ACKS = 8
# About as long as a transaction: half of the kills fall somewhere into the next ones.
_LONGEST_DELAY_S = 0.08
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Export:
    """A request and the traces in it, all of them whole."""

    payload: bytes
    trace_ids: tuple[str, ...]


def make_exports(generator: Generator, count: int) -> list[Export]:
    """Further requests of a generator."""
    exports = []
    for request in generator.exports(count):
        spans = request.resource_spans[0].scope_spans[0].spans
        ids = dict.fromkeys(span.trace_id.hex() for span in spans)
        exports.append(Export(request.SerializeToString(), tuple(ids)))
    return exports


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill: so many seconds after so many acknowledgements over a transport."""

    transport: str
    acks: int
    delay_s: float = 0.0


def moments(rounds: int, seed: int) -> Iterator[Moment]:
    """Reproducible moments, the transports in turn; half of them at an acknowledgement, half some time after it."""
    rng = random.Random(seed)  # noqa: S311 - reproducible moments, no secret
    for number in range(rounds):
        delay_s = rng.uniform(0, _LONGEST_DELAY_S) if number // 2 % 2 else 0.0
        yield Moment(TRANSPORTS[number % 2], rng.randint(1, _MOST_ACKS), delay_s)


def send_and_kill(server: Server, exports: Iterable[Export], moment: Moment) -> list[str]:
    """Send over four connections, kill the server at the moment; ids of all acknowledged traces."""
    waiting = deque(exports)
    acknowledged: list[Export] = []
    target = server.grpc if moment.transport == "grpc" else server.http

    def send() -> None:
        with connect(target, moment.transport, "protobuf") as client:
            while waiting:
                export = waiting.popleft()
                try:
                    client.export(export.payload)
                except Refused:
                    return
                acknowledged.append(export)
                if len(acknowledged) >= moment.acks:
                    enough.set()

    enough = threading.Event()
    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    enough.wait(_PATIENCE_S)
    time.sleep(moment.delay_s)
    server.kill()
    for thread in threads:
        thread.join()
    return [trace_id for export in acknowledged for trace_id in export.trace_ids]


def lost_spans(database: Database, trace_ids: list[str]) -> int:
    """How many spans of these whole traces are not in the database."""
    return len(trace_ids) * SPANS_PER_TRACE - database.spans_of(trace_ids)


def run(options: Options) -> list[Figure]:
    """Lost spans per database."""
    rounds = _QUICK_ROUNDS if options.quick else options.rounds
    return [figure for kind in KINDS for figure in attempt([_name(kind)], partial(_figures, kind, rounds))]


def _name(kind: str) -> str:
    return f"acknowledged spans lost by kill -9, {kind}"


def _figures(kind: str, rounds: int) -> list[Figure]:
    with work_directory() as directory, empty_database(kind, directory) as database:
        acknowledged, lost = _kill_again_and_again(database, directory, rounds)
    detail = f"{rounds} kills, over gRPC and HTTP in turn; {len(acknowledged) * SPANS_PER_TRACE:,} spans acknowledged"
    return [at_most(_name(kind), lost, 0, "", detail)]


def _kill_again_and_again(database: Database, directory: Path, rounds: int) -> tuple[list[str], int]:
    """All acknowledged traces, and the spans of them that were ever found missing, also after a last restart."""
    generator = Generator(seed=3)
    acknowledged: list[str] = []
    lost = 0
    for moment in moments(rounds, seed=rounds):
        exports = make_exports(generator, _MOST_ACKS + 2 * CONNECTIONS)
        server = start_server(database.url, directory / "server.log")
        trace_ids = send_and_kill(server, exports, moment)
        lost += lost_spans(database, trace_ids)
        acknowledged += trace_ids
    with running_server(database.url, directory / "server.log"):
        wait_assembled(database)
        lost = max(lost, lost_spans(database, acknowledged))
    return acknowledged, lost
