"""What a request turns out to hold, gathered while it is decoded: the one mutable thing on the way to `Decoded`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..model import LogEvent, Reject, Span
from . import Decoded

# A request of nothing but bad records would otherwise cost many times its own size.
_MAX_REJECTS: Final = 100
_MAX_PAYLOADS: Final = 4 * 1024 * 1024


@dataclass(slots=True)
class Gathering:
    """Spans or log events of one request, and what is wrong with the others.

    The first rejects are kept with reason and payload; when there are too many, the rest is one reject with a count.
    """

    signal: str
    spans: list[Span] = field(default_factory=list)
    logs: list[LogEvent] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    others: int = 0
    repaired: int = 0
    remark: str = ""
    _payloads: int = 0
    _more: int = 0
    _last: str = ""

    def reject(self, reason: str, payload: Callable[[], bytes], encoding: str, count: int = 1) -> None:
        """Note that `count` records can never be stored; `payload` is called only when there is room for it."""
        if len(self.rejects) >= _MAX_REJECTS or self._payloads > _MAX_PAYLOADS:
            self._more += count
            self._last = reason
            return
        came = payload()
        self._payloads += len(came)
        self.rejects.append(Reject(reason, came, signal=self.signal, encoding=encoding, count=count))

    def decoded(self) -> Decoded:
        """The result."""
        rejects = self.rejects
        if self._more:
            reason = f"{self._more} more like these, the last one: {self._last}"
            rejects = [*rejects, Reject(reason, b"", signal=self.signal, count=self._more)]
        return Decoded(self.spans, rejects, self.logs, self.others, self.repaired, self.remark)
