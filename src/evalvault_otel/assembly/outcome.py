"""How a stage ended: its status, and the error that a person can group by."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from ..model import STATUS_ERROR, Attributes, SpanEvent, Value
from ..text import clean_text
from .nodes import Node

_STATUSES = frozenset({"success", "error", "timeout", "cancelled", "skipped", "fallback"})
_ALIASES = {"ok": "success", "completed": "success", "pass": "success", "failed": "error", "aborted": "cancelled"}

# Error types that say that time was up or that the caller gave up, by the last part of their name, small letters and
# digits only. `error.type` may be a class, a code of gRPC or HTTP, or what a runtime calls it.
_TIMEOUTS = (
    # Python: built-in and asyncio, subprocess, requests, httpx, urllib3, aiohttp, botocore, redis, SQL drivers.
    *("timeout", "timeouterror", "timeoutexpired", "timeoutexception", "readtimeout", "writetimeout", "pooltimeout"),
    *("connecttimeout", "readtimeouterror", "connecttimeouterror", "servertimeouterror", "sockettimeouterror"),
    *("connectiontimeouterror", "connectiontimeout", "requesttimeout", "requesttimeouterror", "pooltimeouterror"),
    # OpenAI, Anthropic and Cohere; Google.
    *("apitimeouterror", "apiconnectiontimeouterror", "deadlineexceeded", "gatewaytimeout", "timeoutexceeded"),
    # Java and .NET, Go, Node.
    *("sockettimeoutexception", "httptimeoutexception", "httpconnecttimeoutexception", "readtimeoutexception"),
    *("connecttimeoutexception", "interruptedioexception", "requesttimeoutexception"),
    *("contextdeadlineexceeded", "deadlineexceedederror", "etimedout", "esockettimedout"),
    *("underrheaderstimeout", "underrbodytimeout", "underrconnecttimeout", "headerstimeouterror", "bodytimeouterror"),
    # HTTP status codes.
    *("408", "504"),
)
_CANCELLATIONS = (
    *("cancellederror", "cancelled", "canceled", "cancelederror", "generatorexit", "keyboardinterrupt"),
    *("cancellationexception", "operationcanceledexception", "taskcanceledexception", "jobcancellationexception"),
    *("interruptedexception", "contextcanceled", "aborterror", "apiuseraborterror", "operationcancelled"),
    # What nginx says where the client went away.
    "499",
)
_KINDS = dict.fromkeys(_TIMEOUTS, "timeout") | dict.fromkeys(_CANCELLATIONS, "cancelled")
_LAST_PART = re.compile(r"[^.:$/#]*\Z")
_NO_WORD = re.compile(r"[^a-z0-9]+")
# gRPC, statuscodes.md: the two that are told apart.
_GRPC_CODES = {1: "CANCELLED", 4: "DEADLINE_EXCEEDED"}
_ERROR_KEYS = ("error.type", "rpc.response.status_code")
_NO_ERRORS = frozenset({"skipped", "fallback", "cancelled"})
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
        failed = span.status_code == STATUS_ERROR or "failed" in node.reading.identity
        if not failed and not _escaped(span.events):
            return SUCCESS
        status = "error"
    elif status == "success":
        return SUCCESS
    error_type, message = _error(node)
    if explicit is None and error_type:
        status = kind_of_error(error_type) or status
    if status == "skipped":
        message = _text(node.reading.identity.get("skip_reason")) or message
    if status in _NO_ERRORS and error_type is None:
        return Outcome(status, None, message)
    return Outcome(status, error_type, message, fingerprint(node, error_type, message))


def _explicit(said: object) -> str | None:
    word = str(said).strip().lower()
    word = _ALIASES.get(word, word)
    return word if word in _STATUSES else None


def _escaped(events: Iterable[SpanEvent]) -> bool:
    for event in events:
        if event.name == "exception" and str(event.attributes.get("exception.escaped")).lower() == "true":
            return True
    return False


def _error(node: Node) -> tuple[str | None, str | None]:
    """Type and message from the last exception event, else `error.type` and the status message."""
    span = node.span
    exceptions = [event.attributes for event in span.events if event.name == "exception"]
    last = exceptions[-1] if exceptions else {}
    error_type = last.get("exception.type") or _said_type(span.attributes)
    message = last.get("exception.message") or span.status_message
    return _text(error_type), _text(message)


def _said_type(attributes: Attributes) -> Value:
    said = next(filter(None, map(attributes.get, _ERROR_KEYS)), None)
    code = attributes.get("rpc.grpc.status_code")
    return said or (_GRPC_CODES.get(code) if isinstance(code, int) else None)


@lru_cache(maxsize=1000)
def kind_of_error(error_type: str) -> str | None:
    """`timeout` or `cancelled` for error types that mean this, whatever the language; None for all others."""
    found = _LAST_PART.search(error_type.strip())
    return _KINDS.get(_NO_WORD.sub("", found[0].lower())) if found else None


def _text(value: object) -> str | None:
    return clean_text(str(value))[:_MAX_MESSAGE] if value else None


def fingerprint(node: Node, error_type: str | None, message: str | None) -> str:
    """The same for two occurrences of one error: type, message without its variable parts, and stage."""
    normal = _VARIABLE.sub("?", message or "")
    return sha256(f"{node.stage_type}\n{error_type}\n{normal}".encode()).hexdigest()[:12]
