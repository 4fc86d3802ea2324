"""Text in, search terms and sentences out. English only, no dictionary."""

import re

_WORD = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*])")
_FENCE = re.compile(r"^```.*?^```\n?", re.DOTALL | re.MULTILINE)
_TABLE_HEAD = re.compile(r"^\|.*\|\n\|[\s|:-]+\|$", re.MULTILINE)
_BLOCK = re.compile(r"\n\s*\n|\n(?=[|*-]|\d+\.\s)")
_MARKER = re.compile(r"^(?:[*-]|\d+\.)\s+")

# The first suffix that fits is the one to cut.
_SUFFIXES = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("s", ""))
_SHORTEST_STEM = 3

_STOP_WORDS = """
a about after all also an and any are as at be because been but by can could described did do does for from had has
have how i if in into is it its me my no not of on or our out over so than that the their them then there these they
this to up was we were what when where which who why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def terms(text: str) -> list[str]:
    """The search terms of `text`: lower case, without stop words, with plain English endings cut.

    A name such as `commit_delay_ms` gives itself and its parts.
    """
    found: list[str] = []
    for word in _WORD.findall(text.lower()):
        parts = [word, *word.split("_")] if "_" in word else [word]
        found.extend(_stem(part) for part in parts if part not in STOP_WORDS)
    return found


def _stem(word: str) -> str:
    for suffix, replacement in _SUFFIXES:
        stem = word.removesuffix(suffix)
        if stem != word and len(stem) >= _SHORTEST_STEM and not word.endswith("ss"):
            return (stem + replacement).removesuffix("e")
    return word.removesuffix("e") if len(word) > _SHORTEST_STEM else word


def sentences(markdown: str) -> list[str]:
    """What can be quoted from a section: its sentences and table rows, without code blocks and table heads."""
    text = _TABLE_HEAD.sub("\n", _FENCE.sub("\n", markdown))
    found: list[str] = []
    for block in _BLOCK.split(text):
        line = _MARKER.sub("", " ".join(block.split()))
        found.extend([_row(line)] if line.startswith("|") else [part for part in _SENTENCE_END.split(line) if part])
    return found


def _row(line: str) -> str:
    return ": ".join(cell.strip() for cell in line.strip("|").split("|") if cell.strip())
