"""YAML as nodes that know their line: what is wrong with a file is said with the place where it is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

START: Final = yaml.Mark("", 0, 0, 0, None, 0)
_BOOLEANS: Final = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a line, with what to do about it."""

    line: int
    sentence: str


class Wrong(Exception):
    """A place of a file that cannot be read."""

    def __init__(self, place: Node | yaml.Mark, sentence: str) -> None:
        super().__init__(sentence)
        mark = place.start_mark if isinstance(place, Node) else place
        self.problem = Problem(mark.line + 1, sentence)


def compose(text: str) -> Node | None:
    """The node of a YAML text; None for an empty one.

    Raises:
        Wrong: it is not YAML.
    """
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None) or START
        raise Wrong(mark, f"this is not YAML: {getattr(exc, 'problem', None) or exc}") from exc
    except RecursionError as exc:
        raise Wrong(START, "lists and maps are nested too deeply: rules need four levels") from exc


def pairs(node: Node, what: str) -> list[tuple[ScalarNode, Node]]:
    """Keys and values of a map, in order.

    Raises:
        Wrong: it is no map, or has a key twice.
    """
    if not isinstance(node, MappingNode):
        raise Wrong(node, f"{what} is a map: write `key: value` lines")
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, ScalarNode) or key.value in seen:
            raise Wrong(key, f"{what} has {getattr(key, 'value', 'a key')!r} twice: leave one out")
        seen.add(key.value)
    return list(node.value)


def mapping(node: Node, known: Sequence[str], what: str) -> dict[str, Node]:
    """A map with known keys.

    Raises:
        Wrong: it is no map, or has another key.
    """
    said: dict[str, Node] = {}
    for key, value in pairs(node, what):
        if key.value not in known:
            raise Wrong(key, f"{what} has no {key.value!r}: it has {', '.join(known)}")
        said[key.value] = value
    return said


def items(node: Node) -> list[Node]:
    """The items of a list; one that is no list is its only item."""
    return list(node.value) if isinstance(node, SequenceNode) else [node]


def sequence(node: Node, what: str) -> list[Node]:
    """The items of a list.

    Raises:
        Wrong: it is no list.
    """
    if not isinstance(node, SequenceNode):
        raise Wrong(node, f"{what} is a list: begin each item with `- `")
    return list(node.value)


def text(node: Node, what: str) -> str:
    """A text, number or boolean as it is written.

    Raises:
        Wrong: it is a map, a list or empty.
    """
    if not isinstance(node, ScalarNode) or not node.value:
        raise Wrong(node, f"{what} is a text")
    return str(node.value)


def yes(node: Node, what: str) -> bool:
    """Whether it says true.

    Raises:
        Wrong: neither true nor false.
    """
    word = text(node, what).lower()
    if word not in _BOOLEANS:
        raise Wrong(node, f"{what} is true or false")
    return _BOOLEANS[word]


def plain(node: Node) -> Any:
    """The value that a node stands for.

    Raises:
        Wrong: YAML has no such value.
    """
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.YAMLError as exc:
        raise Wrong(node, f"this value cannot be read: {getattr(exc, 'problem', None) or exc}") from exc
    except (ValueError, OverflowError, RecursionError) as exc:  # a date that is none, a number of too many digits
        raise Wrong(node, f"a value in here cannot be read: put it in quotes ({exc})") from exc
    finally:
        loader.dispose()
