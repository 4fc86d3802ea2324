"""How long a person waits for an answer over HTTP, on PostgreSQL: small and large runs, first and last pages.

A run is loaded through the server and copied inside the database until it is large enough. A figure is the median of
requests for a run that was asked about before and has not changed; its detail says what the same request takes when
the run has just changed and everything is added up anew.
"""

import statistics
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from evalvault_otel.store import cursor
from tests.support.server import Server, running_server

from .attempt import attempt
from .copies import copy_traces, list_traces
from .database import Database, empty_database
from .driver import drive, drive_all, wait_assembled
from .figures import Figure, at_most
from .options import Options
from .place import work_directory
from .traces import SPANS_PER_EXPORT, STAGES_PER_TRACE, TRACES_PER_EXPORT

_SMALL, _LARGE, _MANY = "small", "large", "many-"
_SMALL_STAGES, _LARGE_STAGES, _QUICK_LARGE_STAGES = 10_000, 1_000_000, 100_000
_RUNS, _QUICK_RUNS = 10_000, 1_000
_WARMUPS, _REPEATS, _ANEW = 2, 5, 3
_AT_ONCE = "slowest of these at half the maximum load / without load"
_MEMORY = "memory that the server takes for these"
_MOST_RATIO, _MOST_MIB = 3.0, 100.0
_MAXIMUM_S = 5.0


@dataclass(frozen=True, slots=True)
class _Question:
    """A request, its target in milliseconds, and the run that it adds up, if it does."""

    name: str
    path: str
    limit_ms: float
    run_id: str | None = None


def _questions(last_page: str, trace_id: str) -> list[_Question]:
    """Every figure of this benchmark; the last page of events and one trace are found in the database."""
    answers = [
        _Question(f"{part} of {stages:,} stages", f"/api/stage/{route}/{run_id}", limit, run_id)
        for run_id, stages, limits in ((_SMALL, _SMALL_STAGES, (60, 60, 200)), (_LARGE, _LARGE_STAGES, (1e3, 1e3, 3e3)))
        for (part, route), limit in zip(_PARTS, limits, strict=True)
    ]
    return [
        *answers,
        _Question(f"first page of {_RUNS:,} runs", "/api/runs", 50),
        _Question("first page of events of the large run", f"/api/stage/events/{_LARGE}", 50, _LARGE),
        _Question("last page of them", f"/api/stage/events/{_LARGE}?{last_page}", 50, _LARGE),
        _Question("one trace with its tree", f"/api/traces/{trace_id}", 20),
    ]


_PARTS = (("summary", "summary"), ("metrics", "metrics"), ("debug report", "debug"))


def run(options: Options) -> list[Figure]:
    """Medians of warm requests, their ratio under load, and the memory they took."""
    names = [question.name for question in _questions("", "")]
    return attempt([*names, _AT_ONCE, _MEMORY], lambda: _figures(quick=options.quick))


def _figures(*, quick: bool) -> list[Figure]:
    with work_directory() as directory, empty_database("postgres", directory) as database:
        _fill(database, directory, quick=quick)
        with running_server(database.url, directory / "server.log") as server:
            questions = _questions(_last_page(database), str(database.query("SELECT min(trace_id) FROM trace")[0][0]))
            memory = psutil.Process(server.process.pid)
            before = memory.memory_info().rss
            figures = [_figure(server, database, question) for question in questions]
            grown = (memory.memory_info().rss - before) / 2**20
            figures.append(_under_load(server, database, questions, figures, quick=quick))
    return [*figures, at_most(_MEMORY, grown, _MOST_MIB, "MiB")]


