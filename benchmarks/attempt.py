"""One benchmark that cannot be made must not cost the figures of the others."""

from collections.abc import Callable, Sequence

from tests.support.postgres import PostgresMissing
from tests.support.server import ServerFailed

from .driver import LoadFailed
from .figures import Figure, skipped, void


def attempt(names: Sequence[str], measure: Callable[[], list[Figure]]) -> list[Figure]:
    """What `measure` gives; without PostgreSQL `names` as skipped, with a server or a load that failed as void."""
    try:
        return measure()
    except PostgresMissing as exc:
        return [skipped(name, str(exc)) for name in names]
    except (LoadFailed, ServerFailed) as exc:
        return [void(name, str(exc)) for name in names]
