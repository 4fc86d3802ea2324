"""Rejects as the query API and the command line write them."""

from dataclasses import dataclass
from typing import Any, Final

from ..store.records import RejectRow
from ..wire.readable import preview, readable
from .figures import iso

_PREVIEW: Final = 500
_SAME: Final = ("id", "transport", "peer", "signal", "encoding", "reason", "count", "size")


@dataclass(frozen=True, slots=True)
class RejectJson:
    """What could not be stored and why: `count` spans or log records of `size` bytes.

    `payload_preview` is what can be read in its first bytes.
    """

    id: int
    received_at: str
    transport: str
    peer: str
    signal: str
    encoding: str
    reason: str
    count: int
    size: int
    payload_preview: str


@dataclass(frozen=True, slots=True)
class RejectDetailJson:
    """A reject with its payload: as OTLP/JSON (`payload_form` is `otlp_json`), as `text`, or as `base64`.

    Without `complete`, only the first 64 KiB of it were kept.
    """

    id: int
    received_at: str
    transport: str
    peer: str
    signal: str
    encoding: str
    reason: str
    count: int
    size: int
    complete: bool
    payload_form: str
    payload: Any


def reject_json(row: RejectRow) -> RejectJson:
    """A reject in a list."""
    return RejectJson(**_same(row), payload_preview=preview(row.payload, _PREVIEW))


def reject_detail_json(row: RejectRow) -> RejectDetailJson:
    """A reject with its payload."""
    form, payload = readable(row.payload, row.encoding, row.signal)
    complete = len(row.payload) == row.size
    return RejectDetailJson(**_same(row), complete=complete, payload_form=form.value, payload=payload)


def _same(row: RejectRow) -> dict[str, Any]:
    return {"received_at": iso(row.received_ns), **{name: getattr(row, name) for name in _SAME}}