def _fill(database: Database, directory: Path, *, quick: bool) -> None:
    with running_server(database.url, directory / "filling.log") as server:
        for seed, run_id in enumerate((_SMALL, _LARGE)):
            exports = -(-_SMALL_STAGES // (STAGES_PER_TRACE * TRACES_PER_EXPORT))
            drive(server, database, exports=exports, warmup=0, run=run_id, seed=seed)
        wait_assembled(database)
    stages = _QUICK_LARGE_STAGES if quick else _LARGE_STAGES
    with psycopg.connect(database.url, autocommit=True) as connection:
        traces = list_traces(connection, _LARGE)
        for copy in range(1, -(-stages // (traces * STAGES_PER_TRACE))):
            copy_traces(connection, f"large-{copy}", traces, f"'{_LARGE}'")
        runs, copies = _QUICK_RUNS if quick else _RUNS, 0
        while runs > 0:
            copies += 1
            copy_traces(connection, f"many-{copies}", min(runs, traces), f"'{_MANY}{copies}-' || c.place")
            runs -= traces
        connection.execute(_RUN_ROWS.encode())
        connection.execute("DROP TABLE copied")
    database.query("VACUUM ANALYZE")


_RUN_ROWS = f"""
INSERT INTO run (run_id, service, first_ns, last_ns)
SELECT run_id, min(service), min(started_ns), max(finished_ns) FROM run_trace WHERE run_id LIKE '{_MANY}%' GROUP BY 1
"""  # noqa: S608 - our own names


def _last_page(database: Database) -> str:
    """The query of the last page: a cursor that stands a hundred stages before the end of the large run."""
    (last,) = database.query(
        f"SELECT started_ns, stage_id, trace_id FROM stage_event WHERE run_id = '{_LARGE}' AND started_ns IS NOT NULL "  # noqa: S608 - our own names
        "ORDER BY started_ns DESC, stage_id DESC, trace_id DESC OFFSET 100 LIMIT 1"
    )
    return urllib.parse.urlencode({"cursor": cursor.encode(*last)})


def _figure(server: Server, database: Database, question: _Question) -> Figure:
    times = [_timed(server, question.path) for _ in range(_WARMUPS + _REPEATS)]
    milliseconds = statistics.median(ms for ms, _ in times[_WARMUPS:])
    detail = f"answer of {times[0][1] / 1000:.1f} KB"
    if question.run_id:
        anew = [_anew(server, database, question) for _ in range(_ANEW)]
        detail = f"{statistics.median(anew):,.0f} ms when the run has just changed; {detail}"
    return at_most(question.name, milliseconds, question.limit_ms, "ms", detail)


def _anew(server: Server, database: Database, question: _Question) -> float:
    database.query(f"UPDATE run SET change = change + 1 WHERE run_id = '{question.run_id}'")  # noqa: S608 - our own names
    return _timed(server, question.path)[0]


def _under_load(
    server: Server, database: Database, questions: Sequence[_Question], alone: Sequence[Figure], *, quick: bool
) -> Figure:
    most = drive(server, database, exports=0, seconds=_MAXIMUM_S, run="load").sent.rate
    wait_assembled(database)
    slower: dict[str, float] = {}

    def ask() -> None:
        for question, figure in zip(questions, alone, strict=True):
            times = [_timed(server, question.path)[0] for _ in range(_REPEATS if quick else 3 * _REPEATS)]
            slower[question.name] = statistics.median(times) / (figure.value or 1)

    load = {"exports": 0, "seconds": 600.0, "rate": most / SPANS_PER_EXPORT / 2, "seed": 9, "run": "load"}
    drive_all(server, database, [load | {"connections": 8, "warmup": 0}], ask)
    worst = max(slower, key=lambda name: slower[name])
    return at_most(_AT_ONCE, slower[worst], _MOST_RATIO, "", f"{worst}; load of {most / 2:,.0f} spans/s")


def _timed(server: Server, path: str) -> tuple[float, int]:
    """Milliseconds until the whole answer is there, and its size."""
    started = time.perf_counter()
    size = len(_get(server, path))
    return 1000 * (time.perf_counter() - started), size


def _get(server: Server, path: str) -> bytes:
    with urllib.request.urlopen(server.url(path), timeout=120) as answer:  # noqa: S310 - our own server
        return bytes(answer.read())
