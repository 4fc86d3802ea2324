"""What a diagnosis asks of a store: which traces came last, so that it reads a bounded sample of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RecentTrace:
    """A trace, how many spans it has, and when the last of them was received."""

    trace_id: str
    span_count: int
    received_ns: int


class Diagnosis(Protocol):
    """The part of `Queries` that a diagnosis needs besides."""

    def recent_traces(self, limit: int, since_ns: int | None = None) -> list[RecentTrace]:
        """Traces with spans, the last received first; with `since_ns` only those of which something came since."""


class SqlDiagnosis(ABC):
    """`Diagnosis` over SQL."""

    @abstractmethod
    def _read(self, name: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named statement."""

    def recent_traces(self, limit: int, since_ns: int | None = None) -> list[RecentTrace]:
        """See `Diagnosis.recent_traces`."""
        return [RecentTrace(**row) for row in self._read("recent_traces", limit=limit, since_ns=since_ns)]
