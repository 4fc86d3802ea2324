"""A debug report as text: JSON for programs, Markdown for people. The same report gives the same bytes."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from .failing import score_text
from .figures import count, duration, number, percent
from .report_model import DebugReport, SlowTracePart

_BAR_WIDTH: Final = 40
# What begins or ends something in Markdown or HTML; an underscore only at the edge of a word.
_SPECIAL: Final = re.compile(r"([\\`*\[\]<>|~]|(?<!\w)_|_(?!\w))")
_SPACE: Final = re.compile(r"\s+")


def to_json(report: Any) -> bytes:
    """Any record of this package as JSON, indented."""
    return orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)


def to_markdown(report: DebugReport) -> str:
    """The report as Markdown. Text from outside is escaped: it can neither break a table nor become HTML."""
    return environment().get_template("report.md.j2").render(report=report)


@cache
def environment() -> Environment:
    """Templates of this package with the filters that escape."""
    environment = Environment(  # noqa: S701 - Markdown, not HTML: the filters below escape
        loader=PackageLoader(__package__ or __name__),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "ms": duration,
        "num": number,
        "percent": percent,
        "count": count,
        "text": text,
        "code": code,
        "sentence": sentence,
        "versions": versions,
        "waterfall": waterfall,
    }
    environment.globals["score"] = score_text
    return environment


def text(value: object) -> str:
    """Text from outside on one line, with nothing that Markdown or HTML would act on."""
    return _SPECIAL.sub(r"\\\1", _line(value)).replace(r"\<", "&lt;").replace(r"\>", "&gt;")


def code(value: object) -> str:
    """Text from outside as code, also inside a table."""
    return "`" + _line(value).replace("`", "'").replace("|", "\\|") + "`"


def versions(names: Iterable[str | None]) -> str:
    """Versions in a list; None is one that has no name."""
    return ", ".join(name or "unversioned" for name in names)


def sentence(value: str) -> str:
    """A sentence of ours that quotes names in backticks: what is not quoted is escaped, what is becomes code."""
    parts = value.split("`")
    return "".join(code(part) if index % 2 else text_part(part) for index, part in enumerate(parts))


def text_part(value: str) -> str:
    """As `text`, but spaces at the ends stay."""
    return f"{' ' * value.startswith(' ')}{text(value)}{' ' * (value.endswith(' ') and len(value) > 1)}"


def _line(value: object) -> str:
    return _SPACE.sub(" ", str(value)).strip()


def waterfall(trace: SlowTracePart) -> str:
    """The stages of a trace as bars over its duration, for a block of code."""
    whole = trace.duration_ms or 1.0
    labels = ["  " * bar.depth + _line(bar.stage_type) for bar in trace.waterfall]
    width = max(map(len, labels), default=0)
    lines = []
    for label, bar in zip(labels, trace.waterfall, strict=True):
        took = bar.duration_ms or 0.0
        begin = min(int(bar.offset_ms / whole * _BAR_WIDTH), _BAR_WIDTH - 1)
        length = max(1, min(round(took / whole * _BAR_WIDTH), _BAR_WIDTH - begin))
        drawn = (" " * max(begin, 0) + ("█" * length if bar.duration_ms is not None else "·")).ljust(_BAR_WIDTH)
        time = duration(took) if bar.duration_ms is not None else "derived"
        ending = "" if bar.status == "success" else f"  {bar.status}"
        lines.append(f"{label.ljust(width)} |{drawn}| {time}{ending}".rstrip())
    return "\n".join(lines)
