"""How long a person waits for the summary and the debug report of a run with 100,000 stages, on PostgreSQL."""

import statistics
import time
import urllib.request

from tests.support.server import Server, running_server

from .attempt import attempt
from .database import Database, empty_database
from .driver import LoadFailed, drive, wait_assembled
from .figures import Figure, at_most
from .options import Options
from .place import work_directory
from .traces import STAGES_PER_TRACE, TRACES_PER_EXPORT

_LIMITS_MS = {"summary": 500, "debug": 1_500}
_STAGES, _QUICK_STAGES = 100_000, 10_000
_WARMUPS, _REPEATS = 2, 5
_RUN = "benchmark"


def run(options: Options) -> list[Figure]:
    """Medians of warm requests."""
    return attempt(
        [_name(route) for route in _LIMITS_MS], lambda: _figures(_QUICK_STAGES if options.quick else _STAGES)
    )


def _name(route: str) -> str:
    return f"GET /api/stage/{route}"


def _figures(stages: int) -> list[Figure]:
    with (
        work_directory() as directory,
        empty_database("postgres", directory) as database,
        running_server(database.url, directory / "server.log") as server,
    ):
        stored = _fill(server, database, stages)
        return [_figure(server, route, stored) for route in _LIMITS_MS]


def _fill(server: Server, database: Database, stages: int) -> int:
    """Load traces of one run through the server until it has `stages` stages; how many it has then."""
    exports = -(-stages // (STAGES_PER_TRACE * TRACES_PER_EXPORT))
    drive(server, database, exports=exports, warmup=0, run=_RUN)
    wait_assembled(database)
    database.query("ANALYZE")
    stored = database.counts().stages
    if stored < stages:
        raise LoadFailed(f"only {stored} stages of {stages}")
    return stored


def _figure(server: Server, route: str, stored: int) -> Figure:
    url = server.url(f"/api/stage/{route}/{_RUN}")
    times = [_get_ms(url) for _ in range(_WARMUPS + _REPEATS)]
    milliseconds = statistics.median(ms for ms, _ in times[_WARMUPS:])
    detail = f"{stored:,} stages; first request {times[0][0]:.0f} ms; answer of {times[0][1] / 1000:.1f} KB"
    return at_most(_name(route), milliseconds, _LIMITS_MS[route], "ms", detail)


def _get_ms(url: str) -> tuple[float, int]:
    """Milliseconds until the whole answer is there, and its size."""
    started = time.perf_counter()
    with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - our own server
        size = len(answer.read())
    return 1000 * (time.perf_counter() - started), size
