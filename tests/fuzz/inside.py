"""Targets inside this process: the functions that read bytes of strangers, and what is done with their results.

Each takes any bytes and returns, or raises what is a finding: an error that is not of `InvalidInput`, or a good record
lost because of what came with it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from evalvault_otel.assembly import assemble
from evalvault_otel.errors import InvalidInput
from evalvault_otel.ingest.grouping import group
from evalvault_otel.store import log_rows, rows
from evalvault_otel.wire import Decoded, logs_json, logs_protobuf, otlp_json, protobuf
from evalvault_otel.wire.inflate import inflate

from .neighbours import beside

_LIMIT: Final = 1024 * 1024
GOOD: Final = "600d600d600d600d600d600d600d600d"
ENCODINGS: Final = ("gzip", "deflate", "zstd", "gzip, zstd", "x-gzip, identity")

_DECODE: Final[Mapping[str, Callable[[bytes], Decoded]]] = {
    "protobuf": protobuf.decode,
    "json": otlp_json.decode,
    "logs_protobuf": logs_protobuf.decode_logs,
    "logs_json": logs_json.decode_logs,
}


class Finding(Exception):
    """Something that must not be."""


def check(target: str, data: bytes) -> None:
    """Run a target on some bytes.

    Raises:
        Finding: a good record was lost, or a bound broken.
        Exception: anything but `InvalidInput` that the product raised.
    """
    if target == "inflate":
        _inflate(data)
    else:
        _decode(target, data)


def _inflate(data: bytes) -> None:
    """The first byte chooses the encoding."""
    encoding = ENCODINGS[data[0] % len(ENCODINGS)] if data else "gzip"
    try:
        plain = inflate(data[1:], encoding, _LIMIT)
    except InvalidInput:
        return
    if len(plain) > _LIMIT:
        raise Finding(f"{len(plain)} bytes came out, more than {_LIMIT}")


def _decode(target: str, data: bytes) -> None:
    with suppress(InvalidInput):
        _use(_DECODE[target](data))
    together = beside(target, data, GOOD)
    if together is not None:
        expect_good(target, together)


def expect_good(target: str, request: bytes) -> None:
    """Read a request that must give the good record, whatever else is in it.

    Raises:
        Finding: it does not.
        Exception: whatever the product raised.
    """
    try:
        decoded = _DECODE[target](request)
    except InvalidInput as exc:
        raise Finding(f"a good record beside it was refused: {exc}") from exc
    ids = [span.trace_id for span in decoded.spans] + [event.trace_id for event in decoded.logs]
    if GOOD not in ids:
        raise Finding("a good record beside it was lost")
    _use(decoded)


def _use(decoded: Decoded) -> None:
    """All that ingest does with a request, but the database."""
    for batch in group(decoded.spans, decoded.logs).traces:
        if batch.spans:
            # Again, because ingest only notes it where assembly fails.
            rows.derived_rows([assemble(batch.spans, batch.logs)])
    for span in decoded.spans:
        rows.span_row(span, 0)
        rows.resource_row(span.resource)
        rows.scope_row(span.scope)
    for event in decoded.logs:
        log_rows.log_row(event, 0)
    protobuf.decode(protobuf.encode(decoded.spans))
    otlp_json.decode(otlp_json.encode(decoded.spans))
    logs_protobuf.encode_logs(decoded.logs)
