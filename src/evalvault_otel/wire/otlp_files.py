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
from typing import Final

import orjson
import zstandard

from ..errors import EvalVaultError
from . import Decoded, logs_json, otlp_json
from .inflate import inflate

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# As much as the best levels of zstd use; what its command line takes without being asked twice.
_MAX_ZSTD_WINDOW: Final = 128 * 1024 * 1024
_LENGTH: Final = 4
_BUFFER: Final = 1024 * 1024
# How a line ends that more lines belong to. A whole document never does.
_OPEN: Final = (b"{", b"[", b",", b":")
_FIRST_KEY: Final = re.compile(rb'\s*(?:\xef\xbb\xbf)?\s*\{\s*"(\w+)"')
_DAMAGE: Final = (EOFError, OSError, zlib.error, zstandard.ZstdError)


@dataclass(frozen=True, slots=True)
class Document:
    """What should be one request: where it begins (a line, or with lengths a count, from 1), its bytes or a problem."""

    number: int
    data: bytes
    problem: str = ""


def documents(file: io.BufferedReader, limit: int) -> Iterator[Document]:
    """The documents of a file, none larger than `limit` bytes; what is larger or damaged comes out as a problem."""
    head = file.peek(_LENGTH + len(_ZSTD))
    if head[_LENGTH:].startswith(_ZSTD):
        yield from _with_lengths(file, limit)
        return
    yield from _whole(_lines(_plain(file, head), limit), limit)


def _plain(file: io.BufferedReader, head: bytes) -> io.BufferedReader:
    """The file without its compression; it stays open when that is closed."""
    if head.startswith(_GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=file), _BUFFER)
    if head.startswith(_ZSTD):
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
        return io.BufferedReader(decompressor.stream_reader(file, read_across_frames=True, closefd=False), _BUFFER)
    return file


def decode(data: bytes) -> Decoded:
    """The spans or log events of a document.

    Raises:
        Undecodable: it is neither a request of traces nor one of logs.
    """
    first = _FIRST_KEY.match(data)
    of_logs = first[1] == b"resourceLogs" if first else b'"resourceLogs"' in data and b'"resourceSpans"' not in data
    return logs_json.decode_logs(data) if of_logs else otlp_json.decode(data)


def _lines(file: io.BufferedReader, limit: int) -> Iterator[Document]:
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


def _with_lengths(file: io.BufferedReader, limit: int) -> Iterator[Document]:
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
