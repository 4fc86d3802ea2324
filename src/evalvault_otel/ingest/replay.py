"""While storage is away: requests go to the spool, and a thread stores them when it is back (ADR 0009).

The writer says whether storage works (`works`, `fails`) and hands over what it could not store (`keep`). The thread
asks the database with growing pauses, replays the spool in order, and thereby finds out that storage is back. Where the
database answers and still takes no writes, one group of live requests is let through now and then, as a trial.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import Unavailable
from ..settings import Settings
from ..store import Store
from ..wire import Decoded
from . import spool_records
from .commit import Committer, Outcome
from .grouping import Grouped
from .spool import Segment, Spool, SpoolFull
from .spool_files import Damage, Record
from .telemetry import IngestTelemetry

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 2.0
_SCAN_S = 5.0
# Live requests are stored at the same time, so a group is smaller than one of theirs may be.
_GROUP_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class _Replayed:
    record: Record
    decoded: Decoded
    grouped: Grouped


def open_backlog(
    store: Store, committer: Committer, settings: Settings, telemetry: IngestTelemetry
) -> "Backlog | None":
    """The backlog that the settings ask for; none for SQLite, which is never away, and with `--spool off`.

    Raises:
        SettingsError: the folder of the spool cannot be used.
    """
    if settings.spool == "off" or not settings.db.startswith(("postgresql://", "postgres://")):
        return None
    spool = Spool(Path(settings.spool), settings.db, settings.max_spool_bytes)
    return Backlog(store, committer, spool, telemetry, min(settings.commit_bytes, _GROUP_BYTES))


class Backlog:
    """What waits in the spool, and whether more should. Start it, stop it; a stop leaves the rest to the next start."""

    def __init__(
        self, store: Store, committer: Committer, spool: Spool, telemetry: IngestTelemetry, group_bytes: int
    ) -> None:
        self._store = store
        self._committer = committer
        self._spool = spool
        self._telemetry = telemetry.spool
        self._group_bytes = group_bytes
        self._away_since: float | None = None
        self._trial = False
        self._answers = True
        self._pause_s = _FIRST_PAUSE_S
        self._refusing = False
        # What no line of the log has told yet.
        self._replayed = 0
        self._outage_s: float | None = None
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evalvault-replay", daemon=True)

    def start(self) -> None:
        """Take over what dead processes left, look whether storage is there, and begin to replay."""
        self._spool.adopt()
        self._show()
        try:
            self._store.ping()
        except Unavailable as exc:
            self.fails(exc)
        self._thread.start()

    def stop(self, patience_s: float | None = None) -> None:
        """Return when the group at hand is stored, or cannot be, or after `patience_s` seconds."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(None if patience_s is None else max(0.0, patience_s))
        if not self._thread.is_alive():
            self._spool.close()

    # For the writer.

    def is_away(self) -> bool:
        """Whether requests should go to the spool without trying the database."""
        trial, self._trial = self._trial, False
        return self._away_since is not None and not trial

    def works(self) -> None:
        """A commit succeeded."""
        lasted_s = self._end_outage()
        if lasted_s is not None:
            _LOG.warning("storage is back after %.1f s; %d requests wait in the spool", lasted_s, self._spool.requests)

    def fails(self, problem: Unavailable) -> None:
        """A commit failed because storage is away."""
        if self._away_since is None:
            self._away_since = time.monotonic()
            _LOG.warning("storage is away, requests go to the spool %s: %s", self._spool.path, problem)
            self._wake.set()

    def keep(self, requests: Sequence[Decoded], received_ns: int) -> list[Unavailable | None]:
        """Put requests into the spool; per request None when it is on the disk, or what its client is told."""
        encoded = [self._encoded(decoded) for decoded in requests]
        payloads = [payload for payload in encoded if isinstance(payload, bytes)]
        refusal: Unavailable | None = None
        kept = 0
        try:
            kept = self._spool.append(payloads, received_ns)
        except SpoolFull as exc:
            refusal = exc
        except OSError as exc:
            refusal = Unavailable(f"storage is away, and the spool cannot be written: {exc.strerror}")
        self._tell(refusal)
        self._telemetry.spooled.inc(kept)
        self._show()
        self._wake.set()
        told = iter([None] * kept + [refusal or self._spool.full()] * (len(payloads) - kept))
        return [next(told) if isinstance(payload, bytes) else payload for payload in encoded]

    def _encoded(self, decoded: Decoded) -> bytes | Unavailable:
        try:
            return spool_records.encode(decoded)
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with one request, the others go on
            _LOG.exception("a request cannot be kept in the spool")
            return Unavailable(f"storage is away, and the spool cannot take this request: {exc}")

    def _tell(self, refusal: Unavailable | None) -> None:
        """Log, once, that the spool takes no more."""
        if refusal is not None and not self._refusing:
            _LOG.error("clients must keep their data, the spool %s takes no more: %s", self._spool.path, refusal)
        self._refusing = refusal is not None

    # The thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            if self._step():
                self._pause_s = _FIRST_PAUSE_S
                self._wake.wait(_SCAN_S)
            else:
                self._stopping.wait(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _LAST_PAUSE_S)

    def _step(self) -> bool:
        """Replay what there is; whether storage is well and nothing is left."""
        try:
            if self._spool.adopt():
                self._show()
            if self._away_since is not None:
                self._ask()
            self._replay_all()
        except Unavailable:
            return False
        except Exception:  # noqa: BLE001 - the thread must go on, whatever happens
            _LOG.exception("the spool %s cannot be replayed, trying again", self._spool.path)
            return False
        return self._away_since is None

    def _ask(self) -> None:
        try:
            self._store.ping()
        except Unavailable:
            self._answers = False
            raise
        if not self._answers:
            # Writes may still meet connections of the time before: soon again, then.
            self._pause_s = _FIRST_PAUSE_S
        self._answers = True

    def _replay_all(self) -> None:
        started = time.monotonic()
        try:
            while (segment := self._spool.oldest()) is not None:
                for found in _groups(segment, self._group_bytes):
                    if self._stopping.is_set():
                        return
                    self._replay(segment, found)
                self._spool.finish(segment)
                self._show()
        finally:
            # It answered. If it took no writes, or there were none, the next live request shall tell.
            self._trial = self._away_since is not None
        if self._replayed:
            after = "" if self._outage_s is None else f"storage is back after {self._outage_s:.1f} s; "
            seconds = time.monotonic() - started
            _LOG.warning("%s%d requests replayed from the spool in %.1f s", after, self._replayed, seconds)
            self._replayed, self._outage_s = 0, None

    def _replay(self, segment: Segment, found: Sequence[Record | Damage]) -> None:
        for damage in found:
            if isinstance(damage, Damage):
                self._report(segment, damage)
        requests = [self._read(segment, record) for record in found if isinstance(record, Record)]
        if not requests:
            return
        try:
            for request, outcome in self._committer.commit(requests, requests[0].record.received_ns):
                if isinstance(outcome, Unavailable):
                    raise outcome
                self._is_done(segment, request, outcome)
        finally:
            self._spool.note(segment)
            self._show()

    def _is_done(self, segment: Segment, request: _Replayed, outcome: Outcome) -> None:
        if isinstance(outcome, Exception):
            self._keep_aside(segment, request.record, outcome)
        self._spool.advance(segment, request.record)
        self._replayed += 1
        self._telemetry.replayed.inc()
        self._outage_s = self._end_outage() or self._outage_s

    def _read(self, segment: Segment, record: Record) -> _Replayed:
        try:
            decoded = spool_records.decode(record.payload)
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with one request, the others go on
            self._keep_aside(segment, record, exc)
            decoded = Decoded([], [])
        return _Replayed(record, decoded, self._committer.group(decoded))

    def _keep_aside(self, segment: Segment, record: Record, problem: Exception) -> None:
        path = self._spool.keep_aside(segment, record)
        _LOG.error("a request of the spool could not be stored and is kept in %s: %r", path, problem)

    def _report(self, segment: Segment, damage: Damage) -> None:
        size = damage.end - damage.start
        if damage.torn:
            _LOG.warning("cut %d bytes of a write that a crash interrupted, never acknowledged: %s", size, segment.path)
        else:
            path = self._spool.keep_aside(segment, damage)
            _LOG.error("%d bytes of %s are damaged and kept in %s", size, segment.path, path)

    def _show(self) -> None:
        self._telemetry.show(self._spool.size(), self._spool.requests)

    def _end_outage(self) -> float | None:
        """Storage works; how long it was away, None if it was not."""
        since, self._away_since = self._away_since, None
        return None if since is None else time.monotonic() - since


def _groups(segment: Segment, most_bytes: int) -> Iterator[list[Record | Damage]]:
    """What is in a segment, in pieces of about so many bytes."""
    group_of: list[Record | Damage] = []
    size = 0
    for found in segment.read():
        group_of.append(found)
        size += len(found.payload) if isinstance(found, Record) else 0
        if size >= most_bytes:
            yield group_of
            group_of, size = [], 0
    if group_of:
        yield group_of
