"""One of several receiver processes, as `supervisor` starts them.

Standard input brings one line of JSON with what the worker is to do. It ends when the supervisor does, however that
happens, and then the worker stops. Standard output carries one line of JSON: `{"ready": true}`, or why not.
"""

import json
import logging
import os
import shutil
import signal
import sys
import threading
from typing import Any

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

from ..errors import EvalVaultError
from .supervisor import Task

_STDIN, _STDOUT = 0, 1


def main() -> None:
    """Serve until SIGTERM, or until the supervisor is gone."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # A second signal changes nothing here: the terminal or systemd may send one besides the supervisor's.
        signal.signal(number, lambda *_: stop.set())
    task = Task.of_line(_first_line())
    logging.basicConfig(
        level=logging.WARNING, format=f"%(asctime)s %(levelname)s worker {task.number} %(name)s: %(message)s"
    )
    abandoned = threading.Event()
    threading.Thread(target=_watch_supervisor, args=(abandoned, stop), daemon=True).start()
    try:
        _serve(task, stop)
    except (EvalVaultError, OSError) as exc:
        _say({"error": str(exc)})
        sys.exit(2)
    finally:
        if abandoned.is_set():
            shutil.rmtree(task.figures, ignore_errors=True)


def _serve(task: Task, stop: threading.Event) -> None:
    _share_figures(task.number)
    from .app import build  # noqa: PLC0415 - what it imports takes a second, and signals must be minded before
    from .running import run  # noqa: PLC0415 - the same

    registry = CollectorRegistry()
    MultiProcessCollector(registry, task.figures)  # type: ignore[no-untyped-call]  # as prometheus-client ships it
    run(build(task.settings, reuse_port=True, figures=registry), stop, lambda: _say({"ready": True}))


def _share_figures(number: int) -> None:
    """Keep figures in files that all workers read: files of the worker's number, so that a replacement counts on."""
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]  # the same


def _first_line() -> bytes:
    # Not `sys.stdin`: a thread that waits in there cannot be left behind when the interpreter ends.
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(_STDIN, 65536)
        if not part:
            sys.exit(2)
        line += part
    return line


def _watch_supervisor(abandoned: threading.Event, stop: threading.Event) -> None:
    while os.read(_STDIN, 4096):
        pass
    abandoned.set()
    stop.set()


def _say(report: dict[str, Any]) -> None:
    try:
        os.write(_STDOUT, json.dumps(report).encode() + b"\n")
    except BrokenPipeError:
        logging.getLogger(__name__).warning("the supervisor is gone")


if __name__ == "__main__":
    main()
