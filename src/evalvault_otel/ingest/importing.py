"""Files of OTLP into the store, by the way that requests take: decoded, grouped, committed in groups by the `Ingestor`.

Bad documents become rejects, as bad requests do; where they are is told besides.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import Event
from typing import Final, Self

from prometheus_client import CollectorRegistry

from ..errors import Undecodable
from ..model import Reject
from ..settings import Settings
from ..store import Pauses, RejectBounds, Store, open_store
from ..store.selecting import Selection
from ..wire import Decoded
from ..wire.answer import Accepted
from ..wire.otlp_files import Document, decode
from .ingestor import Ingestor
from .mapping import Mapping
from .remap import remap
from .telemetry import IngestTelemetry

TRANSPORT: Final = "file"
# Storage that takes no more for so long is not slow but away.
_PATIENCE_S: Final = 60.0
_MOST_IN_FLIGHT: Final = 1_000
# So many lines without OTLP at the beginning of a file: it is another file than was meant.
_HOPELESS: Final = 10
_KNOWN_KEYS: Final = (b'"resourceSpans"', b'"resource_spans"', b'"resourceLogs"', b'"resource_logs"')
_OTHER_SIGNALS: Final = (b'"resourceMetrics"', b'"resourceProfiles"')


@dataclass(frozen=True, slots=True)
class Refused:
    """What was refused of a document: how many spans or log events (1 for a document that is none), and why."""

    file: str
    line: int
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of spans and log events. `conflicts` are duplicates that differ from what is stored.

    `others` are log records that are no events of spans, and requests of other signals where these are discarded.
    `traces` got something new while the import ran.
    """

    spans: int
    duplicates: int
    conflicts: int
    logs: int
    others: int
    rejected: int
    traces: int


class Importer:
    """An ingestor of its own over a database. To be used in a `with`: at its end all that was added is committed."""

    def __init__(self, settings: Settings, mapping: Mapping) -> None:
        # Who imports can import again: nothing has to be kept while storage is away.
        self._settings = replace(settings, spool="off")
        bounds = RejectBounds(settings.max_rejects, settings.max_reject_bytes)
        self.store: Store = open_store(settings.db, Pauses(), bounds)
        self._registry = CollectorRegistry()
        self._telemetry = IngestTelemetry(self._registry)
        self._ingestor = Ingestor(self.store, self._settings, self._telemetry, mapping)
        self._began_ns = time.time_ns()
        self._waiting: deque[tuple[str, int, Future[Accepted]]] = deque()

    def __enter__(self) -> Self:
        self.store.migrate()
        self._ingestor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ingestor.stop()

    def add(
        self, file: str, found: Iterable[Document], stop: Event, *, strict: bool = False
    ) -> Iterator[Refused | None]:
        """Store documents; for each one None, and what is refused when that is known. All are committed at the end.

        With `strict` nothing is read after a document of which something is refused; nor after `stop` is set.

        Raises:
            Unavailable: storage is away; what was added before may be stored or not, and can be added again.
        """
        hopeless: int | None = 0  # documents of which nothing could be read, before the first of which something could
        for document in found:
            decoded = self._decoded(document, f"{file}:{document.number}")
            self._add(file, document, decoded)
            yield None
            yield from self._answered(_MOST_IN_FLIGHT)
            if (strict and decoded.rejects) or stop.is_set():
                break
            if hopeless is not None:
                hopeless = hopeless + 1 if decoded.rejects and not (decoded.spans or decoded.logs) else None
                if hopeless == _HOPELESS:
                    yield from self._answered(0)
                    yield Refused(file, document.number, 0, f"{_HOPELESS} lines and no OTLP/JSON: the rest is not read")
                    break
        yield from self._answered(0)

    def store_decoded(self, file: str, line: int, decoded: Decoded, size: int) -> Iterator[Refused]:
        """Store what is decoded already, of `size` bytes; what is refused of it, or of what came before, once known.

        Raises:
            Unavailable: as `add`.
        """
        self._ingestor.wait_for_room(_PATIENCE_S)
        decoded = replace(decoded, transport=TRANSPORT, peer=f"{file}:{line}")
        self._waiting.append((file, line, self._ingestor.submit(decoded, size)))
        yield from self._answered(_MOST_IN_FLIGHT)

    def finished(self) -> Iterator[Refused]:
        """Wait until all that was added is committed; what is refused of it."""
        yield from self._answered(0)

    def _add(self, file: str, document: Document, decoded: Decoded) -> None:
        """Submit what is in a document."""
        if not (decoded.spans or decoded.logs or decoded.rejects):
            self._telemetry.log_events.labels("other").inc(decoded.others)
            return
        self._ingestor.wait_for_room(_PATIENCE_S)
        answer = self._ingestor.submit(decoded, len(document.data))
        self._waiting.append((file, document.number, answer))

    def _decoded(self, document: Document, place: str) -> Decoded:
        problem = document.problem
        decoded = Decoded([], [])
        if not problem:
            try:
                decoded = decode(document.data)
                if not (decoded.spans or decoded.logs or decoded.rejects or decoded.others):
                    problem = _foreign(document.data)
            except Undecodable as exc:
                problem = str(exc)
        if problem:
            if self._settings.other_signals == "discard" and any(key in document.data for key in _OTHER_SIGNALS):
                return Decoded([], [], others=1)
            decoded = Decoded([], [Reject(problem, document.data, encoding="json")])
        rejects = [replace(reject, transport=TRANSPORT, peer=place) for reject in decoded.rejects]
        return replace(decoded, rejects=rejects, transport=TRANSPORT, peer=place)

    def _answered(self, most: int) -> Iterator[Refused]:
        """What is refused of documents whose answer is there; waits until `most` of the others are left."""
        while self._waiting and (len(self._waiting) > most or self._waiting[0][2].done()):
            file, line, answer = self._waiting.popleft()
            accepted = answer.result()
            if accepted.rejected:
                yield Refused(file, line, accepted.rejected, accepted.message)

    def assemble(self, mapping: Mapping, stop: Event) -> list[str]:
        """Assemble all traces that wait for it, whoever stored them; gives those that could not be."""
        done = remap(self.store, Selection(waiting=True), mapping, stop)
        return [trace_id for _, remapped in done for trace_id in remapped.failed]

    def imported(self) -> Imported:
        """What became of all that was added."""
        return Imported(
            spans=self._count("evalvault_spans_total", "stored"),
            duplicates=self._both("duplicate"),
            conflicts=int(self._registry.get_sample_value("evalvault_span_conflicts_total") or 0),
            logs=self._count("evalvault_log_events_total", "stored"),
            others=self._count("evalvault_log_events_total", "other"),
            rejected=self._both("rejected"),
            traces=self.store.selected(Selection(since_ns=self._began_ns)).traces,
        )

    def _both(self, outcome: str) -> int:
        return self._count("evalvault_spans_total", outcome) + self._count("evalvault_log_events_total", outcome)

    def _count(self, name: str, outcome: str) -> int:
        return int(self._registry.get_sample_value(name, {"outcome": outcome}) or 0)


def _foreign(data: bytes) -> str:
    """What is wrong with a document in which nothing was found; nothing if it is an empty request."""
    if data.strip() in {b"", b"{}"} or any(key in data for key in _KNOWN_KEYS):
        return ""
    return "JSON, but no OTLP: it has neither resourceSpans nor resourceLogs"
