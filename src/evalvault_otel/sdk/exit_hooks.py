"""The end of a process that does not end as a program does: children of multiprocessing and Celery leave by `os._exit`.

They run their own finalizers before, so that is where what waits in them is exported.
"""

import sys
import weakref
from collections.abc import Callable
from typing import Any, Final

# Both have the same `Finalize`; Celery's pool is a fork of multiprocessing's.
_POOLS: Final = ("multiprocessing", "billiard")
_PRIORITY: Final = 10


def before_exit_of_child(method: Callable[[], object]) -> None:
    """Where this process is a child of a pool, call a method before it leaves, if its object still lives.

    To be called when the child does its work: a child forgets the finalizers of its parent when it begins.
    """
    weak = weakref.WeakMethod(method)

    def call() -> None:
        found = weak()
        if found is not None:
            found()

    for name in _POOLS:
        util: Any = sys.modules.get(f"{name}.util")
        process: Any = sys.modules.get(f"{name}.process")
        if util and process and getattr(process.current_process(), "_parent_pid", None) is not None:
            util.Finalize(None, call, exitpriority=_PRIORITY)
