"""The protobuf wire format, read without knowing what the fields mean. The parser proper is the protobuf package's.

Source: protobuf.dev, "Encoding".
"""

from collections.abc import Iterator
from typing import Final

LENGTH: Final = 2
_VARINT, _GROUP, _END_GROUP = 0, 3, 4
_FIXED: Final = {1: 8, 5: 4}
_MORE: Final = 0x80
_MAX_VARINT: Final = 10


# A field as it lies in the bytes: its number and wire type, where its tag starts, where what it holds starts and ends,
# and whether it says that it goes on further than there are bytes. A plain tuple, since there may be millions.
Field = tuple[int, int, int, int, int, bool]


class Broken(Exception):
    """From `at` on the bytes are no fields."""

    def __init__(self, at: int) -> None:
        self.at = at


def fields(data: bytes, at: int, end: int) -> Iterator[Field]:
    """The fields from `at` to `end`, one after the other; the last may be cut.

    Raises:
        Broken: no field begins where one should.
    """
    while at < end:
        try:
            tag, content = (data[at], at + 1) if data[at] < _MORE else _varint(data, at, end)
            wire_type = tag & 7
            if wire_type == LENGTH:
                length, content = _varint(data, content, end)
                stop = content + length
            else:
                stop = _stop(data, content, end, wire_type)
        except _NoNumber:
            raise Broken(at) from None
        if tag <= wire_type or (stop > end and wire_type != LENGTH):
            raise Broken(at)
        yield tag >> 3, wire_type, at, content, min(stop, end), stop > end
        at = stop


def with_length(number: int, content: bytes) -> bytes:
    """A field with this number and content."""
    return varint(number << 3 | LENGTH) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """A number of at least 0, seven bits a byte."""
    written = bytearray()
    while number >= _MORE:
        written.append(number & (_MORE - 1) | _MORE)
        number >>= 7
    written.append(number)
    return bytes(written)


class _NoNumber(Exception):
    """There is no varint where one should be."""


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number and where it ends."""
    if at < end and data[at] < _MORE:
        return data[at], at + 1
    result = shift = 0
    for position in range(at, min(end, at + _MAX_VARINT)):
        byte = data[position]
        result |= (byte & (_MORE - 1)) << shift
        if byte < _MORE:
            return result, position + 1
        shift += 7
    raise _NoNumber


def _stop(data: bytes, at: int, end: int, wire_type: int) -> int:
    """Where a field without a length ends."""
    if wire_type in _FIXED:
        return at + _FIXED[wire_type]
    if wire_type == _VARINT:
        return _varint(data, at, end)[1]
    if wire_type == _GROUP:
        return _group_end(data, at, end)
    raise _NoNumber


def _group_end(data: bytes, at: int, end: int) -> int:
    """Where a group ends. No OTLP field is one (they are an old form of message), so it is skipped, however deep."""
    depth = 1
    while at < end:
        tag, at = _varint(data, at, end)
        wire_type = tag & 7
        if wire_type == LENGTH:
            length, at = _varint(data, at, end)
            at += length
        elif wire_type in {_GROUP, _END_GROUP}:
            depth += 1 if wire_type == _GROUP else -1
            if not depth:
                return at
        else:
            at = _stop(data, at, end, wire_type)
    raise _NoNumber
