"""A server of its own with real traces in it, for who has none running: as a user would start both."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

QUICKSTART = Path(__file__).resolve().parents[1] / "quickstart" / "app.py"
_READY = re.compile(r"^ready grpc=\S+ http=(\S+) api=(\S+)", re.MULTILINE)
_START_S = 30.0


class NotReady(RuntimeError):
    """The server, or what fills it, did not do its work."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where spans go, where answers come from, and the database behind both."""

    endpoint: str
    api: str
    db: str


@contextmanager
def server(db: str, log: Path) -> Iterator[Place]:
    """`evalvault-otel serve` on free ports of this machine, until the end of the block.

    Raises:
        NotReady: it ended, or said nothing for half a minute.
    """
    command = [sys.executable, "-m", "evalvault_otel", "serve", "--db", db]
    for option in ("--grpc", "--http", "--api"):
        command += [option, "127.0.0.1:0"]
    environment = _environment()
    with log.open("w") as errors, subprocess.Popen(command, stderr=errors, env=environment) as process:  # noqa: S603 - our own program
        try:
            yield _ready(process, log, db)
        finally:
            process.terminate()


def _ready(process: "subprocess.Popen[bytes]", log: Path, db: str) -> Place:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _READY.search(log.read_text())
        if found:
            return Place(f"http://{found[1]}", f"http://{found[2]}", db)
        time.sleep(0.05)
    raise NotReady(f"the server did not start:\n{log.read_text()}")


def fill(endpoint: str, run_id: str) -> None:
    """The quickstart application answers its 40 questions: 40 traces to ask about.

    Raises:
        NotReady: it failed.
    """
    environment = {**_environment(), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    command = [sys.executable, str(QUICKSTART), "--run-id", run_id]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own example
    if done.returncode:
        raise NotReady(f"the quickstart application failed:\n{done.stderr}")


def check_run(api: str, run_id: str) -> None:
    """See that there is something to ask about.

    Raises:
        NotReady: the server has no such run.
    """
    try:
        with urllib.request.urlopen(f"{api}/api/runs/{quote(run_id)}", timeout=10):  # noqa: S310 - what the user named
            return
    except urllib.error.HTTPError as exc:
        raise NotReady(f"the server has no run {run_id}: `evalvault-otel runs` lists those that it has") from exc


def _environment() -> dict[str, str]:
    """The variables of this process, without those that are meant for another server or another program's spans."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("EVALVAULT_", "OTEL_"))}
