"""Fixtures for tests with programs of others: one server for a module, and relays that end with their test."""

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.relays import Relay, running_collector
from tests.support.server import Server, running_server
from tests.support.tools import tool


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite for all tests of a module."""
    folder: Path = tmp_path_factory.mktemp("receiver")
    with running_server(f"sqlite:///{folder / 'test.db'}", folder / "server.log") as server:
        yield server


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[Callable[..., Relay]]:
    """Start Collectors as processes: `collect(config, *changes, env) -> Relay`. All are stopped at the end."""
    tool("collector")
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(config: str, *changes: str, env: Mapping[str, str]) -> Relay:
            log_path = tmp_path / f"collector-{next(numbers)}.log"
            stack.callback(_show, log_path)
            return stack.enter_context(running_collector(config, log_path, *changes, env=env))

        yield start


def _show(log_path: Path) -> None:
    """Write a Collector's log where pytest shows it below a failed test."""
    sys.stderr.write(f"--- {log_path.name}:\n{log_path.read_text(errors='replace')}")
