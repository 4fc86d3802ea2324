"""Coercions by name: what the registry and the rules of users call them."""

from collections.abc import Mapping
from typing import Final

from . import coerce
from .coerce import Coerce

COERCIONS: Final[Mapping[str, Coerce]] = {
    "anything": coerce.anything,
    "boolean": coerce.boolean,
    "citations": coerce.citations,
    "integer": coerce.integer,
    "number": coerce.number,
    "numbers": coerce.numbers,
    "question": coerce.question,
    "text": coerce.text,
    "texts": coerce.texts,
}
"""See `coerce` for what each makes of a value."""
