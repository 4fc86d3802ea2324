"""Relays of others as processes of their own: the OpenTelemetry Collector and rotel. They take OTLP and hand it on."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import tool

CONFIGS = Path(__file__).parents[2] / "collector-config"

_POLL_S = 0.02
_READY_S = 30.0
_STOP_S = 20.0
_ANY = "127.0.0.1:0"
_LISTENING = re.compile(r'Starting (GRPC|HTTP) server\t.*"endpoint": "([^"]+)"')


class RelayFailed(Exception):
    """A relay ended early or did not become ready; the message holds what it wrote."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay. `grpc` and `http` are the addresses that it takes OTLP on, as `host:port`."""

    process: subprocess.Popen[bytes]
    grpc: str
    http: str
    log_path: Path

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.log_path.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it without warning (`kill -9`) and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to stop (SIGTERM) and wait; one that does not is killed. Harmless when it is already gone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_for_log(self, text: str, within_s: float = _READY_S) -> None:
        """Return when `text` is in the log.

        Raises:
            RelayFailed: it is not after `within_s` seconds.
        """
        deadline = time.monotonic() + within_s
        while text not in self.log:
            if time.monotonic() > deadline:
                raise RelayFailed(f"no {text!r} within {within_s} s:\n{self.log}")
            time.sleep(_POLL_S)


@contextmanager
def running_collector(config: str, log_path: Path, *changes: str, env: Mapping[str, str]) -> Iterator[Relay]:
    """A Collector with a file of `collector-config/` as it is, on free ports; stopped at the end.

    `env` gives the variables that the file names. `changes` are laid over it, each as a path of keys and a value:
    `exporters::otlp_http/evalvault::encoding: json`.

    Raises:
        RelayFailed: it ended, or was not ready within 30 s.
    """
    # Without its own metrics, as these would listen on a port that is always the same.
    laid_over = ["service::telemetry::metrics::level: none", *changes]
    command = [str(tool("collector")), f"--config={CONFIGS / config}", *(f"--config=yaml:{text}" for text in laid_over)]
    addresses = {"COLLECTOR_OTLP_GRPC": _ANY, "COLLECTOR_OTLP_HTTP": _ANY}
    with _running(command, log_path, {**addresses, **env}) as process:
        _wait_until(lambda: "Everything is ready" in log_path.read_text(), process, log_path)
        listening = dict(_LISTENING.findall(log_path.read_text()))
        yield Relay(process, listening["GRPC"], listening["HTTP"], log_path)


@contextmanager
def running_rotel(log_path: Path, *options: str) -> Iterator[Relay]:
    """A rotel agent with an OTLP exporter, on free ports, `options` as its command line takes them; stopped at the end.

    Raises:
        RelayFailed: it ended, or was not ready within 30 s.
    """
    grpc, http = free_address(), free_address()
    command = [str(tool("rotel")), "start", "--otlp-grpc-endpoint", grpc, "--otlp-http-endpoint", http]
    with _running([*command, "--exporter", "otlp", *options], log_path, {}) as process:
        _wait_until(lambda: _listens(grpc) and _listens(http), process, log_path)
        yield Relay(process, grpc, http, log_path)


@contextmanager
def _running(command: list[str], log_path: Path, env: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVALVAULT_", "OTEL_", "ROTEL_"))}
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**kept, **env})
    try:
        yield process
    finally:
        Relay(process, "", "", log_path).stop()


def _wait_until(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log_path: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RelayFailed(f"not ready (exit code {process.poll()}):\n{log_path.read_text(errors='replace')}")
        time.sleep(_POLL_S)


def free_address() -> str:
    """A loopback address that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
