"""Lists in one value as the items of a list that is spread over keys: the same list in another form."""

from collections.abc import Mapping
from typing import Final

from ..model import Value
from .coerce import parse_json

_MAX_DEPTH: Final = 32


def items_of(value: Value) -> dict[int, dict[str, Value]]:
    """A list of maps as the items of a flattened list."""
    found = parse_json(value)
    if not isinstance(found, list):
        return {}
    return {index: _flat(item) for index, item in enumerate(found) if isinstance(item, dict)}


def _flat(item: Mapping[str, Value]) -> dict[str, Value]:
    """`{"document": {"id": 1}}` as `{"document.id": 1}`; what is deeper than such lists ever are is left out."""
    flat: dict[str, Value] = {}
    stack: list[tuple[str, Value, int]] = [("", item, 0)]
    while stack:
        path, value, depth = stack.pop()
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            stack += [(f"{path}.{key}" if path else key, inner, depth + 1) for key, inner in value.items()]
        elif isinstance(value, list) and value and isinstance(value[0], dict) and depth < _MAX_DEPTH:
            stack += [(f"{path}.{index}", inner, depth + 1) for index, inner in enumerate(value)]
        else:
            flat[path] = value
    return flat
