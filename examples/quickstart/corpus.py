"""Markdown files in, sections out. A section is a heading with the text up to the next heading: the unit of retrieval.

The id of a section is `file.md#slug`, with slugs as GitHub makes them, so that a citation can be opened as a link.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")


@dataclass(frozen=True, slots=True)
class Section:
    """One retrievable piece: `id` is `file.md#slug`, `page` the title of its file."""

    id: str
    page: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """All sections, in the order of files and headings; `digest` changes when any text changes."""

    sections: tuple[Section, ...]
    digest: str


def load(paths: Sequence[Path]) -> Corpus:
    """Read the Markdown files of `paths` (folders, not their subfolders, or single files).

    Raises:
        ValueError: there is no section in any of them.
    """
    sections = tuple(section for path in _files(paths) for section in _sections(path))
    if not sections:
        raise ValueError(f"no Markdown section found in {', '.join(map(str, paths))}: pass --corpus DIR")
    content = "\0".join(f"{section.id}\0{section.text}" for section in sections)
    return Corpus(sections, hashlib.sha256(content.encode()).hexdigest())


def _files(paths: Iterable[Path]) -> list[Path]:
    return [file for path in paths for file in (sorted(path.glob("*.md")) if path.is_dir() else [path])]


def _sections(path: Path) -> Iterator[Section]:
    page, seen = path.stem, dict[str, int]()
    for number, (heading, text) in enumerate(_blocks(path.read_text(encoding="utf-8"))):
        page = heading if number == 0 else page
        if text:
            yield Section(f"{path.name}#{_slug(heading, seen)}", page, heading, text)


def _blocks(markdown: str) -> Iterator[tuple[str, str]]:
    heading, lines, in_code = "", list[str](), False
    for line in markdown.splitlines():
        in_code ^= line.startswith("```")
        match = None if in_code else _HEADING.match(line)
        if match:
            if heading:
                yield heading, "\n".join(lines).strip()
            heading, lines = match[2], []
        else:
            lines.append(line)
    if heading:
        yield heading, "\n".join(lines).strip()


def _slug(heading: str, seen: dict[str, int]) -> str:
    slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    seen[slug] = seen.get(slug, -1) + 1
    return f"{slug}-{seen[slug]}" if seen[slug] else slug
