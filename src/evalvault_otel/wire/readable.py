"""Payloads of rejects as people read them: bytes in, a JSON document, text or base64 out. It never raises."""

import base64
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_REQUESTS: Final[Mapping[str, Callable[[bytes], Message]]] = {
    "traces": ExportTraceServiceRequest.FromString,
    "logs": ExportLogsServiceRequest.FromString,
}
# Protobuf's own JSON has ids in base64, OTLP/JSON in hex. Attributes cannot be meant: their names are values there.
_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})


class Form(StrEnum):
    """What became of a payload: an OTLP/JSON document, text as it came, or base64 where it is neither."""

    OTLP_JSON = "otlp_json"
    TEXT = "text"
    BASE64 = "base64"


def readable(payload: bytes, encoding: str, signal: str) -> tuple[Form, Any]:
    """A payload in the first form that fits. A protobuf message that was cut can only be shown as base64."""
    if encoding == "protobuf":
        document = _otlp_json(payload, signal)
        if document is not None:
            return Form.OTLP_JSON, document
    elif (text := _text(payload, cut=encoding == "json")) is not None:
        return Form.TEXT, text
    return Form.BASE64, base64.b64encode(payload).decode()


def _otlp_json(payload: bytes, signal: str) -> Any:
    parse = _REQUESTS.get(signal)
    if parse is None:
        return None
    try:
        return _hex_ids(MessageToDict(parse(payload), use_integers_for_enums=True))
    except (DecodeError, RecursionError, ValueError):
        return None


def _hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_hex_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(item).hex() if key in _IDS and isinstance(item, str) else _hex_ids(item)
        for key, item in value.items()
    }


def _text(payload: bytes, *, cut: bool) -> str | None:
    """The payload as text, if it is; what is JSON may end, or hold, half a character."""
    try:
        text = payload.decode("utf-8", "replace" if cut else "strict")
    except UnicodeDecodeError:
        return None
    return text if cut or all(character.isprintable() or character in "\t\r\n" for character in text) else None


def preview(payload: bytes, length: int) -> str:
    """The readable parts of a payload's first bytes, in one line of at most `length` characters."""
    text = payload.decode("utf-8", "replace")
    shown = "".join(character if character.isprintable() and character != "\ufffd" else " " for character in text)
    return " ".join(shown.split())[:length]
