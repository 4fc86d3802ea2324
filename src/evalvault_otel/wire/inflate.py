"""Content-Encoding of OTLP/HTTP bodies, with a bound on what may come out (zip bombs)."""

import zlib
from collections.abc import Callable
from typing import Any, Final

import zstandard

from ..errors import InvalidInput, TooLarge, Undecodable

_GZIP_WBITS: Final = 31
_ZLIB_WBITS: Final = 15
_RAW_WBITS: Final = -15
_MAX_MEMBERS: Final = 100
# "gzip, identity" is seen, and a proxy may compress what came compressed; more is an attack.
_MAX_ENCODINGS: Final = 2
# RFC 8878 (3.1.1.1.2) asks for 8 MiB; the Collector's best level uses 32.
_MAX_ZSTD_WINDOW: Final = 32 * 1024 * 1024
# What goes in at once: no more than 32 MiB can come out of it (a block of 128 KiB takes 4 bytes).
_ZSTD_PIECE: Final = 1024

_SUPPORTED: Final = "use gzip, deflate, zstd or none"

Decoder = Callable[[bytes, int], bytes]


class UnknownEncoding(InvalidInput):
    """A Content-Encoding that is not supported; the message lists those that are."""


def inflate(body: bytes, content_encoding: str, limit: int) -> bytes:
    """`body` without its content encodings: a list in the order in which they were applied.

    Raises:
        UnknownEncoding: an encoding other than gzip, deflate, zstd or identity, or too many of them.
        TooLarge: more than `limit` bytes come out.
        Undecodable: the body is not in that encoding, or ends early.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    applied = [name for name in names if name not in {"", "identity"}]
    if len(applied) > _MAX_ENCODINGS or not _DECODERS.keys() >= {*applied}:
        raise UnknownEncoding(
            f"Content-Encoding {content_encoding!r} is not supported: use gzip, deflate, zstd or none"
        )
    for name in reversed(applied):
        body = _DECODERS[name](body, limit)
    return body


def _zlib(wbits: int) -> Decoder:
    def decode(body: bytes, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        # gzip files may hold several members, one after the other; each costs a copy of what follows it.
        for _ in range(_MAX_MEMBERS):
            if not body:
                return b"".join(parts)
            member = zlib.decompressobj(wbits)
            try:
                part = member.decompress(body, limit - size + 1)
            except zlib.error as exc:
                raise _not_so(exc) from exc
            size += len(part)
            _check_size(size, limit)
            if not member.eof:
                raise Undecodable("the compressed body ends early")
            parts.append(part)
            body = member.unused_data
        raise Undecodable(f"the compressed body has more than {_MAX_MEMBERS} parts")

    return decode


def _deflate(body: bytes, limit: int) -> bytes:
    """In zlib's format, as RFC 9110 (8.4.1.2) has it, or without its header and checksum, as some clients send it."""
    try:
        return _zlib(_ZLIB_WBITS)(body, limit)
    except Undecodable as refused:
        try:
            return _zlib(_RAW_WBITS)(body, limit)
        except Undecodable:
            raise refused from None


def _zstd(body: bytes, limit: int) -> bytes:
    """Frames, one after the other, that may or may not say their size; none that needs a dictionary."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
    parts: list[bytes] = []
    at = size = 0
    for _ in range(_MAX_MEMBERS):
        if at == len(body):
            return b"".join(parts)
        frame = decompressor.decompressobj()
        while not frame.eof:
            piece = body[at : at + _ZSTD_PIECE]
            at += len(piece)
            parts.append(_zstd_piece(frame, piece))
            size += len(parts[-1])
            _check_size(size, limit)
        at -= len(frame.unused_data)
    raise Undecodable(f"the compressed body has more than {_MAX_MEMBERS} parts")


def _zstd_piece(frame: Any, piece: bytes) -> bytes:
    """What comes out of a piece. `frame` is a decompression object, whose class has no name at run time."""
    if not piece:
        raise Undecodable("the compressed body ends early")
    try:
        return bytes(frame.decompress(piece))
    except zstandard.ZstdError as exc:
        raise _not_so(exc) from exc


def _not_so(exc: Exception) -> Undecodable:
    return Undecodable(f"the body is not what its Content-Encoding says: {exc}")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"the body is larger than {limit} bytes after decompression")


_DECODERS: Final[dict[str, Decoder]] = {
    "gzip": _zlib(_GZIP_WBITS),
    "x-gzip": _zlib(_GZIP_WBITS),
    "deflate": _deflate,
    "zlib": _deflate,  # the Collector's name for it
    "zstd": _zstd,
}
