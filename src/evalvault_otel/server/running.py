"""A server in this process, from its start to its end."""

import sys
import threading
from collections.abc import Callable

from ..ingest.interpreter import collect_seldom
from .app import Server

_SWITCH_INTERVAL_S = 0.001


def run(server: Server, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Start a server, call `ready` when it accepts, stop it when `stop` is set."""
    server.start()
    _tune_interpreter(server.settings.db)
    ready()
    stop.wait()
    server.stop()


def _tune_interpreter(db: str) -> None:
    """Fewer pauses for cycles, and shorter turns where a thread waits for another process.

    The writer waits for PostgreSQL hundreds of times in a commit, and would get the interpreter back up to 5 ms late
    each time; SQLite never waits.
    """
    collect_seldom()
    if db.startswith("postgres"):
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
