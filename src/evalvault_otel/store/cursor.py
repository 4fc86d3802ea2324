"""Where a page ended, as text that a client hands back unread."""

import base64
import binascii
from typing import Any

import orjson

from ..errors import InvalidInput


def encode(*position: Any) -> str:
    """The text for a position."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def decode(cursor: str, *kinds: type) -> list[Any]:
    """The position that `encode` wrote, its parts being of these kinds (or None).

    Raises:
        InvalidInput: the text is not a cursor of this list.
    """
    try:
        position = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as exc:
        raise InvalidInput("cursor: not one that a page returned") from exc
    fits = isinstance(position, list) and len(position) == len(kinds)
    if not fits or not all(part is None or type(part) is kind for part, kind in zip(position, kinds, strict=True)):
        raise InvalidInput("cursor: it belongs to another list")
    return list(position)
