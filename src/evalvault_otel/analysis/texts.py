"""Names and messages of users inside sentences."""

from typing import Final

_LONGEST: Final = 120


def quoted(name: str) -> str:
    """A name in backticks, which render as code; its own backticks would end it."""
    return "`" + name.replace("`", "'") + "`"


def first_line(message: str | None, longest: int = _LONGEST) -> str:
    """The first line of a message without its full stop, cut where it is long."""
    line = (message or "").strip().partition("\n")[0].rstrip(".").replace("`", "'")
    return line if len(line) <= longest else line[: longest - 3] + "..."
