"""Definitions of tools that a model was offered, as every provider and framework writes them: name and digest."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final

import orjson

from ..model import Value
from .coerce import parse_json, text

Tool = tuple[str, str]
"""Name of a tool, and the digest of its definition: an edit that nobody gave a new version shows all the same."""

_MOST: Final = 128
# OpenAI and LangChain, Amazon Bedrock; all others have the name at the top.
_WRAPPERS: Final = ("function", "toolSpec")


def tools_of(value: Value) -> list[Tool] | None:
    """Tools of a list of definitions, also as JSON text or as texts in a list; None where there is none.

    The same definitions come with every call, so what was read of a text is kept.
    """
    if isinstance(value, str):
        return list(_tools_of_text(value)) or None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [tool for item in value[:_MOST] for tool in _tools_of_text(item)] or None
    return list(_tools(value)) or None


@lru_cache(maxsize=256)
def _tools_of_text(said: str) -> tuple[Tool, ...]:
    return tuple(_tools(parse_json(said)))


def _tools(value: Value) -> Iterator[Tool]:
    for item in (value if isinstance(value, list) else [value])[:_MOST]:
        found = parse_json(item)
        if not isinstance(found, Mapping):
            continue
        inner = next((found[key] for key in _WRAPPERS if isinstance(found.get(key), Mapping)), found)
        name = text(inner.get("name"))
        if name:
            yield name, digest(inner)


def digest(value: Value) -> str:
    """The digest of a definition or template: the same for the same content, whatever the order of its keys."""
    said = value if isinstance(value, str) else _canonical(value)
    return "sha256:" + sha256(said.encode("utf-8", "replace")).hexdigest()


def _canonical(value: Value) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # bytes, numbers beyond 64 bits, texts that are not Unicode
        return repr(value)
