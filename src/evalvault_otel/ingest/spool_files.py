"""Files of the spool: segments of records in, records out, and what of them is damaged. Bytes only.

A segment is a mark (eight random bytes, so that no content can pass for a record) and records: the mark again, the
length, a checksum, the time of arrival, the payload. A write that a crash cut off leaves a torn end, which was never
acknowledged. Damage anywhere else is told apart, and reading goes on behind it.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"evspool1"
_MARK_BYTES = 8
_FIRST = len(_MAGIC) + _MARK_BYTES
# Length of the payload, crc32 of arrival and payload, arrival in nanoseconds.
_HEAD = struct.Struct("<IIQ")
_HEAD_BYTES = _MARK_BYTES + _HEAD.size


@dataclass(frozen=True, slots=True)
class Record:
    """One payload with its time of arrival; `end` is where the next record begins."""

    received_ns: int
    payload: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no record. `torn` ones are the end of a write that a crash cut off: nothing acknowledged."""

    start: int
    end: int
    torn: bool


class SegmentWriter:
    """A segment under way. What `append` returned from is on the disk.

    Raises:
        OSError: the file cannot be made; nothing is left of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._mark = os.urandom(_MARK_BYTES)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self._write(_MAGIC + self._mark)
            sync_folder(path.parent)
        except OSError:
            self.close()
            path.unlink()
            raise

    @property
    def is_empty(self) -> bool:
        """Whether it holds no record."""
        return self.size <= _FIRST

    def append(self, payloads: Sequence[bytes], received_ns: int) -> None:
        """Add records, all of them or none.

        Raises:
            OSError: the disk refuses; what was written of the records is cut off. Use another segment from here on.
        """
        self._write(b"".join(part for payload in payloads for part in self._record(payload, received_ns)))

    def _record(self, payload: bytes, received_ns: int) -> tuple[bytes, bytes, bytes]:
        return self._mark, _HEAD.pack(len(payload), _checksum(received_ns, payload), received_ns), payload

    def _write(self, data: bytes) -> None:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._fd, left) :]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def size_of(payload: bytes) -> int:
    """Bytes that a record of this payload takes."""
    return _HEAD_BYTES + len(payload)


def read(path: Path, start: int = 0) -> Iterator[Record | Damage]:
    """Records of a segment from `start` (0, or the end of a record) on, in order, with damaged places between them."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _FIRST:
            yield Damage(0, size, torn=True)
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from _read(data, start)


def _read(data: mmap.mmap, start: int) -> Iterator[Record | Damage]:
    if data[: len(_MAGIC)] != _MAGIC:
        yield Damage(0, len(data), torn=_is_zero(data[:]))
        return
    mark = data[len(_MAGIC) : _FIRST]
    position = max(start, _FIRST)
    while position < len(data):
        found: Record | Damage = _record_at(data, mark, position) or _damage_at(data, mark, position)
        yield found
        position = found.end


def _record_at(data: mmap.mmap, mark: bytes, position: int) -> Record | None:
    body = position + _HEAD_BYTES
    if body > len(data) or data[position : position + _MARK_BYTES] != mark:
        return None
    length, checksum, received_ns = _HEAD.unpack(data[position + _MARK_BYTES : body])
    payload = data[body : body + length]
    if len(payload) != length or _checksum(received_ns, payload) != checksum:
        return None
    return Record(received_ns, payload, body + length)


def _damage_at(data: mmap.mmap, mark: bytes, position: int) -> Damage:
    following = data.find(mark, position + 1)
    while following >= 0 and _record_at(data, mark, following) is None:
        following = data.find(mark, following + 1)
    if following >= 0:
        return Damage(position, following, torn=False)
    return Damage(position, len(data), torn=_is_torn(data, mark, position))


def _is_torn(data: mmap.mmap, mark: bytes, position: int) -> bool:
    """Whether the end of a segment looks like a write that was cut off: too short, or never filled."""
    rest = data[position:]
    if len(rest) < _HEAD_BYTES:
        return True
    length = _HEAD.unpack(rest[_MARK_BYTES:_HEAD_BYTES])[0]
    return (rest.startswith(mark) and len(rest) < _HEAD_BYTES + length) or _is_zero(rest)


def _is_zero(data: bytes) -> bool:
    return data.count(0) == len(data)


def _checksum(received_ns: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(received_ns.to_bytes(8, "little")))


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
