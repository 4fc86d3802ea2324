"""What is to be done around a fork, for as long as the object that does it lives."""

import os
import weakref
from collections.abc import Callable

Method = Callable[[], None]


def at_fork(before: Method | None = None, in_parent: Method | None = None, *, in_child: Method | None = None) -> None:
    """Call methods around each fork of this process by Python; their object is not kept alive by that."""
    if hasattr(os, "register_at_fork"):
        given = {"before": before, "after_in_parent": in_parent, "after_in_child": in_child}
        os.register_at_fork(**{name: _weak(method) for name, method in given.items() if method is not None})


def _weak(method: Method) -> Method:
    weak = weakref.WeakMethod(method)

    def call() -> None:
        found = weak()
        if found is not None:
            found()

    return call
