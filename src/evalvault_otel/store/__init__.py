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
    return SqliteStore(path, pauses, rejects)


def _postgres(url: str, pauses: Pauses | None, rejects: RejectBounds | None) -> Store:
    try:
        from .postgres import PostgresStore
    except ImportError as exc:
        raise MissingExtra("PostgreSQL needs its driver: pip install 'evalvault-otel[postgres]'") from exc
    return PostgresStore(url, pauses, rejects)
