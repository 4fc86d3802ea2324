"""Links to other programs that show the same traces: Phoenix, Jaeger, and what else a user names.

A template holds `{trace_id}`, and `{span_id}` where it leads to a span. Sources: Phoenix, `/redirects/traces/{id}` and
`/redirects/spans/{id}`; Jaeger UI, `/trace/{id}?uiFind={id}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from ..errors import SettingsError
from ..settings import Settings


@dataclass(frozen=True, slots=True)
class Templates:
    """Where a program shows a trace and a span; None where it cannot."""

    trace: str | None = None
    span: str | None = None


@dataclass(frozen=True, slots=True)
class Viewers:
    """The programs by name, in the order in which they are shown."""

    templates: Mapping[str, Templates] = field(default_factory=dict)

    def of_trace(self, trace_id: str) -> dict[str, str]:
        """Links to a trace, by program."""
        return {
            name: one.trace.replace("{trace_id}", quote(trace_id, safe=""))
            for name, one in self.templates.items()
            if one.trace is not None
        }

    def of_span(self, trace_id: str, span_id: str | None) -> dict[str, str]:
        """Links to a span, or to its trace where a program has none for spans or there is no span."""
        links = self.of_trace(trace_id)
        if span_id:
            links |= {
                name: one.span.replace("{trace_id}", quote(trace_id, safe="")).replace(
                    "{span_id}", quote(span_id, safe="")
                )
                for name, one in self.templates.items()
                if one.span is not None
            }
        return links


def viewers_of(settings: Settings) -> Viewers:
    """The programs that the settings name.

    Raises:
        SettingsError: an address is none, or a template holds no trace or span.
    """
    found: dict[str, Templates] = {}
    if settings.phoenix_url:
        base = _address("phoenix_url", settings.phoenix_url)
        found["Phoenix"] = Templates(f"{base}/redirects/traces/{{trace_id}}", f"{base}/redirects/spans/{{span_id}}")
    if settings.jaeger_url:
        base = _address("jaeger_url", settings.jaeger_url)
        found["Jaeger"] = Templates(f"{base}/trace/{{trace_id}}", f"{base}/trace/{{trace_id}}?uiFind={{span_id}}")
    for part in filter(str.strip, settings.viewers.split(";")):
        name, template = _named(part)
        known = found.get(name, Templates())
        is_span = "{span_id}" in template
        found[name] = Templates(known.trace if is_span else template, template if is_span else known.span)
    return Viewers(found)


def _named(part: str) -> tuple[str, str]:
    name, _, template = (text.strip() for text in part.partition("="))
    if not (name and template):
        raise SettingsError(f"viewers: {part.strip()!r} is not of the form NAME=https://…{{trace_id}}…")
    _address("viewers", template)
    if "{trace_id}" not in template and "{span_id}" not in template:
        raise SettingsError(f"viewers: the address of {name} holds neither {{trace_id}} nor {{span_id}}")
    return name, template


def _address(setting: str, said: str) -> str:
    """An address of the web, without a slash at its end."""
    parts = urlsplit(said.strip())
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise SettingsError(f"{setting}: {said!r} is no address that begins with http:// or https://")
    return said.strip().rstrip("/")
