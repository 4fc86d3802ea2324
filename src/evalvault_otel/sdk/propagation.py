"""Context for threads: work that another thread does belongs where it was handed over.

asyncio carries the context into tasks by itself; threads and executors do not, except `asyncio.to_thread`.
"""

import functools
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar, overload

from . import guard

P = ParamSpec("P")
T = TypeVar("T")


class PropagatingExecutor(Executor):
    """An executor whose work runs in the context of the moment it was submitted. Everything else is the other's."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        # A context cannot be sent to another process. By name: importing that module costs more than all of this.
        self._apart = any(kind.__module__ == "concurrent.futures.process" for kind in type(executor).__mro__)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As `Executor.submit`."""
        if self._apart:
            guard.note("propagate to processes", "a pool of processes takes no context along: hand the run id over")
            return self._executor.submit(fn, *args, **kwargs)
        call: Callable[..., T] = copy_context().run
        return self._executor.submit(call, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as `Executor`
        """As `Executor.shutdown`, of the executor inside."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)


@overload
def propagate(work: Executor) -> PropagatingExecutor: ...
@overload
def propagate(work: Callable[P, T]) -> Callable[P, T]: ...
def propagate(work: Any) -> Any:
    """Work that takes run and stage along into another thread.

    A function keeps the context of this moment, for as many threads as call it:
    `Thread(target=ev.propagate(load))`. An executor takes that of each `submit` and `map`:
    `pool = ev.propagate(ThreadPoolExecutor())`. Processes of a pool share no
    context (their work is submitted as it is): hand the run id over and use `ev.run`.
    """
    if isinstance(work, Executor):
        return PropagatingExecutor(work)
    context = copy_context()

    @functools.wraps(work)
    def call(*args: Any, **kwargs: Any) -> Any:
        # A context can be entered by one thread at a time.
        return context.copy().run(work, *args, **kwargs)

    return call
