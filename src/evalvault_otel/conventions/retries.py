"""How often a call was tried, as HTTP and OpenLIT say it.

Sources: OpenTelemetry semantic conventions, HTTP spans, `http.request.resend_count`; OpenLIT, event `retry`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from ..model import SpanEvent, Value
from .coerce import integer
from .rules import Dialect, Part, Rule

_RETRY: Final = "retry"
_ATTEMPT: Final = "retry.attempt"


def _attempts(events: Sequence[SpanEvent]) -> Mapping[str, Value]:
    tried = [integer(event.attributes.get(_ATTEMPT)) for event in events if event.name == _RETRY]
    known = [attempt for attempt in tried if attempt is not None]
    return {_ATTEMPT: max(known)} if known else {}


def _resent(value: Value) -> int | None:
    """A request that was sent again once is the second attempt."""
    found = integer(value)
    return None if found is None or found < 0 else found + 1


DIALECT: Dialect = Dialect(
    name="retries",
    rules=(
        Rule(_ATTEMPT, "attempt", integer, Part.IDENTITY),
        Rule("http.request.resend_count", "attempt", _resent, Part.IDENTITY),
    ),
    of_events=_attempts,
    event_names=frozenset({_RETRY}),
)
