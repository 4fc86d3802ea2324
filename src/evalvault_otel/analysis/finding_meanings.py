"""What the codes of findings mean, for whoever shows findings: looked up by code, so that rows stay lean."""

from dataclasses import dataclass

from ..assembly.finding_codes import CODES


@dataclass(frozen=True, slots=True)
class CodeJson:
    """A code: what cannot be known where it stands (`unknown`), and the setting that fixes it (`fix`)."""

    code: str
    severity: str
    sentence: str
    unknown: str
    fix: str


def meaning_of(code: str) -> tuple[str, str]:
    """What cannot be known, and what fixes it; empty texts for a code of another version."""
    meaning = CODES.get(code)
    return (meaning.unknown, meaning.fix) if meaning else ("", "")


def all_codes() -> list[CodeJson]:
    """Every code, in the order of docs/findings.md."""
    return [
        CodeJson(code, meaning.severity, meaning.sentence, meaning.unknown, meaning.fix)
        for code, meaning in CODES.items()
    ]
