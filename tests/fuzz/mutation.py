"""Mutations of seeds: of bytes, and of what the bytes mean, so that damage gets behind lengths and brackets."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

_MAX = 64 * 1024
_FEW = 4
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_ODD_BYTES: Final = (
    *(b"", b"\x00", b"\xff" * 16, b"\x00" * 16, b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\x00b"),
    *(b"\x80" * 11, b"\xff" * 9 + b"\x01", b"\x0a" * 200, b"{" * 200, b"\xef\xbf\xbd", "보험".encode()),
)
_ODD_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 2**63, -(2**63) - 1, 1e308, "", "NaN", "Infinity", "-0", "1e400", "0x10", " 1 ", "१२"),
    *("\x00", "\ufffd", "a" * 3000, [], {}, [[[]]], "00000000000000000000000000000000", {"values": None}, {"key": 1}),
    *({"stringValue": 1}, {"intValue": "9223372036854775808"}, {"bytesValue": "%"}, {"arrayValue": []}, {"$bytes": ""}),
)
_DEEP: Final = (30, 63, 64, 65, 130, 500)


class Mutator:
    """Makes inputs of one target out of seeds. The same seed of `random` gives the same inputs."""

    def __init__(self, target: str, seeds: Sequence[bytes], rng: random.Random) -> None:
        self._seeds = seeds
        self._random = rng
        self._may_repeat = True
        structured = {"json": self._json, "logs_json": self._json, "http": self._http}
        structured |= dict.fromkeys(("protobuf", "logs_protobuf"), self._protobuf)
        self._structured: Callable[[bytes], bytes] = structured.get(target, self.of_bytes)

    def next(self) -> bytes:
        """The next input."""
        return self.change(self._random.choice(self._seeds))

    def change(self, data: bytes) -> bytes:
        """An input made of another one."""
        for _ in range(self._random.choice((1, 1, 1, 2, 4))):
            changed = self._structured(data) if self._random.random() < 0.75 else self.of_bytes(data)
            # Repetitions of repetitions would grow without bound.
            data = changed if len(changed) <= _MAX else data[:_MAX]
        return data

    def of_bytes(self, data: bytes) -> bytes:
        """Some bytes changed, added, removed, repeated or taken from another seed."""
        rng = self._random
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((1, 1, 2, 4, 8, 64)))
        part = data[start:end]
        other = rng.choice(self._seeds)
        cut = rng.randrange(len(other) + 1)
        middle = rng.choice(
            (
                bytes(byte ^ (1 << rng.randrange(8)) for byte in part),
                rng.randbytes(len(part)),
                part + rng.choice(_ODD_BYTES),
                b"",
                part * rng.choice((2, 3, 50)),
                other[cut : cut + 64],
            )
        )
        return data[:start] if rng.random() < 0.05 else data[:start] + middle + data[end:]

    # Protobuf.

    def _protobuf(self, data: bytes) -> bytes:
        fields = _fields(data)
        if not fields:
            return self.of_bytes(data)
        rng = self._random
        at = rng.randrange(len(fields))
        number, kind, content = fields[at]
        if kind == _LENGTH and rng.random() < 0.8:
            fields[at] = (number, kind, self._inner(content))
        else:
            fields[at : at + 1] = rng.choice(
                (
                    [],
                    [(number, kind, content)] * rng.choice((2, 20)),
                    [(number, rng.choice((_VARINT, _FIXED64, _LENGTH, _FIXED32)), content)],
                    [(rng.choice((1, 2, 3, 9, 15, 16, 19000, 2**29 - 1)), kind, content)],
                    [(number, _LENGTH, rng.choice(_ODD_BYTES))],
                    [(number, _VARINT, _varint(rng.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))))],
                )
            )
        return b"".join(_field(*field) for field in fields)

    def _inner(self, content: bytes) -> bytes:
        """The inside of a field: a message in most cases, sometimes far deeper, sometimes odd, sometimes a text."""
        choice = self._random.random()
        if choice < 0.75:
            return self._protobuf(content)
        if choice < 0.80:
            return _nested(self._random.choice(_DEEP), content)
        return self._random.choice(_ODD_BYTES) if choice < 0.9 else self.of_bytes(content)

    # JSON.

    def _json(self, data: bytes) -> bytes:
        try:
            document = orjson.loads(data)
            self._may_repeat = True
            return orjson.dumps(self._document(document))
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return self.of_bytes(data)

    def _document(self, value: Any) -> Any:
        """A copy with something changed in one place, far inside in most cases."""
        rng = self._random
        if isinstance(value, dict) and value and rng.random() < 0.9:
            key = rng.choice(list(value))
            rest = {name: item for name, item in value.items() if name != key}
            if rng.random() < 0.05:
                return rest
            name = rng.choice(("", "\x00", "traceId", "values", "\ud55c")) if rng.random() < 0.05 else key
            return {**rest, name: self._document(value[key])}
        if isinstance(value, list) and value and rng.random() < 0.9:
            at = rng.randrange(len(value))
            times = rng.choice((1, 1, 1, 1, 0, 2, 30 if len(value) < _FEW else 1))
            if times > 1:  # once only: repeats of repeats of repeats would fill the memory
                times, self._may_repeat = (times if self._may_repeat else 1), False
            return [*value[:at], *[self._document(value[at])] * times, *value[at + 1 :]]
        if rng.random() < 0.1:
            for _ in range(rng.choice(_DEEP[:-2])):
                value = {"arrayValue": {"values": [value]}}
            return value
        return rng.choice((*_ODD_VALUES, f"{value}{value}", [value], {"stringValue": value}))

    # HTTP.

    def _http(self, data: bytes) -> bytes:
        """A raw request with its body or its head changed; the length is right again in most cases."""
        head, found, body = data.partition(b"\r\n\r\n")
        if not found:
            return self.of_bytes(data)
        if self._random.random() < 0.5:
            body = self.of_bytes(body)
        else:
            lines = head.split(b"\r\n")
            at = self._random.randrange(len(lines))
            lines[at : at + 1] = self._random.choice(
                (
                    [],
                    [lines[at], lines[at]],
                    [self.of_bytes(lines[at])],
                    [lines[at], self._random.choice(_HEADERS)],
                    [self._random.choice(_REQUEST_LINES), *lines[1:]],
                )
            )
            head = b"\r\n".join(lines)
        if self._random.random() < 0.8:
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
            head = b"\r\n".join((*lines, b"Content-Length: %d" % len(body)))
        return head + b"\r\n\r\n" + body


_REQUEST_LINES: Final = (
    *(b"POST /v1/traces HTTP/1.1", b"POST /v1/logs HTTP/1.1", b"POST /v1/metrics HTTP/1.1", b"POST / HTTP/1.0"),
    *(b"GET /v1/traces HTTP/1.1", b"OPTIONS * HTTP/1.1", b"PUT //v1/traces?x=%00 HTTP/1.1", b"POST /%ff HTTP/1.1"),
    *(b"POST http://[::1/v1/traces HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"POST /v1/traces HTTP/9.9", b"POST"),
)
_HEADERS: Final = (
    *(b"Content-Encoding: gzip", b"Content-Encoding: zstd", b"Content-Encoding: identity, identity", b"Content-Type:"),
    *(b"Content-Type: application/json; charset=latin-1", b"Content-Length: 18446744073709551616", b"Host: \xff\xfe"),
    *(b"Content-Length: -1", b"Content-Length: \xb2", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"),
    *(b"Expect: 100-continue", b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c", b"Host: [::1"),
    *(b"Authorization: Bearer \xff", b"x-api-key: \xc3", b"Cookie: a=b", b"Origin: null", b"traceparent: 00-\xff"),
)


def _fields(data: bytes) -> list[tuple[int, int, bytes]]:
    """Number, wire type and content of each field of a message; none if the bytes are no message."""
    fields: list[tuple[int, int, bytes]] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _read_varint(data, at)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                end = _read_varint(data, at)[1]
            elif kind == _LENGTH:
                size, at = _read_varint(data, at)
                end = at + size
            else:
                end = at + {_FIXED64: 8, _FIXED32: 4}[kind]
            if end > len(data):
                return []
            fields.append((number, kind, data[at:end]))
            at = end
    except (IndexError, KeyError):
        return []
    return fields


def _field(number: int, kind: int, content: bytes) -> bytes:
    length = _varint(len(content)) if kind == _LENGTH else b""
    return _varint(number << 3 | kind) + length + content


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
        shift += 7


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))


def _nested(depth: int, content: bytes) -> bytes:
    """An attribute whose value is an array in an array in an array."""
    for _ in range(depth):
        content = _field(5, _LENGTH, _field(1, _LENGTH, content))
    return _field(9, _LENGTH, _field(1, _LENGTH, b"k") + _field(2, _LENGTH, content))
