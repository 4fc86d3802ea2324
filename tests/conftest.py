"""Fixtures for all tests: PostgreSQL, stores of both kinds, the server as a process.

`store` and `db_url` run a test once per database. Without PostgreSQL the SQLite half always runs (see `require`).
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from evalvault_otel.store import Store, open_store
from tests.support.postgres import Postgres, PostgresMissing, running_postgres
from tests.support.require import require
from tests.support.server import Server, running_server

# Tests that say how long something may take, or that need the machine for themselves: they run one after the other
# when the others are done (marker `alone`). Folders and files.
_ALONE = (
    "faults",
    "assembly/test_growth.py",
    "clients/test_collector_faults.py",
    "ingest/test_ingestor.py",
    "ingest/test_spool_replay.py",
    "sdk/test_agent.py",
    "sdk/test_exporter.py",
    "sdk/test_processes.py",
    "sdk/test_processor.py",
    "sdk/test_public.py",
    "sdk/test_tracer.py",
    "server/test_loop.py",
    "server/test_serve.py",
    "server/test_storage_away.py",
    "store/test_reassemble.py",
    "store/test_unavailable.py",
    "wire/test_json_damage.py",
    "wire/test_salvage.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has to run alone."""
    alone = tuple(str(Path(__file__).parent / name) for name in _ALONE)
    for item in items:
        if str(item.path).startswith(alone):
            item.add_marker(pytest.mark.alone)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: processes that share the tests must agree, and gzip writes the time."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def postgres_or_reason() -> Iterator[Postgres | str]:
    """The PostgreSQL server of this test run, or why there is none."""
    try:
        with running_postgres() as server:
            yield server
    except PostgresMissing as exc:
        yield str(exc)


@pytest.fixture
def postgres(postgres_or_reason: Postgres | str) -> Postgres:
    """The PostgreSQL server of this test run; without one the test is skipped, or fails where it is required."""
    if isinstance(postgres_or_reason, str):
        require("postgres", postgres_or_reason)
    return postgres_or_reason


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """URL of an empty PostgreSQL database of this test's own."""
    with postgres.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def db_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What `--db` takes, for an empty database of each kind; nothing is created in it yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(db_url: str) -> Iterator[Store]:
    """An empty, migrated store of each kind."""
    opened = open_store(db_url)
    try:
        opened.migrate()
        yield opened
    finally:
        opened.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers as processes: `serve(db, *options, env=None) -> Server`. All are stopped at the end."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(db: str, *options: str, env: Mapping[str, str] | None = None) -> Server:
            log_path = tmp_path / f"server-{next(numbers)}.log"
            stack.callback(_show, log_path)
            return stack.enter_context(running_server(db, log_path, *options, env=env))

        yield start


def _show(log_path: Path) -> None:
    """Write a server's log where pytest shows it below a failed test."""
    sys.stderr.write(f"--- {log_path.name}:\n{log_path.read_text(errors='replace')}")


@pytest.fixture
def server(db_url: str, serve: Callable[..., Server]) -> Server:
    """A server on an empty database of each kind."""
    return serve(db_url)
