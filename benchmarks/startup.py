"""From process start to the first acknowledged export, and memory at rest: what one more server costs."""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from .client import Connection, Refused
from .figures import Figure, at_most
from .options import Options
from .place import work_directory
from .traces import Generator

_SECONDS, _MEGABYTES = 1.5, 120
_TRIES, _QUICK_TRIES = 5, 2
_POLL_S, _IDLE_S, _GIVE_UP_S = 0.005, 3.0, 60.0


def run(options: Options) -> list[Figure]:
    """Medians over some starts on an empty SQLite file."""
    payloads = Generator(seed=2).payloads(_QUICK_TRIES if options.quick else _TRIES)
    measured = [_start_once(payload) for payload in payloads]
    seconds = [first for first, _ in measured]
    detail = "each start: " + ", ".join(f"{value:.2f}" for value in seconds) + " s; SQLite, empty"
    return [
        at_most("start to first accepted export", statistics.median(seconds), _SECONDS, "s", detail),
        at_most("idle RSS of serve", statistics.median(rss for _, rss in measured), _MEGABYTES, "MB"),
    ]


def _start_once(payload: bytes) -> tuple[float, float]:
    """Seconds until the first export is acknowledged, and resident megabytes three idle seconds later."""
    port = _free_port()
    with work_directory() as directory:
        started = time.perf_counter()
        with _serving(directory, port) as process:
            _export_when_up(process, port, payload, started + _GIVE_UP_S)
            seconds = time.perf_counter() - started
            time.sleep(_IDLE_S)
            return seconds, _resident(process.pid) / 1e6


@contextmanager
def _serving(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "evalvault_otel", "serve", "--db", str(directory / "bench.db")]
    command += ["--grpc", f"127.0.0.1:{port}", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0"]
    with (directory / "server.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()


def _export_when_up(process: subprocess.Popen[bytes], port: int, payload: bytes, deadline: float) -> None:
    """Try every 5 ms. The port is asked first, because gRPC waits far longer than that after a refused connection."""
    while process.poll() is None and time.perf_counter() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            with Connection(f"127.0.0.1:{port}") as connection:
                connection.export(payload)
        except (OSError, Refused):
            time.sleep(_POLL_S)
        else:
            return
    raise RuntimeError(f"the server accepted nothing (exit code {process.poll()})")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _resident(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(member.memory_info().rss for member in (process, *process.children(recursive=True)))
