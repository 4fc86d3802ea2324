"""Values as stages hold them: bodies stay in the archive, where `input_ref` and `output_ref` point."""

from typing import Final

from ..model import Value

MAX_TEXT: Final = 1000
# Texts of a list or map together, and how many items or levels: an id for each of a thousand documents stays.
_MAX_TOGETHER: Final = 64_000
_MAX_ITEMS: Final = 5_000
_MAX_DEPTH: Final = 6


def cut(value: Value) -> Value:
    """The value itself if it is small, else a copy with its texts cut and without what is too much."""
    if value.__class__ is str:
        return value if len(value) <= MAX_TEXT else value[:MAX_TEXT]
    if not value or (value.__class__ is list and len(value) <= _MAX_ITEMS and _is_flat(value)):
        return value
    room = [_MAX_TOGETHER, _MAX_ITEMS]
    shortened = _copied(value, room, 0)
    return value if shortened == value else shortened


def _is_flat(items: list[Value]) -> bool:
    """Whether a list has short texts and numbers only, as nearly all have."""
    size = 0
    for item in items:
        kind = item.__class__
        if kind is str:
            size += len(item)
            if len(item) > MAX_TEXT:
                return False
        elif kind is list or kind is dict or kind is bytes:
            return False
    return size <= _MAX_TOGETHER


def _copied(value: Value, room: list[int], depth: int) -> Value:
    """A copy that fits into the room, which gets smaller."""
    room[1] -= 1
    if isinstance(value, str | bytes):
        kept = value[: max(0, min(MAX_TEXT, room[0]))]
        room[0] -= len(kept)
        return kept
    if not isinstance(value, list | dict):
        return value
    if depth >= _MAX_DEPTH:
        return None
    if isinstance(value, list):
        return [_copied(item, room, depth + 1) for item in value if room[0] > 0 and room[1] > 0]
    return {key: _copied(item, room, depth + 1) for key, item in value.items() if room[0] > 0 and room[1] > 0}
