"""JSON bytes to plain data, also what the fast parser refuses and can be read all the same.

That is text cut in the middle of a character, half of a surrogate pair, numbers without bound, brackets without end.

Source: RFC 8259, sections 7 to 9.
"""

import json
import re
from typing import Any, Final

import orjson

from ..errors import Undecodable
from ..text import REPLACEMENT

# Brackets in brackets: enough for any value that is kept, and less than the parser's own bound.
_MAX_DEPTH: Final = 400
# Looking at each bracket takes a second for so many bytes; nobody nests this deeply in earnest.
_MAX_PRUNED: Final = 4 * 1024 * 1024
_MAX_DIGITS: Final = 20
# Half of a surrogate pair, and in front of it what is none. Possessive, so that the work is linear.
_PAIR: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF: Final = r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_ELSE: Final = rf"[^\\]++|\\(?!u[dD][89a-fA-F][0-9a-fA-F]{{2}}).|{_PAIR}"
_HALVES: Final = re.compile(rf"(?P<before>(?:{_ELSE})++)(?P<half>{_HALF})?|{_HALF}", re.DOTALL)
_BRACKETS: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[{]++|[\]}]', re.DOTALL)


def parse(data: bytes) -> tuple[Any, int]:
    """The document, and how many places of it were replaced so that it could be read.

    Raises:
        Undecodable: it is not JSON.
    """
    try:
        return orjson.loads(data), 0
    except orjson.JSONDecodeError as exc:
        refused = exc
    text, replaced = _whole_characters(data)
    try:
        return _loads(text), replaced
    except RecursionError:
        text = _pruned(text)
    except ValueError:
        # The fast parser's message is about the bytes as they came.
        raise Undecodable(f"not JSON: {refused}") from None
    try:
        return _loads(text), replaced + 1
    except (ValueError, RecursionError):
        raise Undecodable(f"not JSON: {refused}") from None


def _loads(text: str) -> Any:
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | float:
    """An integer; one far beyond 64 bits as a float, since Python reads very long ones slowly or not at all."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _whole_characters(data: bytes) -> tuple[str, int]:
    """The text with U+FFFD for bytes that are no UTF-8 and for halves of surrogate pairs, and how many these were."""
    text = data.decode(errors="replace")
    replaced = text.count(REPLACEMENT) - data.count(REPLACEMENT.encode())

    def whole(found: re.Match[str]) -> str:
        nonlocal replaced
        before, half = found["before"], found["half"]
        if before and not half:
            return before
        replaced += 1
        return (before or "") + REPLACEMENT

    # Some libraries begin with a byte order mark, which a reader may ignore.
    return _HALVES.sub(whole, text).removeprefix("\ufeff"), replaced


def _pruned(text: str) -> str:
    """The text with null for what is nested too deeply for any parser.

    Raises:
        Undecodable: the text is too long to look at each bracket.
    """
    if len(text) > _MAX_PRUNED:
        raise Undecodable("not JSON that can be read: brackets are nested too deeply")
    parts: list[str] = []
    depth = kept = 0
    for found in _BRACKETS.finditer(text):
        token = found[0]
        if token[0] in "[{":
            if depth <= _MAX_DEPTH < depth + len(token):
                parts.append(text[kept : found.start() + _MAX_DEPTH - depth])
            depth += len(token)
        elif token[0] != '"':
            depth -= 1
            if depth == _MAX_DEPTH:
                parts.append("null")
                kept = found.end()
    parts.append(text[kept:])
    return "".join(parts)
