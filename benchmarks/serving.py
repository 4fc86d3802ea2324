"""A server on an empty database, as most benchmarks want it."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.server import Server, running_server

from .database import Database, empty_database
from .place import work_directory


@contextmanager
def serving(*options: str, kind: str = "postgres") -> Iterator[tuple[Server, Database]]:
    """A server with further command line options, and its database.

    Raises:
        PostgresMissing: no PostgreSQL server can be started here.
        ServerFailed: the server does not start.
    """
    with (
        work_directory() as directory,
        empty_database(kind, directory) as database,
        running_server(database.url, directory / "server.log", *options) as server,
    ):
        yield server, database
