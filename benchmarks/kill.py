"""Acknowledged means durable: the server is killed the moment an acknowledgement arrives, again and again.

Four connections keep sending, so that each kill falls into the middle of other transactions. Whatever was acknowledged
must be in the database right afterwards, looked up without the product.
"""

import random
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.server import Server, running_server, start_server

from .attempt import attempt
from .client import Connection, Refused
from .database import KINDS, Database, empty_database
from .driver import wait_assembled
from .figures import Figure, at_most
from .place import work_directory
from .traces import SPANS_PER_TRACE, Generator

CONNECTIONS = 4
_TRIES, _QUICK_TRIES = 20, 3
_MOST_ACKS = 8


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


def send_and_kill(server: Server, exports: Iterable[Export], acks: int) -> list[str]:
    """Send over four connections, kill the server at the `acks`-th acknowledgement; ids of all acknowledged traces."""
    waiting = deque(exports)
    acknowledged: list[Export] = []

    def send() -> None:
        with Connection(server.grpc) as connection:
            while waiting:
                export = waiting.popleft()
                try:
                    connection.export(export.payload)
                except Refused:
                    return
                acknowledged.append(export)
                if len(acknowledged) >= acks:
                    server.process.kill()

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.kill()
    return [trace_id for export in acknowledged for trace_id in export.trace_ids]


def lost_spans(database: Database, trace_ids: list[str]) -> int:
    """How many spans of these whole traces are not in the database."""
    return len(trace_ids) * SPANS_PER_TRACE - database.spans_of(trace_ids)


def run(*, quick: bool) -> list[Figure]:
    """Lost spans per database."""
    tries = _QUICK_TRIES if quick else _TRIES
    return [figure for kind in KINDS for figure in attempt([_name(kind)], partial(_figures, kind, tries))]


def _name(kind: str) -> str:
    return f"acknowledged spans lost by kill -9, {kind}"


def _figures(kind: str, tries: int) -> list[Figure]:
    with work_directory() as directory, empty_database(kind, directory) as database:
        acknowledged, lost = _kill_again_and_again(database, directory, tries)
    detail = f"{tries} kills, {len(acknowledged) * SPANS_PER_TRACE:,} spans acknowledged"
    return [at_most(_name(kind), lost, 0, "", detail)]


def _kill_again_and_again(database: Database, directory: Path, tries: int) -> tuple[list[str], int]:
    """All acknowledged traces, and the spans of them that were ever found missing, also after a last restart."""
    rng = random.Random(tries)  # noqa: S311 - reproducible moments, no secret
    generator = Generator(seed=3)
    acknowledged: list[str] = []
    lost = 0
    for _ in range(tries):
        exports = make_exports(generator, _MOST_ACKS + CONNECTIONS)
        server = start_server(database.url, directory / "server.log")
        trace_ids = send_and_kill(server, exports, acks=rng.randint(1, _MOST_ACKS))
        lost += lost_spans(database, trace_ids)
        acknowledged += trace_ids
    with running_server(database.url, directory / "server.log"):
        wait_assembled(database)
        lost = max(lost, lost_spans(database, acknowledged))
    return acknowledged, lost
