"""The product's server as a process of its own, as a user starts it. Usable by tests and benchmarks."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READY = re.compile(r"^ready grpc=(\S+) http=(\S+) api=(\S+) db=(.*)$", re.MULTILINE)
_POLL_S = 0.01
_READY_S = 30.0
_STOP_S = 20.0


class ServerFailed(Exception):
    """The server did not become ready, or did not stop; the message holds what it wrote to stderr."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. The addresses are `host:port`, `log_path` is the file that receives its stderr."""

    process: subprocess.Popen[bytes]
    grpc: str
    http: str
    api: str
    db: str
    log_path: Path

    @property
    def log(self) -> str:
        """What the server wrote to stderr so far."""
        return self.log_path.read_text(errors="replace")

    def url(self, path: str) -> str:
        """The URL of a path of the query API."""
        return f"http://{self.api}{path}"

    def kill(self) -> None:
        """Kill it without warning (`kill -9`) and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def stop(self, grace_s: float = _STOP_S) -> int:
        """Ask it to stop (SIGTERM) and return its exit code; harmless when it is already gone.

        Raises:
            ServerFailed: it was still there after `grace_s` seconds (and was killed).
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"no exit within {grace_s} s of SIGTERM; stderr:\n{self.log}") from None


def start_server(db: str, log_path: Path, *options: str, env: Mapping[str, str] | None = None) -> Server:
    """Start `evalvault-otel serve` on free loopback ports and return once it is ready.

    `options` are further command line options, `env` further environment variables. Variables of this process whose
    names begin with EVALVAULT_ or OTEL_ are not handed on. The spool is beside the log, the same for all servers there.

    Raises:
        ServerFailed: it ended, or was not ready within 30 s (and was killed).
    """
    command = [sys.executable, "-m", "evalvault_otel", "serve", "--db", db]
    command += [word for name in ("--grpc", "--http", "--api") for word in (name, "127.0.0.1:0")]
    env_of_all = _clean_env({"EVALVAULT_SPOOL": str(log_path.parent / "spool"), **(env or {})})
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env_of_all
        )
    try:
        return _wait_ready(process, log_path)
    except BaseException:
        process.kill()
        process.wait()
        raise


@contextmanager
def running_server(db: str, log_path: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`start_server`, stopped at the end."""
    server = start_server(db, log_path, *options, env=env)
    try:
        yield server
    finally:
        server.stop()


def _clean_env(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVALVAULT_", "OTEL_"))}
    return {**kept, **extra}


def _wait_ready(process: subprocess.Popen[bytes], log_path: Path) -> Server:
    deadline = time.monotonic() + _READY_S
    log = ""
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        log = log_path.read_text(errors="replace")
        ready = _READY.search(log)
        if ready:
            grpc, http, api, db = ready.groups()
            return Server(process, grpc, http, api, db, log_path)
        if ended:
            raise ServerFailed(f"the server ended with code {process.returncode}; stderr:\n{log}")
        time.sleep(_POLL_S)
    raise ServerFailed(f"the server was not ready within {_READY_S} s; stderr:\n{log}")
