"""The versioned prompt: files in, rendered text out. The version is in the file name: `qa_answer.v2.txt`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus import Section

FOLDER = Path(__file__).parent / "prompts"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt template with the version and digest that are recorded with each use."""

    name: str
    version: str
    template: str

    @property
    def digest(self) -> str:
        """A hash of the template: shows an edit that did not change the version."""
        return f"sha256:{hashlib.sha256(self.template.encode()).hexdigest()}"

    def render(self, question: str, passages: Sequence[Section]) -> str:
        """The prompt as a language model would get it."""
        numbered = (f"[{n}] {section.heading}: {section.text}" for n, section in enumerate(passages, 1))
        return self.template.format(question=question, passages="\n".join(numbered) or "(none)")


def load_prompt(name: str, version: str) -> Prompt:
    """Read a prompt version from its file.

    Raises:
        FileNotFoundError: there is no such version.
    """
    return Prompt(name, version, (FOLDER / f"{name}.v{version}.txt").read_text(encoding="utf-8"))
