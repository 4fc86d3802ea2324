"""Numbered SQL files per dialect; the number is the version of the tables after the file ran."""

from importlib.resources import files


def scripts(dialect: str) -> list[tuple[int, str, str]]:
    """All migrations of a dialect as (version, file name, SQL), in order."""
    folder = files(__name__) / dialect
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name.split("_", 1)[0]), name, (folder / name).read_text("utf-8")) for name in found]
