"""SQL by name, read once from `sql/` (`common`, `assets`, `changes`, `compare`, `symptoms`) and the dialect's own file.

* `-- name: x` begins the text `x`; a dialect's text of the same name replaces the common one.
* `{x}` stands for the text `x`, `{x(y)}` for the text `x` with `$1` replaced by `y`.
* A line that ends in `-- if p` is left out when the parameter `p` is not given, so that a filter which is not used
  costs nothing and the planner sees only what is asked.
"""

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_USE = re.compile(r"\{(\w+)(?:\(([^)]*)\))?\}")
_CONDITION = re.compile(r"-- if (\w+)\s*$")


@cache
def statement(dialect: str, name: str, given: frozenset[str]) -> str:
    """The text `name` for a database, with the optional lines of the parameters `given`."""
    lines = _expanded(_texts(dialect), f"{{{name}}}").splitlines()
    return "\n".join(line for line in lines if _wanted(line, given))


def _wanted(line: str, given: frozenset[str]) -> bool:
    condition = _CONDITION.search(line)
    return condition is None or condition.group(1) in given


def _expanded(texts: dict[str, str], text: str) -> str:
    while _USE.search(text):
        text = _USE.sub(lambda use: texts[use.group(1)].replace("$1", use.group(2) or ""), text)
    return text


@cache
def _texts(dialect: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for file in ("common", "assets", "changes", "compare", "symptoms", dialect):
        parts = _NAME.split((files(__package__) / "sql" / f"{file}.sql").read_text("utf-8"))
        texts |= {name: _without_remarks(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    return texts


def _without_remarks(body: str) -> str:
    """Remarks for readers of the file are not sent to the database; `{…}` and `:name` in them would count."""
    kept = "\n".join(line for line in body.strip().splitlines() if not line.lstrip().startswith("--"))
    # A text of many lines may end in a condition, which must not swallow what follows where the text is used.
    return kept + "\n" if "\n" in kept else kept
