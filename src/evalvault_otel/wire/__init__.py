"""Bytes on the wire to `Span` records and back. Nothing past this package knows protobuf."""

from dataclasses import dataclass, field

from ..model import LogEvent, Reject, Span

__all__ = ["Decoded"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A request, decoded: spans and log events that can be stored, and what never can, with the reason.

    `others` counts log records that are well and of no use here: neither GenAI nor `evalvault.*` events. `repaired`
    counts texts and values that were replaced so that the rest could be kept. `remark` is what the client should know
    besides.
    """

    spans: list[Span]
    rejects: list[Reject]
    logs: list[LogEvent] = field(default_factory=list)
    others: int = 0
    repaired: int = 0
    remark: str = ""
    transport: str = ""
    peer: str = ""
