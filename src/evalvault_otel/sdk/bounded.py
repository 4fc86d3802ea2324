"""Calls that end when their time is over, whatever they hang in: a thread makes them, and who calls waits that long.

A timeout of an HTTP library holds for each read of a socket, and for no look-up of a name: a receiver that sends a byte
now and then, or a resolver that is away, would keep an export for ever.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from .suppression import untraced

T = TypeVar("T")
_Jobs = SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]

# Threads that hang in a call which nobody waits for any more: beyond that nothing is tried until one comes back.
_MOST_HANGING: Final = 3


class BoundedCalls:
    """Makes calls one after another. The thread is started early: at the end of a program none can be started."""

    def __init__(self) -> None:
        self._pid = 0
        self._jobs: _Jobs | None = None
        self._hanging: list[threading.Thread] = []
        self._thread: threading.Thread | None = None
        self._start()

    def run(self, call: Callable[[], T], timeout_s: float) -> T:
        """What `call` returns.

        Raises:
            TimeoutError: it was not over in time; it goes on, and what comes of it is not heard.
            Exception: what `call` raises.
        """
        if self._jobs is None or self._pid != os.getpid():
            self._start()
        jobs = self._jobs
        if jobs is None:
            return call()
        answer: Future[T] = Future()
        jobs.put((call, answer))
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            if not answer.done():
                self._leave(jobs)
            raise

    def _start(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._hanging.clear()
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            raise TimeoutError(f"{len(self._hanging)} earlier calls still hang")
        jobs: _Jobs = SimpleQueue()
        thread = threading.Thread(target=_run, args=(jobs,), name="evalvault-calls", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._jobs = None  # the interpreter is on its way out: the caller waits for the call itself
            return
        self._jobs, self._thread = jobs, thread

    def _leave(self, jobs: _Jobs) -> None:
        """Leave the thread to its call, and make the next call in another one."""
        jobs.put(None)
        self._jobs = None
        if self._thread is not None:
            self._hanging.append(self._thread)


def _run(jobs: _Jobs) -> None:
    with untraced():
        while (job := jobs.get()) is not None:
            call, answer = job
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 - it is the caller's
                answer.set_exception(error)
            else:
                answer.set_result(result)
