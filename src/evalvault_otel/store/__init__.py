"""Where spans and stages are kept: one protocol, SQLite and PostgreSQL."""

from pathlib import Path

from ..errors import MissingExtra, SettingsError
from .base import Store, TraceBatch, Written
from .rejecting import RejectBounds
from .writing import Pauses

__all__ = ["Pauses", "RejectBounds", "Store", "TraceBatch", "Written", "open_store"]


def open_store(url: str, pauses: Pauses | None = None, rejects: RejectBounds | None = None) -> Store:
    """The store for `--db`: a path, `sqlite:///path` or `postgresql://…`. Nothing is contacted yet.

    Raises:
        SettingsError: an address of another kind, no file, or a folder that does not exist.
        MissingExtra: PostgreSQL is asked for and its driver is not installed.
    """
    scheme, sep, rest = url.partition("://")
    if sep and scheme in {"postgres", "postgresql"}:
        return _postgres(url, pauses, rejects)
    if sep and scheme != "sqlite":
        raise SettingsError(f"--db {url!r}: use a path, sqlite:///path or postgresql://user@host/database")
    return _sqlite(Path(rest.removeprefix("/") if sep else url), pauses, rejects)


def _sqlite(path: Path, pauses: Pauses | None, rejects: RejectBounds | None) -> Store:
    from .sqlite import SqliteStore

    # SQLite takes both for databases that nobody else sees and that are gone in the end.
    if str(path) in {".", ":memory:"}:
        raise SettingsError("--db must name a file (not :memory:): use a path, sqlite:///path or postgresql://…")
    if path.is_dir():
        raise SettingsError(f"--db {path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise SettingsError(f"--db {path}: the folder {path.parent} does not exist; create it first")
    if _holds_something_else(path):
        raise SettingsError(f"--db {path} is no SQLite database: choose another name, so that nothing of it is lost")
    return SqliteStore(path, pauses, rejects)


def _postgres(url: str, pauses: Pauses | None, rejects: RejectBounds | None) -> Store:
    try:
        from .postgres import PostgresStore
    except ImportError as exc:
        raise MissingExtra("PostgreSQL needs its driver: pip install 'evalvault-otel[postgres]'") from exc
    return PostgresStore(url, pauses, rejects)


def _holds_something_else(path: Path) -> bool:
    """Whether the file begins as no SQLite database does (SQLite, "Database File Format", 1.3)."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return False  # there is none yet, or what is wrong is said when it is opened
    return start not in {b"", b"SQLite format 3\0"}
