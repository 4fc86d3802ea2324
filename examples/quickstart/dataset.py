"""The questions file in, test cases out."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Question:
    """One test case. `relevant` are the ids of the sections that answer it; empty when nothing does."""

    id: str
    text: str
    relevant: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Named and versioned questions, in the order in which they are asked."""

    name: str
    version: str
    questions: tuple[Question, ...]


def load(path: Path) -> Dataset:
    """Read `{"name": …, "version": …, "questions": [{"id": …, "question": …, "relevant": […]}]}`.

    Raises:
        ValueError: the file is not of that form.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        questions = tuple(
            Question(item["id"], item["question"], tuple(item.get("relevant", ()))) for item in document["questions"]
        )
        return Dataset(document["name"], document["version"], questions)
    except (KeyError, TypeError, json.JSONDecodeError) as exc:
        raise ValueError(f"{path} is not a questions file: {exc!r}") from exc
