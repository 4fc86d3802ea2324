"""How a stage ended: its status, and the error that a person can group by."""

import re
from dataclasses import dataclass
from hashlib import sha256

from ..model import STATUS_ERROR, SpanEvent
from ..text import clean_text
from .nodes import Node

_STATUSES = frozenset({"success", "error", "timeout", "cancelled", "skipped", "fallback"})
_ALIASES = {"ok": "success", "completed": "success", "pass": "success", "failed": "error", "aborted": "cancelled"}

# Error types that are not the stage's fault, by the last part of their name.
_KINDS = {
    **dict.fromkeys(
        (
            *("timeout", "timeouterror", "timeouts", "timeoutexception", "timeoutexpired", "apitimeouterror"),
            *("readtimeout", "connecttimeout", "writetimeout", "pooltimeout", "sockettimeoutexception"),
            *("httptimeoutexception", "deadline_exceeded", "deadlineexceeded", "504", "408"),
        ),
        "timeout",
    ),
    **dict.fromkeys(
        (
            *("cancellederror", "generatorexit", "cancelled", "canceled", "cancellationexception", "aborterror"),
            *("operationcanceledexception", "taskcanceledexception", "keyboardinterrupt", "499"),
        ),
        "cancelled",
    ),
}
_MAX_MESSAGE = 1000
# What differs between two occurrences of one error: ids, numbers, quoted values, addresses.
_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8}[0-9a-fA-F-]*\b|\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\"|`[^`]*`")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Status of a stage; the rest only for stages that did not succeed."""

    status: str
    error_type: str | None = None
    error_message: str | None = None
    fingerprint: str | None = None


SUCCESS = Outcome("success")


def outcome(node: Node) -> Outcome:
    """Explicit status, else the span's, else an `exception` event that escaped."""
    span = node.span
    said = node.reading.identity.get("status")
    status = explicit = _explicit(said) if said is not None else None
    if status is None:
        if span.status_code != STATUS_ERROR and not any(_escaped(event) for event in span.events):
            return SUCCESS
        status = "error"
    elif status == "success":
        return SUCCESS
    error_type, message = _error(node)
    if explicit is None and error_type:
        status = _KINDS.get(error_type.rpartition(".")[2].lower(), status)
    if status in {"skipped", "fallback", "cancelled"} and error_type is None:
        return Outcome(status, None, message)
    return Outcome(status, error_type, message, fingerprint(node, error_type, message))


def _explicit(said: object) -> str | None:
    word = str(said).strip().lower()
    word = _ALIASES.get(word, word)
    return word if word in _STATUSES else None


def _escaped(event: SpanEvent) -> bool:
    return event.name == "exception" and str(event.attributes.get("exception.escaped")).lower() == "true"


def _error(node: Node) -> tuple[str | None, str | None]:
    """Type and message from the last exception event, else `error.type` and the status message."""
    span = node.span
    exceptions = [event.attributes for event in span.events if event.name == "exception"]
    last = exceptions[-1] if exceptions else {}
    error_type = last.get("exception.type") or span.attributes.get("error.type")
    message = last.get("exception.message") or span.status_message
    return _text(error_type), _text(message)


def _text(value: object) -> str | None:
    return clean_text(str(value))[:_MAX_MESSAGE] if value else None


def fingerprint(node: Node, error_type: str | None, message: str | None) -> str:
    """The same for two occurrences of one error: type, message without its variable parts, and stage."""
    normal = _VARIABLE.sub("?", message or "")
    return sha256(f"{node.stage_type}\n{error_type}\n{normal}".encode()).hexdigest()[:12]
