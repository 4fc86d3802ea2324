"""GenAI semantic conventions (OpenTelemetry), events: the contents of a call, and evaluations of one.

Contents come in four forms: as attributes of the span; in one event `gen_ai.client.inference.operation.details` with
the same attributes; until version 1.36 in one event per message; before 1.28 in one event for either side. Here all
become the attributes.

Source: semantic-conventions-genai, gen-ai-events.md and gen-ai-spans.md; opentelemetry semantic conventions v1.36.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..model import Attributes, SpanEvent, Value
from ..text import clean_text
from .coerce import text

INPUT = "gen_ai.input.messages"
OUTPUT = "gen_ai.output.messages"

DETAILS = "gen_ai.client.inference.operation.details"
EVALUATION = "gen_ai.evaluation.result"
# One event per message: the attribute that lists such messages, and the role of one that does not say it.
_MESSAGES = {
    "gen_ai.system.message": (INPUT, "system"),
    "gen_ai.user.message": (INPUT, "user"),
    "gen_ai.assistant.message": (INPUT, "assistant"),
    "gen_ai.tool.message": (INPUT, "tool"),
    "gen_ai.choice": (OUTPUT, "assistant"),
}
# One event for a side, as JSON text in one attribute.
_SIDES = {
    "gen_ai.content.prompt": ("gen_ai.prompt", INPUT),
    "gen_ai.content.completion": ("gen_ai.completion", OUTPUT),
}
EVENTS = frozenset({DETAILS, *_MESSAGES, *_SIDES})
_PREFIX = "gen_ai."
_MAX_NAME = 200
_MAX_TEXT = 1000


def event_content(events: Iterable[SpanEvent]) -> dict[str, Value]:
    """Attributes that events of a span carry for it: the contents of its call. Of several events the first counts."""
    found: dict[str, Value] = {}
    messages: dict[str, list[Value]] = {}
    for event in events:
        if event.name == DETAILS:
            said = ((key, value) for key, value in event.attributes.items() if key.startswith(_PREFIX))
            found = dict(said) | found
        elif event.name in _MESSAGES:
            key, role = _MESSAGES[event.name]
            own = {name: value for name, value in event.attributes.items() if not name.startswith(_PREFIX)}
            messages.setdefault(key, []).append({"role": role, **own})
        elif event.name in _SIDES:
            said_as, key = _SIDES[event.name]
            if said_as in event.attributes:
                found.setdefault(key, event.attributes[said_as])
    return {**messages, **found} if messages else found


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluator said of a call. `score` is as it was sent, to be checked by who uses it."""

    name: str
    time_ns: int
    score: Value = None
    label: str | None = None
    explanation: str | None = None

    def shown(self) -> dict[str, Any]:
        """The evaluation as an item of the stage attribute `evaluations`."""
        said = {"name": self.name, "score": self.score, "label": self.label, "explanation": self.explanation}
        return {key: value for key, value in said.items() if value is not None}


def evaluation(event: SpanEvent) -> Evaluation | None:
    """The evaluation that an event reports; None for other events and for one without a name."""
    if event.name != EVALUATION:
        return None
    said: Attributes = event.attributes
    name = text(said.get("gen_ai.evaluation.name"))
    if name is None or not (name := clean_text(name).strip()[:_MAX_NAME]):
        return None
    return Evaluation(
        name,
        event.time_ns,
        _short(said.get("gen_ai.evaluation.score.value")),
        _text(said.get("gen_ai.evaluation.score.label")),
        _text(said.get("gen_ai.evaluation.explanation")),
    )


def _text(value: Value) -> str | None:
    return (text(value) or "")[:_MAX_TEXT] or None


def _short(value: Value) -> Value:
    """Numbers as they are; what is no score is shown as short text."""
    return value if value is None or isinstance(value, int | float) else clean_text(str(value))[:_MAX_TEXT]
