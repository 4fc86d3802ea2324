"""`serve`: the receivers, the assembler and the query API, in one process or several, until a signal."""

import logging
import re
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final

import typer

from ..settings import Settings, load
from .options import with_settings

# Before the last @, also one that should have been escaped, and where libpq takes them as well: in the parameters.
_PASSWORDS: Final = re.compile(r"(?<=://)(?P<user>[^:/?#@]*:)[^?]+(?=@)|(?P<name>[?&](?:ssl)?password=)[^&#]*")


@with_settings
def serve(**options: Any) -> None:
    """Receive OTLP, keep it, answer questions about it. Stops on Ctrl-C or SIGTERM.

    Prints `ready grpc=… http=… api=… db=…` on standard error when it accepts.

    Example: `evalvault-otel serve --db postgresql://me@localhost/traces`
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = load(options)
    if settings.workers > 1:
        _serve_with_workers(settings)
    else:
        _serve_here(settings)


def _serve_here(settings: Settings) -> None:
    from ..server.app import build
    from ..server.running import run

    server = build(settings)
    run(server, _on_signals(), lambda: _say_ready(server.addresses))


def _serve_with_workers(settings: Settings) -> None:
    from ..server.supervisor import supervise

    if not supervise(settings, _say_ready):
        raise typer.Exit(1)


def _say_ready(addresses: Mapping[str, str]) -> None:
    shown = " ".join(f"{name}={without_password(value)}" for name, value in addresses.items())
    sys.stderr.write(f"ready {shown}\n")
    sys.stderr.flush()


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
    return _PASSWORDS.sub(lambda found: f"{found['user'] or found['name']}***", url)
