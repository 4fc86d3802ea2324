"""Spans per second that `evalvault-otel remap` assembles again, as a process of its own, on each database."""

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from evalvault_otel.ingest.grouping import group
from evalvault_otel.store import open_store
from evalvault_otel.wire import protobuf

from .attempt import attempt
from .database import KINDS, Database, empty_database
from .figures import Figure, at_least
from .options import Options
from .place import work_directory
from .traces import Generator

_LEAST = 5_000
_EXPORTS, _QUICK_EXPORTS = 120, 16


@dataclass(frozen=True, slots=True)
class _Measured:
    """What the command says of itself."""

    traces: int
    spans: int
    seconds: float


def run(options: Options) -> list[Figure]:
    """Figures of both databases."""
    return [figure for kind in KINDS for figure in attempt((_name(kind),), partial(_figures, kind, options))]


def _name(kind: str) -> str:
    return f"remap spans/s, {kind}"


def _figures(kind: str, options: Options) -> list[Figure]:
    with work_directory() as directory, empty_database(kind, directory) as database:
        spans = _fill(database, _QUICK_EXPORTS if options.quick else _EXPORTS)
        measured = _remap(database)
    assert measured.spans == spans, f"{measured} of {spans} spans"
    detail = f"{measured.traces:,} traces, {measured.spans:,} spans in {measured.seconds:.1f} s"
    return [at_least(_name(kind), measured.spans / measured.seconds, _LEAST, "spans/s", detail)]


def _fill(database: Database, exports: int) -> int:
    """Store exports as ingest does; gives the number of spans."""
    store = open_store(database.url)
    store.migrate()
    spans = 0
    for payload in Generator(seed=7, start_ns=1_700_000_000_000_000_000).payloads(exports):
        decoded = protobuf.decode(payload)
        store.write(group(decoded.spans).traces, [], 1_700_000_000_000_000_000)
        spans += len(decoded.spans)
    store.close()
    return spans


def _remap(database: Database) -> _Measured:
    command = [sys.executable, "-m", "evalvault_otel", "remap", "--all", "--force", "--json", "--db", database.url]
    said: dict[str, Any] = orjson.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return _Measured(said["traces"], said["spans"], said["seconds"])
