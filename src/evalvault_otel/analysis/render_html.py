"""A debug report as one HTML file: nothing is loaded, nothing runs, it can be printed. Same report, same bytes."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from .failing import score_text
from .figures import count, duration, number, percent
from .report_model import DebugReport
from .viewers import Viewers

_NO_VIEWERS: Final = Viewers()


def to_html(report: DebugReport, viewers: Viewers = _NO_VIEWERS) -> str:
    """The report as a page. Text from outside is escaped: it can be no markup."""
    return _environment().get_template("report.html.j2").render(report=report, viewers=viewers)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__ or __name__),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ms": duration,
        "num": number,
        "percent": percent,
        "count": count,
        "sentence": sentence,
        "versions": _versions,
    }
    style = (files(__package__ or __name__) / "templates" / "report.css").read_text("utf-8")
    environment.globals |= {"score": score_text, "style": Markup(style)}  # noqa: S704 - our own file
    return environment


def sentence(value: str) -> Markup:
    """A sentence of ours that quotes names in backticks, these as code."""
    parts = value.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def _versions(names: Iterable[str | None]) -> str:
    return ", ".join(name or "unversioned" for name in names)
