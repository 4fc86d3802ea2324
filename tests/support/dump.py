"""What a sender says it made, printed by itself as JSON lines, as the `Span` records that must arrive of it.

A line has the fields of `Span` by their names. Times may be numbers or text, since not every language has integers
of 64 bits; counts of what was dropped are 0. A number without a point or exponent is an integer.
"""

import json
from typing import Any

from evalvault_otel.model import Span, SpanEvent, SpanLink
from evalvault_otel.wire import identity

_NOTHING_DROPPED: dict[str, Any] = {"dropped_attributes": 0, "dropped_events": 0, "dropped_links": 0}


def dumped_spans(text: str) -> list[Span]:
    """The spans of all lines."""
    return [_span(json.loads(line)) for line in text.splitlines()]


def _span(said: dict[str, Any]) -> Span:
    resource, scope = said.pop("resource"), said.pop("scope")
    made: dict[str, Any] = {
        "start_ns": int(said.pop("start_ns")),
        "end_ns": int(said.pop("end_ns")),
        "events": tuple(_event(**event) for event in said.pop("events")),
        "links": tuple(SpanLink(**link) for link in said.pop("links")),
        "resource": identity.resource(resource["attributes"], 0, resource["schema_url"]),
        "scope": identity.scope(scope["name"], scope["version"], scope["attributes"], 0, scope["schema_url"]),
    }
    return Span(**(said | made | _NOTHING_DROPPED))


def _event(time_ns: str | int, name: str, attributes: dict[str, Any]) -> SpanEvent:
    return SpanEvent(int(time_ns), name, attributes)
