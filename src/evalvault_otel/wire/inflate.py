"""Content-Encoding of OTLP/HTTP bodies, with a bound on what may come out (zip bombs)."""

import zlib
from collections.abc import Callable
from typing import Final

from ..errors import InvalidInput, TooLarge, Undecodable

_GZIP_WBITS: Final = 31
_ZLIB_WBITS: Final = 15
_MAX_MEMBERS: Final = 100


class UnknownEncoding(InvalidInput):
    """A Content-Encoding that is not supported; the message lists those that are."""


def inflate(body: bytes, content_encoding: str, limit: int) -> bytes:
    """`body` without its content encoding.

    Raises:
        UnknownEncoding: an encoding other than gzip, deflate or identity.
        TooLarge: more than `limit` bytes come out.
        Undecodable: the body is not in that encoding, or ends early.
    """
    encoding = content_encoding.strip().lower()
    if encoding not in _DECODERS:
        raise UnknownEncoding(f"Content-Encoding {content_encoding!r} is not supported: use gzip, deflate or none")
    return _DECODERS[encoding](body, limit)


def _zlib(wbits: int) -> Callable[[bytes, int], bytes]:
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
                raise Undecodable(f"the body is not what its Content-Encoding says: {exc}") from exc
            size += len(part)
            if size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes after decompression")
            if not member.eof:
                raise Undecodable("the compressed body ends early")
            parts.append(part)
            body = member.unused_data
        raise Undecodable(f"the compressed body has more than {_MAX_MEMBERS} parts")

    return decode


def _identity(body: bytes, _: int) -> bytes:
    return body


_DECODERS: Final = {
    "": _identity,
    "identity": _identity,
    "gzip": _zlib(_GZIP_WBITS),
    "x-gzip": _zlib(_GZIP_WBITS),
    "deflate": _zlib(_ZLIB_WBITS),
}
