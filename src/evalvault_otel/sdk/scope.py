"""Work inside a context of ours, for blocks (`with`), functions, coroutines and generators alike.

A generator's context is attached only while its own code runs: what its consumer does in between is not inside.
"""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Token
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from opentelemetry.context import Context, attach, get_current

from . import compat, guard

F = TypeVar("F", bound=Callable[..., Any])


class Scope:
    """A context that is current from `enter` to `leave`, and what happens when the work is done (`finish`)."""

    __slots__ = ("_tokens", "context")

    def __init__(self, context: Context) -> None:
        self.context = context
        self._tokens: list[Token[Context]] = []

    def finish(self, error: BaseException | None) -> None:
        """The work is done, by `error` if it raised. Never raises."""

    def enter(self) -> None:
        """Make the context current."""
        self._tokens.append(attach(self.context))

    def leave(self) -> None:
        """Make the context current that was so before."""
        if self._tokens:
            compat.detach(self._tokens.pop())

    def pause(self) -> None:
        """Leave for a while: the next `enter` comes back to what is current now, stages inside included."""
        self.context = get_current()
        self.leave()

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        self.finish(error)


Opens = Callable[[], Scope]


def wrapped(function: F, opens: Opens) -> F:
    """`function` inside a scope of its own at each call; generators from the first value asked for until the last."""
    if isinstance(function, staticmethod | classmethod):
        return type(function)(wrapped(function.__func__, opens))
    if inspect.isclass(function):
        guard.wrong("a class as function", f"{function.__qualname__} is a class: decorate its methods")
        return function
    found = next((wrap for is_so, wrap in _KINDS if _is(is_so, function)), _function)
    try:
        call = functools.wraps(function)(found(function, opens))
    except Exception as error:  # noqa: BLE001 - what is decorated must go on working
        guard.failed("decorating a function", error)
        return function
    return call  # type: ignore[return-value]  # the same parameters and result


def _is(is_so: Callable[[object], bool], function: object) -> bool:
    """Also for objects whose call is one: instances of a class with `async def __call__`."""
    return is_so(function) or (not inspect.isroutine(function) and is_so(getattr(function, "__call__", None)))  # noqa: B004 - its function is wanted


def _function(function: Callable[..., Any], opens: Opens) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with opens():
            return function(*args, **kwargs)

    return call


def _coroutine(function: Callable[..., Coroutine[Any, Any, Any]], opens: Opens) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with opens():
            return await function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Generator[Any, Any, Any]], opens: Opens) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from _driven(function(*args, **kwargs), opens()))

    return call


def _driven(inner: Generator[Any, Any, Any], scope: Scope) -> Generator[Any, Any, Any]:
    """PEP 380's `yield from`, with the scope around each step of the inner generator only."""
    step: Callable[[], Any] = functools.partial(next, inner)
    try:
        while True:
            scope.enter()
            try:
                value = step()
            finally:
                scope.pause()
            try:
                sent = yield value
            except GeneratorExit:
                _inside(scope, inner.close)
                raise
            except BaseException as error:  # noqa: BLE001 - `throw` passes any
                step = functools.partial(inner.throw, error)
            else:
                step = functools.partial(inner.send, sent)
    except StopIteration as done:
        scope.finish(None)
        return done.value
    except BaseException as error:
        scope.finish(error)
        raise


def _inside(scope: Scope, call: Callable[[], object]) -> None:
    scope.enter()
    try:
        call()
    finally:
        scope.leave()


def _async_generator(function: Callable[..., AsyncGenerator[Any, Any]], opens: Opens) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inner, scope = function(*args, **kwargs), opens()
        step: Callable[[], Any] = functools.partial(anext, inner)
        try:
            while True:
                scope.enter()
                try:
                    value = await step()
                finally:
                    scope.pause()
                try:
                    sent = yield value
                except GeneratorExit:
                    await _inside_async(scope, inner.aclose)
                    raise
                except BaseException as error:  # noqa: BLE001 - `athrow` passes any
                    step = functools.partial(inner.athrow, error)
                else:
                    step = functools.partial(inner.asend, sent)
        except StopAsyncIteration:
            scope.finish(None)
        except BaseException as error:
            scope.finish(error)
            raise

    return call


async def _inside_async(scope: Scope, call: Callable[[], Any]) -> None:
    scope.enter()
    try:
        await call()
    finally:
        scope.leave()


_KINDS: Final[tuple[tuple[Callable[[object], bool], Callable[..., Any]], ...]] = (
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isgeneratorfunction, _generator),
)
