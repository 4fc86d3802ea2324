"""Log events put into the spans that they name, as span events, before anything else is done (ADR 0010).

Both carriers then follow the same rules. A bridge may have recorded an event on the span as well: it counts once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..model import Attributes, LogEvent, Span, SpanEvent
from ..text import clean_text
from ..values import dumps

BODY = "body"

_Key = tuple[int, str, str]


def merged(spans: Sequence[Span], logs: Iterable[LogEvent]) -> tuple[list[Span], list[str]]:
    """The spans with their log events, and the ids of spans that log events name and that are not there.

    The span's own events come first, in their order; log events follow by time, then content, so that the order of
    `logs` changes nothing.
    """
    by_span: dict[str, dict[_Key, SpanEvent]] = {}
    for log in logs:
        event = as_span_event(log)
        by_span.setdefault(log.span_id, {})[_key(event)] = event
    whole = [_with(span, by_span[span.span_id]) if span.span_id in by_span else span for span in spans]
    return whole, sorted(by_span.keys() - {span.span_id for span in spans})


def as_span_event(log: LogEvent) -> SpanEvent:
    """A log event as a span event, at its time or else when it was observed.

    A map in the body adds those attributes that the record does not have itself: older GenAI events carry their content
    there, newer ones in attributes. Any other body is the attribute `body`.
    """
    said: Attributes = log.attributes
    if isinstance(log.body, Mapping):
        said = {**log.body, **said}
    elif log.body is not None:
        said = {BODY: log.body, **said}
    return SpanEvent(log.time_ns or log.observed_ns, clean_text(log.name), said, log.dropped_attributes)


def _with(span: Span, events: Mapping[_Key, SpanEvent]) -> Span:
    own = set(map(_key, span.events))
    added = tuple(events[key] for key in sorted(events) if key not in own)
    return replace(span, events=(*span.events, *added)) if added else span


def _key(event: SpanEvent) -> _Key:
    """What makes two events one: time, name, attributes; as they are stored, whatever the order of attributes."""
    said = {clean_text(key): value for key, value in event.attributes.items()}
    return event.time_ns, clean_text(event.name), dumps(dict(sorted(said.items())))
