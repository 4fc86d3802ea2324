"""A decoded request as bytes and back, losing nothing that the store would keep.

A payload is a row of parts: a byte that names the kind, the length, the content. Spans travel as OTLP protobuf,
rejects and log events as JSON text of their fields (`values`).
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from .. import values
from ..model import LogEvent, Reject, Resource, Scope
from ..wire import Decoded, protobuf

_PART = struct.Struct("<cQ")
_SPANS, _REJECT, _LOG = b"S", b"R", b"L"


def encode(decoded: Decoded) -> bytes:
    """The payload of a request."""
    return b"".join(_PART.pack(kind, len(content)) + content for kind, content in _parts(decoded))


def _parts(decoded: Decoded) -> Iterator[tuple[bytes, bytes]]:
    if decoded.spans:
        yield _SPANS, protobuf.encode(decoded.spans)
    for reject in decoded.rejects:
        yield _REJECT, values.dumps(_fields_of(reject)).encode()
    for event in decoded.logs:
        said = _fields_of(event) | {"resource": _fields_of(event.resource), "scope": _fields_of(event.scope)}
        yield _LOG, values.dumps(said).encode()


def decode(payload: bytes) -> Decoded:
    """The request of a payload.

    Raises:
        ValueError: the bytes are not one, or of a later version.
    """
    decoded = Decoded([], [])
    position = 0
    while position < len(payload):
        kind, length = _PART.unpack_from(payload, position)
        position += _PART.size + length
        if kind not in _READ or position > len(payload):
            raise ValueError(f"a part of kind {kind!r} and {length} bytes is none that this version writes")
        _READ[kind](payload[position - length : position], decoded)
    return decoded


def _read_spans(content: bytes, decoded: Decoded) -> None:
    decoded.spans.extend(protobuf.decode(content).spans)


def _read_reject(content: bytes, decoded: Decoded) -> None:
    decoded.rejects.append(Reject(**values.loads(content.decode())))


def _read_log(content: bytes, decoded: Decoded) -> None:
    said = values.loads(content.decode())
    decoded.logs.append(
        LogEvent(**(said | {"resource": Resource(**said["resource"]), "scope": Scope(**said["scope"])}))
    )


_READ: dict[bytes, Callable[[bytes, Decoded], None]] = {
    _SPANS: _read_spans,
    _REJECT: _read_reject,
    _LOG: _read_log,
}


def _fields_of(record: Reject | LogEvent | Resource | Scope) -> dict[str, Any]:
    return {spec.name: getattr(record, spec.name) for spec in fields(record)}
