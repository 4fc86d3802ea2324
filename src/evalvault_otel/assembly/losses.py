"""What limits of an SDK took: which ranks and fields of a span are gone, and texts that were cut.

Only for spans in trouble, but for `truncated`, which looks at the lengths of payloads first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..conventions.reading import DIALECTS
from ..model import Value
from .nodes import Node

Note = tuple[str, Node, dict[str, object]]

# Lists that arrive as one attribute per item and field, and what one item is called.
_LISTS: Final = {prefix: prefix.rstrip(".") for dialect in DIALECTS for prefix in dialect.flattened}
_RANKED: Final = frozenset({"retrieval.documents", "reranker.output_documents"})
_QUERIED: Final = frozenset({"retrieval", "rerank"})
_WORDS: Final = 4


def lost_attributes(node: Node) -> str | None:
    """What is known to be gone of a span, as the begin of a sentence with its verb; None if nothing can be known."""
    attributes = node.span.attributes
    lost = [_items(name, items) for name, items in sorted(_indexed(attributes).items()) if min(items) > 0]
    lost += [text for name, items in sorted(_indexed(attributes).items()) for text in _torn(name, items)]
    if node.stage_type in _QUERIED and "query" not in node.fields:
        lost.append("the query")
    if not lost:
        return None
    said = lost[0] if len(lost) == 1 else f"{', '.join(lost[:-1])} and {lost[-1]}"
    # Names of attributes are not written with a capital.
    head = said[0].upper() if said.startswith(("rank", "the ")) else said[0]
    return f"{head}{said[1:]} {'was' if len(lost) == 1 and said.startswith(('rank ', 'the ')) else 'were'}"


def _indexed(attributes: Mapping[str, Value]) -> dict[str, dict[int, set[str]]]:
    """Flattened lists of a span: name -> index -> fields of that item which are there."""
    found: dict[str, dict[int, set[str]]] = {}
    for key in attributes:
        words = key.split(".", _WORDS - 1)
        if len(words) == _WORDS and words[2].isdecimal() and f"{words[0]}.{words[1]}." in _LISTS:
            found.setdefault(f"{words[0]}.{words[1]}", {}).setdefault(int(words[2]), set()).add(words[3])
    return found


def _items(name: str, items: Mapping[int, set[str]]) -> str:
    last = min(items) - 1
    what = "rank" if name in _RANKED else f"{name} item"
    return f"{what} 0" if last == 0 else f"{what}s 0-{last}"  # written as a programmer counts


def _torn(name: str, items: Mapping[int, set[str]]) -> Iterator[str]:
    """The first item that is left may have lost some of its fields."""
    first = min(items)
    gone = set.union(*items.values()) - items[first] if len(items) > 1 else set()
    if first > 0 and gone and gone <= set.intersection(*(fields for at, fields in items.items() if at != first)):
        fields = ", ".join(sorted(field.rpartition(".")[2] for field in gone))
        yield f"{fields} of rank {first}" if name in _RANKED else f"{fields} of {name} item {first}"


# Texts that were cut.

_PAYLOADS: Final = frozenset({"input", "output", "input_messages", "output_messages"})
_SHORTEST: Final = 32
_ENOUGH: Final = 4
_FEW: Final = 2
# Limits are round for people or for machines.
_ROUND: Final = (50, 64)


def truncated(nodes: Sequence[Node]) -> Iterator[Note]:
    """Values cut by a length limit: several different texts that end after the same, largest, number of characters.

    By a limit that is round, or with JSON among them that ends in its middle, two are enough. Limits are set per
    process, so the texts of each resource are looked at alone; all of them only where its payloads look odd.
    """
    payloads: dict[str, list[str]] = {}
    for node in nodes:
        identity = node.reading.identity
        if _PAYLOADS.isdisjoint(identity):
            continue
        for name in _PAYLOADS:
            value = identity.get(name)
            if value.__class__ is str and len(value) >= _SHORTEST:
                payloads.setdefault(node.span.resource.id, []).append(value)
    of_resource: dict[str, list[Node]] = {}
    for resource, found in payloads.items():
        length = max(map(len, found))
        longest = [value for value in found if len(value) == length]
        if len(longest) > 1 or _is_cut_json(longest[0]):
            if not of_resource:
                for node in nodes:
                    of_resource.setdefault(node.span.resource.id, []).append(node)
            yield from _cut_at(length, of_resource[resource])


def _cut_at(length: int, nodes: Sequence[Node]) -> Iterator[Note]:
    found = [
        (node, key, value)
        for node in nodes
        for key, value in node.span.attributes.items()
        if value.__class__ is str and len(value) == length and _is_prose(value)
    ]
    distinct = {value for _, _, value in found}
    sure = any(map(_is_cut_json, distinct)) or any(length % unit == 0 for unit in _ROUND)
    if len(distinct) >= (_FEW if sure else _ENOUGH) or (len(distinct) == 1 and _is_cut_json(next(iter(distinct)))):
        for node, key, _ in found:
            yield "values_truncated", node, {"length": length, "keys": key}


def _is_prose(value: str) -> bool:
    """Not an id or a digest: those are of one length by nature."""
    return " " in value or value[0] in "{["


def _is_cut_json(value: str) -> bool:
    """Text that begins as JSON does and does not end so."""
    head = value[:2]
    return (head in {'{"', "[{", '["'} or head == "{ ") and value.rstrip()[-1:] not in {"}", "]"}
