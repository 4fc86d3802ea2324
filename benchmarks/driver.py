"""Runs load generators against a server and watches what the processes spend meanwhile."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psutil

from tests.support.server import Server

from .database import Database
from .load import Sent, together

_SETTLE_S = 60.0


class LoadFailed(Exception):
    """The load generator ended without a result."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The load's result, and CPU time per acknowledged span in microseconds by process group.

    `others` is the share of the machine (all cores) that programs of no concern to us took meanwhile: a figure
    measured beside a busy neighbour is too low.
    """

    sent: Sent
    cpu_us: Mapping[str, float]
    others: float


Load = Mapping[str, Any]


def drive(server: Server, database: Database, **options: Any) -> Watched:
    """Run a load with options of `benchmarks.load` (`exports=100`, …), all of which must be acknowledged.

    Raises:
        LoadFailed: the generator broke, or a request was refused.
    """
    return drive_all(server, database, [options])


def drive_all(
    server: Server, database: Database, loads: Sequence[Load], meanwhile: Callable[[], object] | None = None
) -> Watched:
    """Run several load generators at once; `meanwhile` runs beside them, and its end is theirs.

    Raises:
        LoadFailed: a generator broke, or a request was refused.
    """
    watched = offer(server, database, loads, meanwhile)
    if watched.sent.refusals or not watched.sent.spans:
        raise LoadFailed(f"refused: {watched.sent.refusals}")
    return watched


def offer(
    server: Server, database: Database, loads: Sequence[Load], meanwhile: Callable[[], object] | None = None
) -> Watched:
    """As `drive_all`, but requests may be refused.

    Raises:
        LoadFailed: a generator broke.
    """
    with ExitStack() as stack:
        processes = [stack.enter_context(_generator(server, options, seed)) for seed, options in enumerate(loads, 1)]
        for process in processes:
            _await_ready(process)
        groups = {
            "server": [psutil.Process(server.process.pid)],
            **_database_process(database),
            "load": [psutil.Process(process.pid) for process in processes],
        }
        before, busy = _spent(groups), _busy_seconds()
        for process in processes:
            _tell(process)
        if meanwhile is not None:
            meanwhile()
            for process in processes:
                _tell(process)
        sent = together([_result(process) for process in processes])
        after, busy = _spent(groups), _busy_seconds() - busy
    ours = {name: after[name] - before[name] for name in after}
    seconds = max(sent.seconds, 1e-3)
    others = max(0.0, busy - sum(ours.values())) / (seconds * (psutil.cpu_count() or 1))
    return Watched(sent, {name: 1e6 * spent / max(sent.spans, 1) for name, spent in ours.items()}, others)


def measured_rate(
    server: Server, database: Database, loads: Sequence[Load], meanwhile: Callable[[], object] | None = None
) -> tuple[float, Watched]:
    """Spans per second, acknowledged, stored and assembled.

    Raises:
        LoadFailed: a request was refused, or what was acknowledged is not all there.
    """
    watched = drive_all(server, database, loads, meanwhile)
    waited = wait_assembled(database)
    return watched.sent.spans / (watched.sent.seconds + waited), watched


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]


def latencies(values: Sequence[float]) -> str:
    """A distribution in one line."""
    p95, p99 = percentile(values, 0.95), percentile(values, 0.99)
    return f"p50 {statistics.median(values):.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms, max {max(values):.0f} ms"


def _generator(server: Server, options: Load, seed: int) -> subprocess.Popen[str]:
    said = {"seed": seed, **options}
    target = server.http if said.get("transport") == "http" else server.grpc
    command = [sys.executable, "-m", "benchmarks.load", "--wait", "--target", target]
    for name, value in said.items():
        command += [f"--{name}", str(value)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _await_ready(process: subprocess.Popen[str]) -> None:
    if process.stdout is None or process.stdout.readline().strip() != "ready":
        raise LoadFailed(f"the load generator ended with code {process.wait()}")


def _tell(process: subprocess.Popen[str]) -> None:
    """A line on its input: the first starts the clock, the second ends the load."""
    if process.stdin is not None and process.poll() is None:
        process.stdin.write("\n")
        process.stdin.flush()


def _result(process: subprocess.Popen[str]) -> Sent:
    answer = process.stdout.readline() if process.stdout is not None else ""
    if not answer:
        raise LoadFailed(f"the load generator ended with code {process.wait()}")
    return Sent(**json.loads(answer))


def wait_assembled(database: Database) -> float:
    """Seconds until every trace is assembled: 0.0 when they all were at the first look.

    Raises:
        LoadFailed: a minute was not enough.
    """
    started = time.perf_counter()
    waited = 0.0
    while unassembled := database.unassembled():
        waited = time.perf_counter() - started
        if waited > _SETTLE_S:
            raise LoadFailed(f"{unassembled} traces still unassembled after {_SETTLE_S} s")
        time.sleep(0.05)
        waited = time.perf_counter() - started
    return waited


def _database_process(database: Database) -> dict[str, list[psutil.Process]]:
    if database.kind == "sqlite":
        return {}
    first_line = "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)"
    return {"postgres": [psutil.Process(int(database.query(first_line)[0][0]))]}


def _spent(groups: Mapping[str, Sequence[psutil.Process]]) -> dict[str, float]:
    return {name: sum(_cpu_seconds(member) for member in group) for name, group in groups.items()}


def _busy_seconds() -> float:
    """CPU time that all programs of the machine have taken so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process and its children, also of those children that ended."""
    total = 0.0
    try:
        members = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return total
    for member in members:
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        total += times.children_user + times.children_system if member is process else 0.0
    return total
