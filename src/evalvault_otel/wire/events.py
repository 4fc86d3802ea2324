"""Which log records are events of a span, the only ones kept here: one rule for both encodings.

Source: semantic-conventions-genai, events; opentelemetry-proto logs.proto, `event_name` and the ids of `LogRecord`.
"""

from typing import Final

from . import identity

# Where SDKs before `LogRecord.event_name` put the name of an event.
EVENT_NAME: Final = "event.name"
_OURS: Final = ("gen_ai.", "evalvault.")
_SHOWN: Final = 60
NO_LOG_RECORD: Final = f"a log record without a time and an event name{identity.WRONG_SIGNAL['logs']}"


def is_ours(name: str) -> bool:
    """Whether an event with this name says something about a stage."""
    return name.startswith(_OURS)


def invalid_event(name: str, trace_id: str, span_id: str) -> str | None:
    """Why an event cannot be kept, or None: it belongs to the span that its ids name."""
    problem = identity.invalid_ids(trace_id, span_id, hint="")
    if problem is None:
        return None
    return f"the event {name[:_SHOWN]} belongs to a span and was sent outside of one: {problem}"
