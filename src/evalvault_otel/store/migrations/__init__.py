"""Numbered SQL files per dialect; the number is the version of the tables after the file ran."""

from collections.abc import Collection
from importlib.resources import files

from ...errors import SettingsError


def scripts(dialect: str) -> list[tuple[int, str, str]]:
    """All migrations of a dialect as (version, file name, SQL), in order."""
    folder = files(__name__) / dialect
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name.split("_", 1)[0]), name, (folder / name).read_text("utf-8")) for name in found]


def missing(dialect: str, applied: Collection[int]) -> list[tuple[int, str, str]]:
    """The migrations that a database with these still lacks, in order.

    Raises:
        SettingsError: it has one that this version of the product does not know.
    """
    known = scripts(dialect)
    version = max(applied, default=0)
    if version > known[-1][0]:
        raise SettingsError(newer(version, known[-1][0]))
    return [script for script in known if script[0] not in applied]


def newer(version: int, known: int) -> str:
    """What to say of tables that a later version of the product made."""
    return (
        f"the database was made by a newer version of evalvault-otel (its tables have version {version}, "
        f"this program knows {known}): upgrade evalvault-otel"
    )
