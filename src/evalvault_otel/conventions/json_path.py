"""Simple paths into JSON: `$.hits[*].id`. A path in, a function from a value to what stands there out.

Of JSONPath (RFC 9535) only names and indexes are known: `.name`, `['name']`, `[0]`, `[-1]`, `[*]`. A path with `[*]`
finds a list in which an item without the rest of the path keeps its place as None; other paths find one value or None.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..model import Value
from .coerce import parse_json

_STEP = re.compile(
    r"""\.(?P<name>[A-Za-z_][\w-]*) | \[ (?: (?P<index>-?\d{1,6}) | (?P<star>\*) | '(?P<quoted>[^']+)' ) \]""",
    re.VERBOSE,
)
_EVERY = None
# Larger lists than any result list: what goes beyond is no evidence that a person reads.
_MOST_ITEMS = 10_000

Step = str | int | None


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path, read once. `steps` are names, indexes, and None for every item."""

    text: str
    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> "JsonPath":
        """The path that a text says.

        Raises:
            ValueError: it is not of that form.
        """
        steps: list[Step] = []
        position = 1
        while text.startswith("$") and position < len(text):
            step = _STEP.match(text, position)
            if step is None:
                break
            steps.append(_step(step))
            position = step.end()
        if not text.startswith("$") or position < len(text):
            raise ValueError(f"{text!r} is not a path like $.hits[*].id or $[0].name")
        return cls(text, tuple(steps))

    def find(self, value: Value) -> Value:
        """What stands at this path in a value or in its JSON text; None where nothing does."""
        found = [parse_json(value)]
        several = False
        for step in self.steps:
            if step is _EVERY:
                if found and not any(isinstance(each, list) for each in found):
                    # No list is not an empty list: that would say that nothing was found.
                    return None
                several = True
                found = [item for each in found if isinstance(each, list) for item in each][:_MOST_ITEMS]
            else:
                found = [_at(each, step) for each in found]
        return found if several else found[0]


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return int(match["index"])
    return _EVERY if match["star"] else match["name"] or match["quoted"]


def _at(value: Value, step: Step) -> Value:
    if isinstance(step, int):
        within = isinstance(value, list) and -len(value) <= step < len(value)
        return value[step] if within else None
    return value.get(step) if isinstance(value, Mapping) else None
