"""The wall between us and the program that we are a guest in: what goes wrong here is counted and logged, not raised.

`guarded` goes around what the program calls; the program's own errors never pass through it. In tests `strict()` makes
the same errors raise.
"""

import functools
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Final, ParamSpec, TypeVar

from ..errors import EvalVaultError

P = ParamSpec("P")
T = TypeVar("T")

_log: Final = logging.getLogger("evalvault_otel.sdk")
_MAX_CAUSES: Final = 1000
_OVERFLOW: Final = "other causes"


class WrongUse(EvalVaultError):
    """The API was called with something that it cannot use. Raised in strict mode only."""


class _State:
    """What is known in this process; one lock, taken only when something is wrong."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.strict = os.environ.get("EVALVAULT_STRICT", "").strip().lower() == "true"
        self.counts: dict[str, int] = {}

    def renew(self) -> None:
        self.lock = threading.Lock()

    def count(self, cause: str) -> bool:
        """One more of a cause; whether it is the first."""
        with self.lock:
            if cause not in self.counts and len(self.counts) >= _MAX_CAUSES:
                cause = _OVERFLOW
            self.counts[cause] = self.counts.get(cause, 0) + 1
            return self.counts[cause] == 1


_state = _State()

if hasattr(os, "register_at_fork"):
    # Another thread may hold the lock at that moment, and is not there in the child to give it back.
    os.register_at_fork(after_in_child=_state.renew)


def strict(*, enabled: bool = True) -> bool:
    """Make what is wrong raise where it happens, for tests; returns how it was before. Also `EVALVAULT_STRICT=true`."""
    before, _state.strict = _state.strict, enabled
    return before


def is_strict() -> bool:
    """Whether problems raise."""
    return _state.strict


def problems() -> Mapping[str, int]:
    """How often each cause happened in this process so far; empty when all is well."""
    with _state.lock:
        return dict(_state.counts)


def forget() -> None:
    """Count and log from the beginning again, as a new process would."""
    with _state.lock:
        _state.counts.clear()


def note(cause: str, message: str, *args: object) -> None:
    """Something that may be meant: counted, and a warning the first time. Never raises, also in strict mode."""
    if _state.count(cause):
        _log.warning(f"{message} (said once; counted as %r)", *args, cause)


def wrong(cause: str, message: str) -> None:
    """The API was used wrongly: counted, and a warning the first time.

    Raises:
        WrongUse: in strict mode.
    """
    if _state.strict:
        raise WrongUse(message)
    note(cause, "%s", message)


def failed(where: str, error: Exception) -> None:
    """An error of ours, or of what we called: counted, and logged with its traceback the first time for a cause.

    A cause is the place and the type of error, since messages may hold anything.

    Raises:
        Exception: `error` itself, in strict mode.
    """
    if _state.strict:
        raise error
    cause = f"{where}: {type(error).__name__}"
    if _state.count(cause):
        _log.warning("%s failed; the program goes on without it (said once per cause)", where, exc_info=error)


def guarded(function: Callable[P, T]) -> Callable[P, T | None]:
    """`function` without its errors: where one would be raised, None is returned and `failed` is told.

    `BaseException` that is no `Exception` (Ctrl-C, the end of the program) passes.
    """
    where = function.__qualname__

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - this is the wall
            failed(where, error)
            return None

    return call
