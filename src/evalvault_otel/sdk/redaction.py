"""The content policy for finished spans of any instrumentation, on their way out: what an exporter calls.

Spans are copied where something changes; other exporters of the program keep what they have. What is known to be lost
to limits of the SDK stays known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Status

from .content import EVERYTHING, ContentPolicy, masked, redact


def redacted(spans: Sequence[ReadableSpan], policy: ContentPolicy) -> Sequence[ReadableSpan]:
    """These spans as they may be sent: attributes, those of events, and what the status says."""
    return spans if policy == EVERYTHING else [_span(span, policy) for span in spans]


def _span(span: ReadableSpan, policy: ContentPolicy) -> ReadableSpan:
    before = span.attributes
    attributes = _attributes(before, span.dropped_attributes, policy)
    events = [_event(event, policy) for event in span.events]
    said = span.status.description
    status = span.status if not said else Status(span.status.status_code, masked(said, policy))
    if attributes is before and all(map(_is, events, span.events)) and status.description == said:
        return span
    kept: BoundedList[Event] = BoundedList.from_seq(len(events), events)
    kept.dropped = span.dropped_events
    links: BoundedList[Any] = BoundedList.from_seq(len(span.links), span.links)
    links.dropped = span.dropped_links
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=kept,
        links=links,
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _is(one: object, other: object) -> bool:
    return one is other


def _event(event: Event, policy: ContentPolicy) -> Event:
    before = event.attributes
    attributes = _attributes(before, event.dropped_attributes, policy)
    return event if attributes is before else Event(event.name, attributes, event.timestamp)


def _attributes(said: Mapping[str, Any] | None, dropped: int, policy: ContentPolicy) -> Any:
    shown = redact(said or {}, policy)
    if not said or shown is said:
        return said
    made = BoundedAttributes(attributes=dict(shown))
    made.dropped = dropped
    return made
