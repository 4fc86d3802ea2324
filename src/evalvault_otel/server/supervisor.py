"""Several receiver processes on the same addresses: started, watched, replaced when they die, drained at the end.

The supervisor is a small process of its own: it opens no database, talks to no client and imports nothing of what the
workers need. The kernel spreads connections over the workers (ADR 0012).
"""

import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from queue import SimpleQueue
from typing import Any, Final, Self

from ..errors import SettingsError, WorkerFailed
from ..settings import Settings, environment_with, join_address, split_address

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_S: Final = 0.1
_LAST_PAUSE_S: Final = 30.0
# After such a life the next worker comes at once, however many died before.
_STEADY_S: Final = 10.0
# What a worker may take beyond `shutdown_s`, which is the time for its requests: it has to leave, too.
_LEAVING_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is to do. `number` tells workers apart, a replacement has that of its predecessor.

    `figures` is the folder in which all workers keep their figures for `/metrics`.
    """

    number: int
    settings: Settings
    figures: str

    def line(self) -> bytes:
        """As it travels to the worker."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """Back from what travelled."""
        said = json.loads(line)
        return cls(said["number"], Settings(**said["settings"]), said["figures"])


@dataclass(frozen=True, slots=True)
class _Ready:
    """A worker accepts."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """A worker is gone, `what` says which and how."""

    what: str
    pause_s: float


@dataclass(frozen=True, slots=True)
class _Stop:
    """Somebody wants an end."""


_Events = SimpleQueue[_Ready | _Ended | _Stop]


def supervise(settings: Settings, ready: Callable[[Mapping[str, str]], None]) -> bool:
    """Run `settings.workers` receivers until SIGTERM or SIGINT; a second signal kills them.

    `ready` gets the addresses once every worker accepts. Returns whether all workers ended by themselves in time.

    Raises:
        SettingsError: the database or the system cannot be shared by several processes.
        OSError: an address is taken.
        WorkerFailed: a worker ended before all were ready for the first time.
    """
    _check(settings)
    with ExitStack() as stack:
        settings = stack.enter_context(_held_addresses(settings))
        figures = stack.enter_context(tempfile.TemporaryDirectory(prefix="evalvault-figures-"))
        events: _Events = SimpleQueue()
        numbers = range(1, settings.workers + 1)
        places = [_Place(Task(number, settings, figures), events) for number in numbers]
        _on_signals(places, events, figures)
        try:
            if _all_ready(places, events):
                ready({name: getattr(settings, name) for name in ("grpc", "http", "api", "db")})
                _until_stop(events)
        finally:
            in_time = _stop(places, settings.shutdown_s + _LEAVING_S)
    return in_time


def _check(settings: Settings) -> None:
    if not settings.db.startswith(("postgres://", "postgresql://")):
        raise SettingsError(
            f"--workers {settings.workers} needs PostgreSQL, because a SQLite file has one writer: "
            "use --db postgresql://user@host/database, or --workers 1"
        )
    if not hasattr(socket, "SO_REUSEPORT"):
        raise SettingsError(
            f"--workers {settings.workers} needs SO_REUSEPORT, which this system lacks: use --workers 1"
        )


def _all_ready(places: Sequence["_Place"], events: _Events) -> bool:
    """Start the workers and wait until each of them accepts; False when a stop is asked for meanwhile.

    Raises:
        WorkerFailed: one of them ended.
    """
    for place in places:
        place.start()
    for _ in places:
        event = events.get()
        if isinstance(event, _Ended):
            raise WorkerFailed(event.what)
        if isinstance(event, _Stop):
            return False
    return True


def _until_stop(events: _Events) -> None:
    while not isinstance(event := events.get(), _Stop):
        if isinstance(event, _Ended):
            _LOG.warning("%s; the next one starts in %g s", event.what, event.pause_s)


def _stop(places: Sequence["_Place"], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    for place in places:
        place.stop()
    ended = [place.ended(deadline) for place in places]
    return all(ended)


def _on_signals(places: Sequence["_Place"], events: _Events, figures: str) -> None:
    asked = False

    def handle(number: int, _: object) -> None:
        nonlocal asked
        if asked:
            for place in places:
                place.kill()
            shutil.rmtree(figures, ignore_errors=True)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked = True
        events.put(_Stop())  # the one kind of queue that a signal handler may use

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


@contextmanager
def _held_addresses(settings: Settings) -> Iterator[Settings]:
    """The settings with the ports really taken, kept for the workers: a socket that does not listen gets no client."""
    with ExitStack() as stack:
        found: dict[str, Any] = {}
        for name in ("grpc", "http", "api"):
            address = getattr(settings, name)
            port = stack.enter_context(closing(_hold(address))).getsockname()[1]
            address = join_address(split_address(address)[0], port)
            if address in found.values():
                raise OSError(f"cannot listen on {address} for {name}: the address is used twice")
            found[name] = address
        yield replace(settings, **found)


def _hold(address: str) -> socket.socket:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    try:
        # First without sharing: two servers that share an address would get each other's clients.
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind((host, port))
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            holder.setsockopt(socket.SOL_SOCKET, option, 1)
        holder.bind((host, port))
    except OSError as exc:
        holder.close()
        raise OSError(f"cannot listen on {address}: {exc.strerror}") from exc
    return holder


class _Place:
    """The place of one worker: a thread watches who is in it, and puts another one there when it dies."""

    def __init__(self, task: Task, events: _Events) -> None:
        self._task = task
        self._environment = environment_with(PROMETHEUS_MULTIPROC_DIR=task.figures)
        self._events = events
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"evalvault-worker-{task.number}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the worker to end; nobody follows it."""
        with self._lock:
            self._stopping.set()
            if self._process is not None:
                self._process.terminate()

    def kill(self) -> None:
        """End the worker at once. For signal handlers: it takes no lock."""
        if self._process is not None:
            self._process.kill()

    def ended(self, deadline: float) -> bool:
        """Whether the worker was gone at `deadline` (of `time.monotonic`); if not, it is killed."""
        if not self._thread.ident:
            return True
        self._thread.join(max(0.0, deadline - time.monotonic()))
        in_time = not self._thread.is_alive()
        if not in_time:
            _LOG.warning("worker %d did not end in time and is killed", self._task.number)
            self.kill()
            self._thread.join()
        return in_time

    def _keep(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            what = self._live()
            if self._stopping.is_set():
                return
            if time.monotonic() - started >= _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            self._events.put(_Ended(what, pause_s))
            if self._stopping.wait(pause_s):
                return
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def _live(self) -> str:
        """One worker from its start to its end; returns what there is to say about that."""
        try:
            process = self._begin()
        except OSError as exc:
            return f"worker {self._task.number} cannot be started: {exc}"
        if process is None:
            return ""
        with process:
            report = _report(process, self._task)
            if "ready" in report:
                self._events.put(_Ready())
            code = process.wait()
        how = report.get("error") or (f"exit code {code}" if code >= 0 else signal.Signals(-code).name)
        return f"worker {self._task.number} (process {process.pid}) ended: {how}"

    def _begin(self) -> "subprocess.Popen[bytes] | None":
        with self._lock:
            if self._stopping.is_set():
                return None
            # A group of its own: Ctrl-C is for the supervisor, which then stops the workers in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "evalvault_otel.server.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=self._environment,
                process_group=0,
            )
            return self._process


def _report(process: "subprocess.Popen[bytes]", task: Task) -> dict[str, Any]:
    """Hand over the task, wait for the one line that the worker has to say; empty if it ends without."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    try:
        process.stdin.write(task.line())
    except BrokenPipeError:
        return {}
    said: dict[str, Any] = json.loads(process.stdout.readline() or "{}")
    return said
