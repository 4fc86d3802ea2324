"""Bytes on the wire to `Span` records and back. Nothing past this package knows protobuf."""

from dataclasses import dataclass

from ..model import Reject, Span

__all__ = ["Decoded"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A request, decoded: spans that can be stored, and those that never can, with the reason."""

    spans: list[Span]
    rejects: list[Reject]
