"""Runs the load generator against a server and watches what the processes spend meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from tests.support.server import Server

from .database import Database
from .load import Sent

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


def drive(server: Server, database: Database, **options: object) -> Watched:
    """Run the load with options of `benchmarks.load` (`exports=100`, …) and return what came of it.

    Raises:
        LoadFailed: the generator broke, or a request was refused.
    """
    command = [sys.executable, "-m", "benchmarks.load", "--target", server.grpc]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    groups = {"server": psutil.Process(server.process.pid), **_database_process(database)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        groups["load"] = psutil.Process(process.pid)
        lines = iter(process.stdout or ())
        if next(lines, "").strip() != "measuring":
            raise LoadFailed(f"the load generator ended with code {process.wait()}")
        before, busy = _spent(groups), _busy_seconds()
        answer = next(lines, "")
        after, busy = _spent(groups), _busy_seconds() - busy
    sent = Sent(**json.loads(answer)) if answer else None
    if sent is None or sent.errors or not sent.spans:
        raise LoadFailed(f"refused: {sent.errors}" if sent else "no result")
    ours = {name: after[name] - before[name] for name in after}
    others = max(0.0, busy - sum(ours.values())) / (sent.seconds * (psutil.cpu_count() or 1))
    return Watched(sent, {name: 1e6 * seconds / sent.spans for name, seconds in ours.items()}, others)


def wait_assembled(database: Database) -> float:
    """Seconds until every trace is assembled: 0.0 when they all were at the first look.

    Raises:
        LoadFailed: a minute was not enough.
    """
    started = time.perf_counter()
    waited = 0.0
    while database.counts().unassembled:
        waited = time.perf_counter() - started
        if waited > _SETTLE_S:
            raise LoadFailed(f"traces still unassembled after {_SETTLE_S} s: {database.counts()}")
        time.sleep(0.05)
        waited = time.perf_counter() - started
    return waited


def _database_process(database: Database) -> dict[str, psutil.Process]:
    if database.kind == "sqlite":
        return {}
    first_line = "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)"
    return {"postgres": psutil.Process(int(database.query(first_line)[0][0]))}


def _spent(groups: Mapping[str, psutil.Process]) -> dict[str, float]:
    return {name: _cpu_seconds(group) for name, group in groups.items() if group.is_running()}


def _busy_seconds() -> float:
    """CPU time that all programs of the machine have taken so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process and its children, also of those children that ended."""
    total = 0.0
    for member in [process, *process.children(recursive=True)]:
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        total += times.children_user + times.children_system if member is process else 0.0
    return total
