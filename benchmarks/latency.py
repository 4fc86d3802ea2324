"""How long an export takes when the server is half busy: an open loop at half the rate that the server can do.

Requests are due at fixed times. A latency counts from the time at which the request was due, so that a pause of the
server costs all requests that fell into it, not only the one that was under way.
"""

from .attempt import attempt
from .driver import LoadFailed, drive, drive_all, latencies, percentile, wait_assembled
from .figures import Figure, at_most
from .options import Options
from .serving import serving
from .traces import SPANS_PER_EXPORT

_NAMES = tuple(f"{name} of an export of {SPANS_PER_EXPORT} spans at half load" for name in ("p50", "p95", "p99"))
_SHARES = (0.5, 0.95, 0.99)
_P99_MS = 250
_MAXIMUM_S, _QUICK_MAXIMUM_S = 10.0, 3.0
_SECONDS, _QUICK_SECONDS = 30.0, 5.0
# Enough that a connection is always free: the schedule must not wait for answers.
_CONNECTIONS = 16


def run(options: Options) -> list[Figure]:
    """The median, the 95th and the 99th percentile."""
    return attempt(_NAMES, lambda: _figures(quick=options.quick))


def _figures(*, quick: bool) -> list[Figure]:
    with serving() as (server, database):
        closed = {"exports": 0, "seconds": _QUICK_MAXIMUM_S if quick else _MAXIMUM_S}
        most = drive(server, database, **closed).sent.rate
        wait_assembled(database)
        rate = most / SPANS_PER_EXPORT / 2
        load = {"exports": 0, "seconds": _QUICK_SECONDS if quick else _SECONDS, "rate": rate}
        sent = drive_all(server, database, [load | {"connections": _CONNECTIONS, "warmup": 0, "seed": 2}]).sent
    if sent.unsent:
        raise LoadFailed(f"{sent.unsent} requests were not sent in time")
    detail = (
        f"{rate:.1f} exports/s for {sent.seconds:.0f} s ({len(sent.latencies_ms)} exports), half of {most:,.0f} "
        f"spans/s; {latencies(sent.latencies_ms)}"
    )
    values = [percentile(sent.latencies_ms, share) for share in _SHARES]
    return [
        *(Figure(name, value, "ms") for name, value in zip(_NAMES[:2], values[:2], strict=True)),
        at_most(_NAMES[2], values[2], _P99_MS, "ms", detail),
    ]
