"""Requests into the store: together in one transaction, or one by one where something in them is refused.

Both ways into the store meet here: requests that arrive (`ingestor`) and those that waited in the spool (`replay`).
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Protocol, TypeVar

from ..assembly import assemble
from ..errors import InvalidInput, Unavailable
from ..model import Reject
from ..store import Store, TraceBatch, Written
from ..store.base import Assemble
from ..values import dumps
from ..wire import Decoded, protobuf
from ..wire.answer import Accepted
from .grouping import Grouped, group, merge, singles
from .telemetry import IngestTelemetry

_LOG = logging.getLogger(__name__)
_NOTHING = Grouped([], 0, 0)


class Request(Protocol):
    """A decoded request and its spans as batches."""

    @property
    def decoded(self) -> Decoded:
        """All of it."""

    @property
    def grouped(self) -> Grouped:
        """Its spans, one batch per trace."""


R = TypeVar("R", bound=Request)
Outcome = Accepted | Exception


class Committer:
    """Stores groups of requests and counts what became of their spans."""

    def __init__(self, store: Store, telemetry: IngestTelemetry, assemble: Assemble = assemble) -> None:
        self._assemble = assemble
        self._store = store
        self._telemetry = telemetry

    def group(self, decoded: Decoded) -> Grouped:
        """A decoded request as batches, assembled where a trace looks whole; on the caller's thread."""
        return group(decoded.spans, decoded.logs, self._assemble)

    def commit(self, requests: Sequence[R], received_ns: int) -> Iterator[tuple[R, Outcome]]:
        """Store requests; each comes out, in order, with its answer when it is durable, or with what prevents it.

        After the first `Unavailable` the others are not tried: they come out with it too.
        """
        try:
            self._write(requests, received_ns)
        except Unavailable as exc:
            yield from ((request, exc) for request in requests)
        except Exception as exc:  # noqa: BLE001 - each request comes out with what happened to it
            if len(requests) > 1:
                yield from self._one_by_one(requests, received_ns)
            else:
                yield requests[0], self._rescued(requests[0], exc, received_ns)
        else:
            yield from ((request, accepted(request.decoded.rejects)) for request in requests)

    def _one_by_one(self, requests: Sequence[R], received_ns: int) -> Iterator[tuple[R, Outcome]]:
        for index, request in enumerate(requests):
            for _, outcome in self.commit([request], received_ns):
                if isinstance(outcome, Unavailable):
                    yield from ((left, outcome) for left in requests[index:])
                    return
                yield request, outcome

    def _rescued(self, request: Request, problem: Exception, received_ns: int) -> Outcome:
        if not isinstance(problem, InvalidInput):
            _LOG.error("a request could not be stored", exc_info=problem)
            return problem
        try:
            return accepted([*request.decoded.rejects, *self._salvage(request, received_ns)])
        except Unavailable as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with one request, the others go on
            _LOG.exception("a request could not be stored")
            return exc

    def _write(self, requests: Sequence[Request], received_ns: int) -> None:
        grouped = merge([request.grouped for request in requests], self._assemble)
        rejects = [reject for request in requests for reject in request.decoded.rejects]
        written = self._store.write(grouped.traces, rejects, received_ns)
        self._count(written, rejects, grouped, requests)

    def _salvage(self, request: Request, received_ns: int) -> list[Reject]:
        """Store a request piece by piece where the database refuses some of them; what it refuses is rejected."""
        self._count(Written(0, 0, 0), [], replace(request.grouped, traces=[]), [request])
        refused: list[Reject] = []
        for batch in request.grouped.traces:
            # Piece by piece the trace is not whole: the background assembler puts it together.
            for alone in singles(batch):
                try:
                    self._count(self._store.write([alone], [], received_ns), [])
                except InvalidInput as exc:
                    refused.append(_refused(alone, str(exc), request.decoded))
        rejects = [*request.decoded.rejects, *refused]
        self._store.write([], rejects, received_ns)
        self._count(Written(0, 0, 0), rejects)
        return refused

    def _count(
        self,
        written: Written,
        rejects: Sequence[Reject],
        grouped: Grouped = _NOTHING,
        requests: Sequence[Request] = (),
    ) -> None:
        """Count what was written and refused, repetitions and whole traces of `grouped`, the rest of `requests`."""
        spans, logs = self._telemetry.spans, self._telemetry.log_events
        spans.labels("stored").inc(written.stored)
        spans.labels("duplicate").inc(written.duplicates + grouped.duplicates)
        logs.labels("stored").inc(written.logs_stored)
        logs.labels("duplicate").inc(written.logs_duplicates + grouped.log_duplicates)
        logs.labels("other").inc(sum(request.decoded.others for request in requests))
        for reject in rejects:
            (logs if reject.signal == "logs" else spans).labels("rejected").inc(reject.count)
            self._telemetry.rejects.labels(reject.signal).inc(reject.count)
        self._telemetry.conflicts.inc(written.conflicts + grouped.conflicts)
        whole = [batch.assembly for batch in grouped.traces if batch.assembly is not None]
        self._telemetry.assembled.labels("ingest").inc(len(whole))
        # A request that was sent again has stored nothing, and its stages have been counted.
        if written.stored:
            self._telemetry.stages.count(whole)


def _refused(batch: TraceBatch, reason: str, request: Decoded) -> Reject:
    """A single span or log event that the database does not take."""
    if batch.spans:
        return Reject(reason, protobuf.encode(batch.spans), request.transport, request.peer, encoding="protobuf")
    content = dumps([asdict(event) for event in batch.logs]).encode()
    return Reject(reason, content, request.transport, request.peer, signal="logs", encoding="json")


def accepted(rejects: Sequence[Reject]) -> Accepted:
    """The answer to a request of which all is stored but these."""
    if not rejects:
        return Accepted()
    reasons = list(dict.fromkeys(reject.reason for reject in rejects))
    more = f" (and {len(reasons) - 3} more reasons)" if len(reasons) > 3 else ""  # noqa: PLR2004 - enough to see why
    return Accepted(sum(reject.count for reject in rejects), "; ".join(reasons[:3]) + more)
