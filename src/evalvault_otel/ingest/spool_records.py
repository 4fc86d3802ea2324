"""A decoded request as bytes and back, losing nothing that the store would keep.

A payload is a row of parts: a byte that names the kind, the length, the content. Spans travel as OTLP protobuf, all
else as JSON text of its fields (`values`).
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from .. import values
from ..model import LogEvent, Reject, Resource, Scope
from ..wire import Decoded, protobuf

_PART = struct.Struct("<cQ")
_SPANS, _REJECT, _LOG, _REST = b"S", b"R", b"L", b"*"
_PARTS_OF_THEIR_OWN = frozenset({"spans", "rejects", "logs"})


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
    rest = {name: value for name, value in _fields_of(decoded).items() if name not in _PARTS_OF_THEIR_OWN}
    yield _REST, values.dumps(rest).encode()


def decode(payload: bytes) -> Decoded:
    """The request of a payload.

    Raises:
        ValueError: the bytes are not one, or of a later version.
    """
    decoded = Decoded([], [])
    rest: dict[str, Any] = {}
    for kind, content in _split(payload):
        if kind == _REST:
            rest = values.loads(content.decode())
        else:
            _READ[kind](content, decoded)
    return replace(decoded, **rest)


def _split(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + _PART.size <= len(payload):
        kind, length = _PART.unpack_from(payload, position)
        position += _PART.size + length
        if kind not in _READ and kind != _REST:
            raise ValueError(f"this version knows no part of kind {kind!r}")
        if position > len(payload):
            break
        yield kind, payload[position - length : position]
    if position != len(payload):
        raise ValueError("the last part is not complete")


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


def _fields_of(record: Decoded | Reject | LogEvent | Resource | Scope) -> dict[str, Any]:
    return {spec.name: getattr(record, spec.name) for spec in fields(record)}
