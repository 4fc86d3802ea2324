"""PostgreSQL's errors as ours: what is wrong with a value, what passes, what waits for a person.

Conflicts between transactions are tried again at once. Everything else that is not a value's fault is `Unavailable`:
also a missing right or a wrong password, because a person can put that right and nothing may be lost meanwhile. Those
are logged with what helps.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg

from ..errors import EvalVaultError, InvalidInput, Unavailable
from .reminder import remind

_TRIES = 4
_PAUSE_S = 0.05
T = TypeVar("T")


class Conflict(Unavailable):
    """Two transactions were in each other's way, and ours was chosen to give in."""


# Source: PostgreSQL documentation, appendix A, error codes.
_CONFLICTS = frozenset({"40001", "40P01"})
_RIGHTS = "give the user of --db its rights on the database, the schema and the tables"
_LOGIN = "check user and password in --db, and pg_hba.conf of PostgreSQL"
_CREATE = "create the database, or name another one with --db"
_TABLES = "start `evalvault-otel serve` with this database once, so that it makes its tables"
_REMEDIES = {
    "25006": "the database is read-only: name its primary with --db, or end its read-only mode",
    "28000": _LOGIN,
    "28P01": _LOGIN,
    "3D000": _CREATE,
    "3F000": _TABLES,
    "42501": _RIGHTS,
    "42703": _TABLES,
    "42P01": _TABLES,
    "53100": "free space on the disk of PostgreSQL",
}
# A connection that does not come about has no code, only words.
_IN_WORDS = (
    (re.compile("authentication failed|no password supplied|pg_hba.conf|role .* does not exist"), _LOGIN),
    (re.compile("database .* does not exist"), _CREATE),
    (re.compile("permission denied for database"), _RIGHTS),
)


@contextmanager
def translated() -> Iterator[None]:
    """Psycopg's errors as ours, once.

    Raises:
        InvalidInput: a value is refused.
        Conflict: see `repeated`.
        Unavailable: anything else; the message says what helps where only a person can help.
    """
    try:
        yield
    except EvalVaultError:
        raise
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as exc:
        raise InvalidInput(f"PostgreSQL refuses a value: {exc}") from exc
    except psycopg.Error as exc:
        raise _unavailable(exc) from exc


def _unavailable(error: psycopg.Error) -> Unavailable:
    text = f"PostgreSQL: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    if error.sqlstate in _CONFLICTS:
        return Conflict(text)
    remedy = _REMEDIES.get(error.sqlstate or "") or _remedy_in_words(str(error))
    if remedy is None:
        return Unavailable(text)
    if remedy != _TABLES:  # a server that starts is about to make them
        remind(f"{text}: {remedy}")
    return Unavailable(f"{text}: {remedy}")


def _remedy_in_words(text: str) -> str | None:
    return next((remedy for pattern, remedy in _IN_WORDS if pattern.search(text)), None)


def repeated(transaction: Callable[[], T]) -> T:
    """What a transaction returns; after a deadlock or a serialization failure it is tried again, a few times.

    Raises:
        Conflict: every try ended in one.
    """
    for attempt in range(1, _TRIES):
        try:
            return transaction()
        except Conflict:
            # Not in step with the other one.
            time.sleep(random.uniform(0, _PAUSE_S * attempt))  # noqa: S311 - no secret
    return transaction()
