"""Spans per second that are durable and assembled, the ratio to plain inserts of the same rows, and disk per span."""

from functools import partial

import psutil

from tests.support.server import Server, running_server

from .attempt import attempt
from .baseline import plain_rate
from .database import KINDS, Counts, Database, empty_database
from .driver import LoadFailed, Watched, drive, latencies, wait_assembled
from .figures import Figure, at_least, at_most
from .options import Options
from .place import work_directory
from .traces import ASSETS_PER_TRACE, SPANS_PER_TRACE, STAGES_PER_TRACE

_RATE = {"postgres": 8_000, "sqlite": 5_000}
_RATIO, _DISK_KB = 0.30, 3.5
_SECONDS, _EXPORTS = 16, 256
_QUICK_SECONDS, _QUICK_EXPORTS = 3, 40


def run(options: Options) -> list[Figure]:
    """Figures of both databases."""
    return [figure for kind in KINDS for figure in attempt(_names(kind), partial(_figures, kind, quick=options.quick))]


def _names(kind: str) -> tuple[str, str, str]:
    return f"ingest spans/s, {kind}", f"ingest / plain inserts, {kind}", f"disk per stored span, {kind}"


def _figures(kind: str, *, quick: bool) -> list[Figure]:
    with work_directory() as directory, empty_database(kind, directory) as database:
        with running_server(database.url, directory / "server.log") as server:
            before = _size(database)
            watched, waited = _load(server, database, quick=quick)
            rss = psutil.Process(server.process.pid).memory_info().rss
            counts = database.counts()
        _refuse_if_wrong(counts, watched.sent.spans + watched.sent.warmup_spans)
        disk = (_size(database) - before) / counts.spans
        plain = plain_rate(database, min(counts.spans, watched.sent.spans))
        detail = f"{_describe(watched, waited)}; server RSS {rss / 1e6:.0f} MB; {_version(database)}"
    rate = watched.sent.spans / (watched.sent.seconds + waited)
    names, how = _names(kind), f"plain inserts of the same rows: {plain:,.0f} rows/s"
    first = at_least(names[0], rate, _RATE[kind], "spans/s", detail)
    if kind == "sqlite":
        return [first, Figure(names[1], rate / plain, "", detail=how), Figure(names[2], disk / 1000, "KB")]
    return [first, at_least(names[1], rate / plain, _RATIO, "", how), at_most(names[2], disk / 1000, _DISK_KB, "KB")]


def _load(server: Server, database: Database, *, quick: bool) -> tuple[Watched, float]:
    seconds, exports = (_QUICK_SECONDS, _QUICK_EXPORTS) if quick else (_SECONDS, _EXPORTS)
    watched = drive(server, database, seconds=seconds, exports=exports)
    return watched, wait_assembled(database)


def _size(database: Database) -> int:
    """Bytes of the database: tables, indexes and all else, with everything written out."""
    if database.kind == "sqlite":
        database.query("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(database.query("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")[0][0])
    database.query("CHECKPOINT")
    return int(database.query("SELECT pg_database_size(current_database())")[0][0])


def _refuse_if_wrong(counts: Counts, acknowledged: int) -> None:
    """Raise `LoadFailed` if the figure would be a lie: something acknowledged is not stored or not assembled."""
    traces = acknowledged // SPANS_PER_TRACE
    needs = {
        "spans": (counts.spans, acknowledged),
        "traces": (counts.traces, traces),
        "stages": (counts.stages, traces * STAGES_PER_TRACE),
        "asset uses": (counts.assets, traces * ASSETS_PER_TRACE),
    }
    missing = [f"{has} of {needed} {what}" for what, (has, needed) in needs.items() if has < needed]
    if counts.unassembled:
        missing.append(f"{counts.unassembled} traces not assembled")
    if missing:
        raise LoadFailed("; ".join(missing))


def _describe(watched: Watched, waited: float) -> str:
    sent = watched.sent
    cpu = ", ".join(f"{name} {value:.0f}" for name, value in watched.cpu_us.items())
    return (
        f"{sent.spans:,} spans of {sent.bytes_per_span / 1000:.2f} KB in {sent.seconds:.1f} s"
        f" + {waited:.2f} s until assembled; latency of an export: {latencies(sent.latencies_ms)};"
        f" CPU µs per span: {cpu}; other programs took {watched.others:.0%} of the machine"
    )


def _version(database: Database) -> str:
    if database.kind == "sqlite":
        return "synchronous=FULL"
    version, fsync, buffers = (database.query(f"SHOW {name}")[0][0] for name in _SHOWN)
    return f"PostgreSQL {version}, fsync {fsync}, shared_buffers {buffers}"


_SHOWN = ("server_version", "fsync", "shared_buffers")
