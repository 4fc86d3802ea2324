"""`serve`: the receivers, the assembler and the query API in one process, until a signal."""

import gc
import logging
import signal
import sys
import threading
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..settings import load
from .options import with_settings


@with_settings
def serve(**options: Any) -> None:
    """Receive OTLP, keep it, answer questions about it. Stops on Ctrl-C or SIGTERM.

    Prints `ready grpc=… http=… api=… db=…` on standard error when it accepts.

    Example: `evalvault-otel serve --db postgresql://me@localhost/traces`
    """
    from ..server.app import build

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = load(options)
    server = build(settings)
    stop = _on_signals()
    server.start()
    _tune_interpreter(settings.db)
    addresses = " ".join(f"{name}={without_password(value)}" for name, value in server.addresses.items())
    sys.stderr.write(f"ready {addresses}\n")
    sys.stderr.flush()
    stop.wait()
    server.stop()


def _tune_interpreter(db: str) -> None:
    """Fewer pauses for cycles, and shorter turns where a thread waits for another process.

    A request makes a hundred thousand records, hardly any of them part of a cycle. The writer waits for PostgreSQL
    hundreds of times in a commit, and would get the interpreter back up to 5 ms late each time; SQLite never waits.
    """
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 50, 1000)
    if db.startswith("postgres"):
        sys.setswitchinterval(_SWITCH_INTERVAL_S)


_GC_THRESHOLD = 500_000
_SWITCH_INTERVAL_S = 0.001


def _on_signals() -> threading.Event:
    """An event set by SIGINT or SIGTERM; a second signal ends the process at once."""
    stop = threading.Event()

    def handle(number: int, _: object) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop


def without_password(url: str) -> str:
    """A database address fit for showing."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))
