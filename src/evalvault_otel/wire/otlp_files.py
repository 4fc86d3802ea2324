"""Files of OTLP to documents and these to `Decoded`, one at a time, so that a file of any size fits into memory.

A file is OTLP/JSON lines, or one JSON document over many lines; plain, or compressed by gzip or zstd as its first bytes
say. The Collector's file exporter with `compression: zstd` compresses each document and puts its length in front.

Source: OpenTelemetry specification, protocol/file-exporter.md; opentelemetry-collector-contrib, exporter/fileexporter.
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
import zstandard

from ..errors import EvalVaultError
from . import Decoded, logs_json, otlp_json
from .inflate import inflate

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# As much as the best levels of zstd use; what its command line takes without being asked twice.
_MAX_ZSTD_WINDOW: Final = 128 * 1024 * 1024
# What goes in at once, so that what comes out is bounded (see `inflate`).
_ZSTD_PIECE: Final = 1024
_LENGTH: Final = 4
_BUFFER: Final = 1024 * 1024
# How a line ends that more lines belong to. A whole document never does.
_OPEN: Final = (b"{", b"[", b",", b":")
_FIRST_KEY: Final = re.compile(rb'\s*(?:\xef\xbb\xbf)?\s*\{\s*"(\w+)"')
_DAMAGE: Final = (EOFError, OSError, zlib.error, zstandard.ZstdError)


class Buffered(Protocol):
    """A file for reading, as `open` and `sys.stdin.buffer` give it."""

    def peek(self, size: int = 0, /) -> bytes:
        """The next bytes, which stay to be read."""

    def read(self, size: int = -1, /) -> bytes:
        """Bytes; none at the end."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """A line or part of one; nothing at the end."""


@dataclass(frozen=True, slots=True)
class Document:
    """What should be one request: where it begins (a line, or with lengths a count, from 1), its bytes or a problem."""

    number: int
    data: bytes
    problem: str = ""


def documents(file: Buffered, limit: int) -> Iterator[Document]:
    """The documents of a file, none larger than `limit` bytes; what is larger or damaged comes out as a problem."""
    head = file.peek(_LENGTH + len(_ZSTD))
    if head[_LENGTH:].startswith(_ZSTD):
        yield from _with_lengths(file, limit)
        return
    yield from _whole(_lines(_plain(file, head), limit), limit)


def _plain(file: Any, head: bytes) -> Any:
    """The file without its compression, as `Buffered`; the file itself stays open when that is closed."""
    if head.startswith(_GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=file), _BUFFER)
    if head.startswith(_ZSTD):
        return io.BufferedReader(_Zstd(file), _BUFFER)
    return file


class _Zstd(io.RawIOBase):
    """Frames of zstd as plain bytes; the library's own reader takes a file that is cut for a whole one."""

    def __init__(self, file: Buffered) -> None:
        self._file = file
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
        self._frame: Any = None
        self._came = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        """It is, and nothing else."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, at least in part; 0 at the end.

        Raises:
            EOFError: the file ends within a frame.
        """
        while not self._plain:
            self._came = self._came or self._file.read(_ZSTD_PIECE)
            if not self._came:
                if self._frame is not None:
                    raise EOFError("it ends within a frame of zstd")
                return 0
            frame = self._frame or self._decompressor.decompressobj()
            self._plain = memoryview(frame.decompress(self._came))
            self._frame, self._came = (None, frame.unused_data) if frame.eof else (frame, b"")
        size = min(len(buffer), len(self._plain))
        buffer[:size], self._plain = self._plain[:size], self._plain[size:]
        return size


def decode(data: bytes) -> Decoded:
    """The spans or log events of a document.

    Raises:
        Undecodable: it is neither a request of traces nor one of logs.
    """
    first = _FIRST_KEY.match(data)
    of_logs = first[1] == b"resourceLogs" if first else b'"resourceLogs"' in data and b'"resourceSpans"' not in data
    return logs_json.decode_logs(data) if of_logs else otlp_json.decode(data)


def _lines(file: Buffered, limit: int) -> Iterator[Document]:
    """Lines that are not empty, without their ends."""
    number = 0
    try:
        while line := file.readline(limit + 1):
            number += 1
            if len(line) > limit and not line.endswith(b"\n"):
                while not line.endswith(b"\n") and line:
                    line = file.readline(_BUFFER)
                yield Document(number, b"", f"larger than {limit} bytes: raise EVALVAULT_MAX_REQUEST_BYTES")
            elif stripped := line.strip():
                yield Document(number, stripped)
    except _DAMAGE as exc:
        yield Document(number + 1, b"", f"what follows cannot be read, the file is damaged or cut: {exc}")


def _whole(lines: Iterator[Document], limit: int) -> Iterator[Document]:
    """Lines, or if the first one is no document, all of them as one, if that is one."""
    first = next(lines, None)
    if first is None:
        return
    if first.problem or not first.data.endswith(_OPEN):
        yield first
        yield from lines
        return
    taken, size = [first], len(first.data)
    for line in lines:
        taken.append(line)
        size += len(line.data) + 1
        if size > limit or line.problem:
            break
    joined = b"\n".join(line.data for line in taken)
    if _is_json(joined):
        yield Document(first.number, joined)
    elif size > limit:
        yield Document(
            first.number, b"", f"no document in a line, and all together larger than {limit} bytes: put each in a line"
        )
        return
    else:
        yield from taken
    yield from lines


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _with_lengths(file: Buffered, limit: int) -> Iterator[Document]:
    """Documents that are each compressed, with their length as four bytes in front, the highest first."""
    number = 0
    while length := file.read(_LENGTH):
        number += 1
        size = int.from_bytes(length)
        body = file.read(min(size, limit))
        if len(length) < _LENGTH or len(body) < size:
            yield Document(number, b"", f"cut short, or larger than {limit} bytes: the rest of the file is not read")
            return
        try:
            yield Document(number, inflate(body, "zstd", limit))
        except EvalVaultError as exc:
            yield Document(number, b"", str(exc))
