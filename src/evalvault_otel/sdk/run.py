"""`run(...)`: everything inside belongs to a run, here by context, in services that are called by baggage."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TypeVar

from opentelemetry.context import get_current

from ..conventions import names
from . import guard
from .context import Run, current_run, valid_id, with_run
from .scope import Scope, wrapped

__all__ = ["RunBlock", "current_run", "run"]

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTES: Final = {
    "name": names.RUN_NAME,
    "kind": names.RUN_KIND,
    "parent": names.RUN_PARENT_ID,
    "dataset": names.DATASET_NAME,
    "dataset_version": names.DATASET_VERSION,
    "test_case": names.TEST_CASE_ID,
    "tenant": names.TENANT_ID,
}
_MAX_TEXT: Final = 1000


class RunBlock:
    """A run to be in: `with`, `async with`, or a decorator of functions, coroutines and generators."""

    def __init__(self, said: dict[str, object]) -> None:
        self._said = said
        self._open: list[Scope] = []

    def __enter__(self) -> Run:
        scope = self._scope()
        scope.enter()
        self._open.append(scope)
        return current_run(scope.context) or Run("")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self._open.pop().leave()

    async def __aenter__(self) -> Run:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """`function`, each call of which is in the run; without an id outside of a run each in one of its own."""
        return wrapped(function, self._scope)

    def _scope(self) -> Scope:
        context = get_current()
        made = _made(self._said, current_run(context))
        return Scope(context if made is None else with_run(made, context))


def run(  # noqa: PLR0913 - what a run is said to be
    id: str | None = None,  # noqa: A002 - the word of the registry
    *,
    name: str | None = None,
    kind: str | None = None,
    dataset: str | None = None,
    dataset_version: str | None = None,
    test_case: str | None = None,
    parent: str | None = None,
    tenant: str | None = None,
) -> RunBlock:
    """Everything inside belongs to run `id`: every span that starts gets `evalvault.run.id` and what else is said.

    Without an id the run around it goes on, with what is said here besides; outside of any run a new id is made. A run
    inside another names that as its `parent` unless one is given. `kind` is `online`, `offline`, `replay`, `canary`,
    `test`, or a word of your own.

    An id is 1 to 128 characters without control characters; another one is replaced by a new one (in strict mode:
    raises `WrongUse`). Only the ids of run and test case travel to services that are called.
    """
    said = {"name": name, "kind": kind, "dataset": dataset, "dataset_version": dataset_version}
    return RunBlock({"id": id, **said, "test_case": test_case, "parent": parent, "tenant": tenant})


def new_run_id() -> str:
    """An id that nobody has: the time, so that ids sort, and something random."""
    return f"run-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


@guard.guarded
def _made(said: dict[str, object], outer: Run | None) -> Run:
    run_id = _id(said["id"], outer)
    attributes = dict(outer.attributes) if outer is not None and outer.id == run_id else {}
    attributes[names.RUN_ID] = run_id
    if outer is not None and outer.id != run_id:
        attributes[names.RUN_PARENT_ID] = outer.id
    for field, key in _ATTRIBUTES.items():
        value = said[field]
        if value is not None:
            attributes[key] = str(value)[:_MAX_TEXT]
    return Run(run_id, attributes)


def _id(said: object, outer: Run | None) -> str:
    if said is None:
        return outer.id if outer is not None else new_run_id()
    valid = valid_id(str(said))
    if valid is None:
        guard.wrong("run id", "a run id is 1 to 128 characters without control characters: a new one was made instead")
        return new_run_id()
    return valid
