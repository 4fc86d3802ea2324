"""Programs that tests run as processes of their own: each makes spans in its own way and says on stdout what it did.

`python -m tests.sdk.apps NAME` with the settings of the exporter in the environment.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import trace

import evalvault_otel as ev


def _span(name: str) -> None:
    trace.get_tracer("app").start_span(name).end()


def at_exit() -> None:
    """Ends with spans that wait."""
    ev.instrument()
    _span("last")


def fork() -> None:
    """A child by os.fork, while other threads make spans; the parent's spans arrive once, the child's too."""
    handle = ev.instrument()
    over = threading.Event()
    made = [0]

    def work() -> None:
        while not over.is_set():
            _span("thread")
            made[0] += 1
            time.sleep(0.0005)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(5):
        child = os.fork()
        if not child:
            _span(f"child-{number}")
            done = handle.force_flush(5000)
            os._exit(0 if done else 1)
        children.append(child)
        time.sleep(0.01)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    over.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(f"{statuses} {made[0]}\n")


def fork_exit() -> None:
    """A child by os.fork that ends as programs do."""
    ev.instrument()
    _span("parent")
    child = os.fork()
    if not child:
        _span("child")
        sys.exit(0)
    os.waitpid(child, 0)


def shut_down_before_fork() -> None:
    """What was shut down stays so in a child."""
    handle = ev.instrument()
    handle.shutdown()
    child = os.fork()
    if not child:
        _span("child")
        os._exit(int(handle.force_flush(1000)))
    sys.stdout.write(f"{os.waitpid(child, 0)[1]}\n")


def _in_pool(name: str) -> str:
    ev.instrument()
    _span(name)
    return multiprocessing.current_process().name


def pool(method: str) -> None:
    """Children of multiprocessing, which leave by os._exit."""
    ev.instrument()
    _span("parent")
    context: Any = multiprocessing.get_context(method)
    processes = [context.Process(target=_in_pool, args=(f"child-{number}",)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def slow_end() -> None:
    """Ends with many spans that nobody takes; says when it began to end."""
    ev.instrument()
    for number in range(3000):
        _span(str(number))
    sys.stdout.write(f"{time.time()}\n")
    sys.stdout.flush()


def terminated() -> None:
    """Ends by SIGTERM, as containers do, through sys.exit in a handler."""
    ev.instrument()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _span("last")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    time.sleep(30)


def disabled() -> None:
    """With OTEL_SDK_DISABLED nothing happens."""
    handle = ev.instrument()
    with ev.run("r"), ev.stage("retrieval"):
        _span("never")
    handle.force_flush()
    handle.shutdown()
    sys.stdout.write(f"{threading.active_count()}\n")


APPS: dict[str, Callable[[], None]] = {
    "at-exit": at_exit,
    "fork": fork,
    "fork-exit": fork_exit,
    "shut-down-before-fork": shut_down_before_fork,
    "pool-fork": lambda: pool("fork"),
    "pool-spawn": lambda: pool("spawn"),
    "pool-forkserver": lambda: pool("forkserver"),
    "slow-end": slow_end,
    "terminated": terminated,
    "disabled": disabled,
}

if __name__ == "__main__":
    APPS[sys.argv[1]]()
