"""The `evalvault.*` attribute registry: our own names, the first to be believed.

The names and what they fill come from registry.yaml, through the generated `names` (ADR 0017). Stage types are an open
vocabulary: the words of the registry, `custom.<name>`, or any other lower-case word.
"""

import re

from .coercions import COERCIONS
from .names import ASSET_EVENT_ALIAS, ASSET_USED_EVENT, ASSETS, FILLS, RUN_ID, STAGE_TYPE
from .rules import Dialect, Part, Rule, Typing

__all__ = ["ASSETS", "ASSET_EVENTS", "DIALECT", "RUN_ID", "STAGE_TYPE", "stage_type"]

ASSET_EVENTS = frozenset({ASSET_USED_EVENT, ASSET_EVENT_ALIAS})

_WORD = re.compile(r"[a-z][a-z0-9_.\-]{0,63}\Z")


def stage_type(value: str) -> str | None:
    """A stage type as users write it: trimmed and lower-cased; None when it is no word."""
    word = value.strip().lower()
    return word if _WORD.match(word) else None


DIALECT: Dialect = Dialect(
    name="evalvault",
    typings=(Typing(STAGE_TYPE, parse=stage_type),),
    rules=tuple(Rule(key, name, COERCIONS[read], Part(part)) for key, part, name, read in FILLS),
)
