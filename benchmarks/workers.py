"""Spans per second with several server processes beside those with one, on PostgreSQL, both under the same load."""

from .attempt import attempt
from .driver import Watched, latencies, measured_rate
from .figures import Figure, at_least
from .options import Options
from .serving import serving

_RATE, _RATIO = "ingest spans/s with several workers", "several workers / one worker"
_GENERATORS = 2
_SECONDS, _QUICK_SECONDS = 16.0, 3.0


def run(options: Options) -> list[Figure]:
    """The rate, and its ratio to one process in the same run. A refused request makes both void."""
    return attempt([_RATE, _RATIO], lambda: _figures(options))


def _figures(options: Options) -> list[Figure]:
    one, first = _measure(1, quick=options.quick)
    many, second = _measure(options.workers, quick=options.quick)
    detail = f"--workers {options.workers}: {_describe(second)}; no errors"
    how = f"--workers 1: {one:,.0f} spans/s, {_describe(first)}"
    return [Figure(_RATE, many, "spans/s", detail=detail), at_least(_RATIO, many / one, 1.0, "", how)]


def _measure(workers: int, *, quick: bool) -> tuple[float, Watched]:
    loads = [{"exports": 0, "seconds": _QUICK_SECONDS if quick else _SECONDS}] * _GENERATORS
    with serving("--workers", str(workers)) as (server, database):
        return measured_rate(server, database, loads)


def _describe(watched: Watched) -> str:
    cpu = ", ".join(f"{name} {value:.0f}" for name, value in watched.cpu_us.items())
    return (
        f"{_GENERATORS} load generators, latency {latencies(watched.sent.latencies_ms)}; CPU µs per span: {cpu}; "
        f"other programs took {watched.others:.0%} of the machine"
    )
