"""Content-Encoding of HTTP bodies, with its bound."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from evalvault_otel.errors import TooLarge, Undecodable
from evalvault_otel.wire.inflate import UnknownEncoding, inflate

BODY = b"spans " * 1000


def _raw_deflate(body: bytes) -> bytes:
    """Deflate without zlib's header and checksum, as some clients send it."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


def _unsized_zstd(body: bytes) -> bytes:
    """A frame that does not say how much comes out, as those that compress while they send make them."""
    compressor = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compressobj()
    return compressor.compress(body) + compressor.flush()


_ZSTD_SKIPPED = b"\x50\x2a\x4d\x18\x03\0\0\0abc"


@pytest.mark.parametrize(
    "encoding, sent",
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        (" GZIP ", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:700]) + gzip.compress(BODY[700:])),
        ("gzip", gzip.compress(b"") + gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", _raw_deflate(BODY)),
        ("zstd", zstandard.compress(BODY)),
        ("zstd", zstandard.compress(BODY, 19)),
        ("zstd", _unsized_zstd(BODY)),
        ("zstd", zstandard.compress(BODY[:700]) + _ZSTD_SKIPPED + _unsized_zstd(BODY[700:])),
        ("gzip, identity", gzip.compress(BODY)),
        ("identity,,", BODY),
        ("zstd, gzip", gzip.compress(zstandard.compress(BODY))),
    ],
)
def test_the_body_comes_out(encoding: str, sent: bytes) -> None:
    assert inflate(sent, encoding, len(BODY)) == BODY


@pytest.mark.parametrize(
    "encoding, compress",
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", _raw_deflate),
        ("zstd", zstandard.compress),
        ("zstd", _unsized_zstd),
    ],
)
def test_one_byte_over_the_limit_is_too_large(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TooLarge, match=f"larger than {len(BODY) - 1} bytes after decompression"):
        inflate(compress(BODY), encoding, len(BODY) - 1)


@pytest.mark.parametrize("encoding, compress", [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_the_limit_holds_over_all_members(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TooLarge):
        inflate(compress(BODY) * 3, encoding, 2 * len(BODY))


def test_the_limit_holds_between_two_encodings() -> None:
    """Also what comes out in between may be no larger, however small the end."""
    with pytest.raises(TooLarge):
        inflate(gzip.compress(gzip.compress(b"") * 90), "gzip, gzip", 100)


_BOMBS: dict[str, Any] = {
    "gzip": zlib.compressobj(9, wbits=31),
    "deflate": zlib.compressobj(9),
    "zstd": zstandard.ZstdCompressor(write_content_size=False).compressobj(),
}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_stopped_at_the_limit_and_takes_little_memory(encoding: str) -> None:
    compressor = _BOMBS[encoding]
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(256)) + compressor.flush()
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflate(bomb, encoding, 1000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 64 * 1024 * 1024


def test_a_zstd_window_without_bound_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    with pytest.raises(Undecodable, match="too much memory"):
        inflate(compressor.compress(BODY) + compressor.flush(), "zstd", 10 * len(BODY))


@pytest.mark.parametrize(
    "encoding, sent",
    [
        ("gzip", BODY),
        ("deflate", BODY),
        ("gzip", zlib.compress(BODY)),
        ("gzip", gzip.compress(BODY)[:-9]),
        ("gzip", gzip.compress(BODY) + b"rest"),
        ("deflate", zlib.compress(BODY)[:-1]),
        ("deflate", _raw_deflate(BODY)[:-1]),
        ("zstd", BODY),
        ("zstd", zstandard.compress(BODY)[:-1]),
        ("zstd", _unsized_zstd(BODY)[:-5]),
        ("zstd", zstandard.compress(BODY) + b"rest"),
        ("zstd", gzip.compress(BODY)),
        ("zstd", zstandard.compress(BODY[:9]) * 101),
        ("gzip", gzip.compress(BODY[:9]) * 101),
        ("gzip, gzip", gzip.compress(BODY)),
    ],
)
def test_a_body_that_is_not_in_its_encoding_is_undecodable(encoding: str, sent: bytes) -> None:
    with pytest.raises(Undecodable):
        inflate(sent, encoding, 10 * len(BODY))


def test_an_empty_compressed_body_is_empty() -> None:
    assert inflate(gzip.compress(b""), "gzip", 10) == b""
    assert inflate(zstandard.compress(b""), "zstd", 10) == b""
    assert inflate(b"", "zstd", 10) == inflate(b"", "gzip", 10) == b""


@pytest.mark.parametrize("encoding", ["br", "snappy", "gzip, br", "gzip, gzip, gzip", "none", "gzip;q=1"])
def test_other_encodings_are_named_with_the_remedy(encoding: str) -> None:
    with pytest.raises(UnknownEncoding, match="use gzip, deflate, zstd or none"):
        inflate(BODY, encoding, 10 * len(BODY))
