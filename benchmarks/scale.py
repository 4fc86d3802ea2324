"""Does ingest slow down as the database fills, and does it go on while old traces are removed? PostgreSQL.

The rate is measured on an empty database and again with many spans stored. In between, what the first measurement
stored is copied inside the database, as traces and runs with new ids, until there are enough: all tables and indexes
grow as they would by ingest. Then `db prune` removes a tenth while a load goes on.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.server import Server, running_server

from .attempt import attempt
from .copies import Connection, copy_traces, list_traces
from .database import Database, empty_database
from .driver import LoadFailed, Watched, latencies, measured_rate
from .figures import Figure, at_least
from .options import Options
from .place import work_directory
from .traces import SPANS_PER_TRACE

_SCALE = "rate with many spans stored / rate on an empty database"
_PRUNE = "rate while a tenth is pruned / rate before"
_LEAST_SCALE, _LEAST_PRUNE = 0.85, 0.7
_SECONDS, _QUICK_SECONDS = 20.0, 4.0
_QUICK_STORED = 50_000
_PRUNED_SHARE = 10
_OLD = "2020-01-01"
_BEFORE = "2021-01-01"


def run(options: Options) -> list[Figure]:
    """The two ratios."""
    return attempt([_SCALE, _PRUNE], lambda: _figures(options))


def _figures(options: Options) -> list[Figure]:
    seconds = _QUICK_SECONDS if options.quick else _SECONDS
    stored = min(options.stored, _QUICK_STORED) if options.quick else options.stored
    with work_directory() as directory, empty_database("postgres", directory) as database:
        with _measuring(database, directory) as server:
            empty, _ = measured_rate(server, database, [_load(1, seconds)])
        filled_s = fill(database, stored)
        with _measuring(database, directory) as server:
            full, watched = measured_rate(server, database, [_load(2, seconds)])
            before, _ = measured_rate(server, database, [_load(3, seconds)])
            during, pruned = _prune_under_load(server, database)
    detail = (
        f"{empty:,.0f} spans/s on an empty database, {full:,.0f} with {stored:,} spans stored (copied in "
        f"{filled_s:.0f} s); latency {latencies(watched.sent.latencies_ms)}; other programs took {watched.others:.0%}"
    )
    how = f"{before:,.0f} spans/s before, {during.sent.rate:,.0f} while {pruned}; {latencies(during.sent.latencies_ms)}"
    return [
        at_least(_SCALE, full / empty, _LEAST_SCALE, "", detail),
        at_least(_PRUNE, during.sent.rate / before, _LEAST_PRUNE, "", how),
    ]


@contextmanager
def _measuring(database: Database, directory: Path) -> Iterator[Server]:
    """A fresh server, on a database that has nothing left to write from before."""
    database.query("VACUUM ANALYZE")
    database.query("CHECKPOINT")
    with running_server(database.url, directory / "server.log") as server:
        yield server


def _load(seed: int, seconds: float) -> dict[str, object]:
    return {"exports": 0, "seconds": seconds, "seed": seed, "run": f"load-{seed}"}


def _prune_under_load(server: Server, database: Database) -> tuple[Watched, str]:
    """The load beside `db prune` of the traces that are marked as old, and what was removed."""
    said: dict[str, object] = {}

    def prune() -> None:
        command = [sys.executable, "-m", "evalvault_otel", "db", "prune", "--db", database.url]
        ended = subprocess.run([*command, "--before", _BEFORE, "--json"], capture_output=True, text=True, check=False)
        if ended.returncode:
            raise LoadFailed(f"db prune ended with {ended.returncode}: {ended.stderr.strip()}")
        said.update(json.loads(ended.stdout))

    started = time.perf_counter()
    _, watched = measured_rate(server, database, [_load(4, 600.0)], prune)
    removed = said["removed"]
    return watched, f"pruning {removed} in {time.perf_counter() - started:.0f} s (all of it, assembly included)"


def fill(database: Database, wanted: int) -> float:
    """Copy what is stored until there are `wanted` spans, and mark a tenth of all traces as old; seconds it took."""
    started = time.perf_counter()
    with psycopg.connect(database.url, autocommit=True) as connection:
        list_traces(connection)
        ((spans,),) = connection.execute("SELECT count(*) FROM span").fetchall()
        missing = wanted - spans
        for copy in range(1, -(-missing // spans) + 1):
            _copy(connection, copy, min(spans, missing - (copy - 1) * spans) // SPANS_PER_TRACE)
        connection.execute("DROP TABLE copied")
        old = f"extract(epoch FROM timestamp '{_OLD}')::bigint * 1000000000"
        # Those that were stored first, as it is with what is really old.
        first = f"SELECT trace_id FROM trace ORDER BY ctid LIMIT (SELECT count(*) / {_PRUNED_SHARE} FROM trace)"  # noqa: S608 - a number
        connection.execute(f"UPDATE trace SET received_ns = {old} WHERE trace_id IN ({first})".encode())  # noqa: S608 - own words
    return time.perf_counter() - started


def _copy(connection: Connection, copy: int, count: int) -> None:
    copy_traces(connection, str(copy), count, f"source.run_id || '-copy-{copy}'")
    connection.execute(
        f"CREATE TEMP TABLE runs AS SELECT * FROM run WHERE run_id NOT LIKE '%-copy-%'; "  # noqa: S608 - a number
        f"UPDATE runs SET run_id = run_id || '-copy-{copy}'; "
        f"INSERT INTO run SELECT * FROM runs; DROP TABLE runs".encode()
    )
