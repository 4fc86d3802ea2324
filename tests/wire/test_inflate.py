"""Content-Encoding of HTTP bodies, with its bound."""

import gzip
import zlib

import pytest

from evalvault_otel.errors import TooLarge, Undecodable
from evalvault_otel.wire.inflate import UnknownEncoding, inflate

BODY = b"spans " * 1000


@pytest.mark.parametrize(
    "encoding, sent",
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        (" GZIP ", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:700]) + gzip.compress(BODY[700:])),
        ("deflate", zlib.compress(BODY)),
    ],
)
def test_the_body_comes_out(encoding: str, sent: bytes) -> None:
    assert inflate(sent, encoding, len(BODY)) == BODY


@pytest.mark.parametrize("encoding, compress", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_one_byte_over_the_limit_is_too_large(encoding: str, compress: object) -> None:
    assert callable(compress)
    with pytest.raises(TooLarge, match=f"larger than {len(BODY) - 1} bytes after decompression"):
        inflate(compress(BODY), encoding, len(BODY) - 1)


def test_the_limit_holds_over_all_members() -> None:
    with pytest.raises(TooLarge):
        inflate(gzip.compress(BODY) * 3, "gzip", 2 * len(BODY))


def test_a_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))

    with pytest.raises(TooLarge):
        inflate(bomb, "gzip", 1000)


@pytest.mark.parametrize(
    "encoding, sent",
    [
        ("gzip", BODY),
        ("deflate", BODY),
        ("gzip", zlib.compress(BODY)),
        ("gzip", gzip.compress(BODY)[:-9]),
        ("gzip", gzip.compress(BODY) + b"rest"),
        ("deflate", zlib.compress(BODY)[:-1]),
    ],
)
def test_a_body_that_is_not_in_its_encoding_is_undecodable(encoding: str, sent: bytes) -> None:
    with pytest.raises(Undecodable):
        inflate(sent, encoding, 10 * len(BODY))


def test_an_empty_compressed_body_is_empty() -> None:
    assert inflate(gzip.compress(b""), "gzip", 10) == b""


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "none"])
def test_other_encodings_are_named_with_the_remedy(encoding: str) -> None:
    with pytest.raises(UnknownEncoding, match="use gzip, deflate or none"):
        inflate(BODY, encoding, 10 * len(BODY))
