"""The spool: takes requests while the database is away, gives them back in order. On the disk when `append` returns.

It holds bytes and knows nothing of what is in them. One process appends to its own folder and takes over those of dead
processes (ADR 0009).
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError, Unavailable
from . import spool_files, spool_folders
from .spool_files import Damage, Record, SegmentWriter
from .spool_folders import Folder

_SEGMENT_BYTES = 16 * 1024 * 1024
_OTHERS_S = 1.0


class SpoolFull(Unavailable):
    """The spool holds as much as it may. Nothing was kept; the same call may work later."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the spool that nobody writes any more."""

    folder: Folder
    path: Path

    def read(self) -> Iterator[Record | Damage]:
        """What is still to be stored."""
        return spool_files.read(self.path, self.folder.start_of(self.path))


class Spool:
    """The part of the spool that this process is responsible for. Safe for a thread that appends and one that reads.

    Raises:
        SettingsError: the folder cannot be made or written.
    """

    def __init__(self, root: Path, database: str, max_bytes: int) -> None:
        self._place = root.absolute() / spool_folders.of_database(database)
        self._max_bytes = max_bytes
        self._changed = threading.Lock()
        self._writer: SegmentWriter | None = None
        self._adopted: list[Folder] = []
        self._others = (0.0, 0)
        self.requests = 0
        try:
            self._own = Folder.create(self._place)
        except OSError as exc:
            raise SettingsError(
                f"--spool {root} (EVALVAULT_SPOOL): {exc.strerror}: name a folder that can be written, or `off`"
            ) from exc

    @property
    def path(self) -> Path:
        """The folder of this database."""
        return self._place

    def size(self) -> int:
        """Bytes in the files of this process and of those it took over."""
        return sum(spool_folders.bytes_in(folder.path) for folder in (self._own, *self._adopted))

    def append(self, payloads: Sequence[bytes], received_ns: int) -> int:
        """Keep requests that arrived together; how many of them, from the first on, found room and are on the disk.

        Raises:
            SpoolFull: there is not even room for the first.
            OSError: the disk refuses; none is kept.
        """
        if not payloads:
            return 0
        with self._changed:
            fitting = payloads[: self._fitting(payloads)]
            if not fitting:
                raise self.full()
            writer = self._open_writer(sum(map(spool_files.size_of, fitting)))
            try:
                writer.append(fitting, received_ns)
            except OSError:
                self._close_writer()
                if writer.is_empty:
                    writer.path.unlink()
                raise
            self.requests += len(fitting)
            return len(fitting)

    def full(self) -> SpoolFull:
        """What a client is told whose request finds no room."""
        return SpoolFull(f"storage is away and the spool is full (max_spool_bytes is {self._max_bytes})")

    def _fitting(self, payloads: Sequence[bytes]) -> int:
        room = self._max_bytes - self.size() - self._bytes_of_others()
        for index, payload in enumerate(payloads):
            room -= spool_files.size_of(payload)
            if room < 0:
                return index
        return len(payloads)

    def _bytes_of_others(self) -> int:
        """What other processes of this machine hold: the bound is for all together."""
        now = time.monotonic()
        if now - self._others[0] > _OTHERS_S:
            ours = {folder.path for folder in (self._own, *self._adopted)}
            others = (path for path in spool_folders.folders(self._place) if path not in ours)
            self._others = (now, sum(map(spool_folders.bytes_in, others)))
        return self._others[1]

    def _open_writer(self, size: int) -> SegmentWriter:
        if self._writer is not None and self._writer.size + size > _SEGMENT_BYTES:
            self._close_writer()
        if self._writer is None:
            self._writer = SegmentWriter(self._own.next_segment())
        return self._writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def adopt(self) -> int:
        """Take over the folders of processes that died; returns how many requests came with them."""
        ours = {folder.path for folder in (self._own, *self._adopted)}
        adopted = 0
        for path in spool_folders.folders(self._place):
            folder = Folder.adopt(path) if path not in ours else None
            if folder is not None:
                waiting = spool_folders.count(folder)
                adopted += waiting
                with self._changed:
                    self._adopted.append(folder)
                    self.requests += waiting
        return adopted

    def oldest(self) -> Segment | None:
        """The segment to be stored next. What is appended from now on goes into others."""
        with self._changed:
            while self._adopted:
                folder = self._adopted[0]
                for path in folder.segments():
                    return Segment(folder, path)
                self._adopted.pop(0).close()
            for path in self._own.segments():
                if self._writer is not None and self._writer.path == path:
                    self._close_writer()
                return Segment(self._own, path)
            return None

    def advance(self, segment: Segment, record: Record) -> None:
        """This record of a segment, and all before it, are stored."""
        segment.folder.advance(segment.path, record.end)
        with self._changed:
            self.requests -= 1

    def note(self, segment: Segment) -> None:
        """Note on the disk how far a segment is stored."""
        segment.folder.note()

    def finish(self, segment: Segment) -> None:
        """All of a segment is stored."""
        segment.path.unlink()

    def keep_aside(self, segment: Segment, found: Record | Damage) -> Path:
        """Put what cannot be read or stored where a person finds it; returns the file."""
        if isinstance(found, Record):
            return spool_folders.keep_record_aside(self._place, segment.path, found)
        with segment.path.open("rb") as file:
            file.seek(found.start)
            return spool_folders.keep_aside(self._place, segment.path, file.read(found.end - found.start))

    def close(self) -> None:
        """Let go of all folders. What they hold is stored by the next process. Calling it twice is harmless."""
        with self._changed:
            self._close_writer()
            for folder in (self._own, *self._adopted):
                folder.close()
