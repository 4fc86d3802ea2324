"""Folders of the spool: each process has its own and holds a lock on it; nobody holds that of a process that died.

```
<spool>/<database>/<process>/000001.log     requests in the order of their arrival
                            /position       how far they are in the database
                            /lock           held by its process
                  /aside/                   what could not be read or stored, for a person
```
"""

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from . import spool_files
from .spool_files import Damage, Record

ASIDE = "aside"
_LOCK, _POSITION = "lock", "position"
_PRIVATE = 0o700
# Parameters of an address that say which database and which tables are meant; the others only say how to get there.
_MEANING = frozenset({"host", "hostaddr", "port", "dbname", "service", "options"})


def of_database(url: str) -> str:
    """The name of the folder for a database: readable, and different for different databases.

    The password is no part of it, and the user only where it is the name of the database.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    named = parts.path.strip("/") or unquote(parts.username or "")
    said = sorted((key, value) for key, value in parse_qsl(parts.query) if key in _MEANING)
    readable = "".join(letter if letter.isalnum() else "-" for letter in unquote(named))[:40] or "database"
    return f"{readable}-{sha256(repr((host, named, said)).encode()).hexdigest()[:12]}"


class Folder:
    """The folder of one process, dead or alive, as long as this object holds its lock."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._number = 0
        self._closed = False
        self._position = self._read_position()

    @classmethod
    def create(cls, place: Path) -> "Folder":
        """A new folder of our own.

        Raises:
            OSError: it cannot be made or written.
        """
        place.mkdir(_PRIVATE, parents=True, exist_ok=True)
        # Invisible until it is locked, or another process would take it for that of a dead one.
        hidden = place / f".{secrets.token_hex(8)}"
        hidden.mkdir(_PRIVATE)
        lock = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        _try_lock(lock)
        path = hidden.rename(place / f"{time.time_ns()}-{os.getpid()}")
        for folder in (place, place.parent, place.parent.parent):
            with suppress(PermissionError):  # one that we may not read was not made by us
                spool_files.sync_folder(folder)
        return cls(path, lock)

    @classmethod
    def adopt(cls, path: Path) -> "Folder | None":
        """The folder of a process that died; None while somebody holds it, and when it is gone."""
        try:
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if _try_lock(lock) and _is_file(lock, path / _LOCK):
            return cls(path, lock)
        os.close(lock)
        return None

    def segments(self) -> list[Path]:
        """What is still to be stored, oldest first."""
        return sorted(self.path.glob("*.log"))

    def next_segment(self) -> Path:
        """A name behind all others, for a folder that we made."""
        self._number += 1
        return self.path / f"{self._number:06d}.log"

    def start_of(self, segment: Path) -> int:
        """Where to begin in a segment."""
        name, offset = self._position
        return offset if segment.name == name else 0

    def advance(self, segment: Path, offset: int) -> None:
        """A segment is stored up to here."""
        self._position = (segment.name, offset)

    def note(self) -> None:
        """Note on the disk how far it is stored.

        A crash may forget the latest notes, and a full disk takes none: storing can be repeated.
        """
        name, offset = self._position
        with suppress(OSError):
            # Written over, not anew: a file that is cut to nothing first is flushed by the file system each time.
            fd = os.open(self.path / _POSITION, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(fd, f"{name} {offset:020d} end\n".encode(), 0)
            finally:
                os.close(fd)

    def _read_position(self) -> tuple[str, int]:
        try:
            name, offset, end = (self.path / _POSITION).read_text().splitlines(keepends=True)[0].rsplit(" ", 2)
            return (name, int(offset)) if end == "end\n" else ("", 0)
        except (FileNotFoundError, IndexError, ValueError):
            return "", 0

    def close(self) -> None:
        """Let go of it, and remove it when nothing is left to be stored. Calling it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        if not self.segments():
            # Whoever waits for the lock finds that it is of no folder any more.
            for name in (_POSITION, _LOCK):
                (self.path / name).unlink(missing_ok=True)
            with suppress(OSError):  # a file that somebody else put there stays
                self.path.rmdir()
        os.close(self._lock)


def folders(place: Path) -> Iterator[Path]:
    """The folders of all processes, oldest first."""
    try:
        names = sorted(entry.name for entry in os.scandir(place) if entry.is_dir())
    except FileNotFoundError:
        return
    for name in names:
        if not name.startswith(".") and name != ASIDE:
            yield place / name


def bytes_in(folder: Path) -> int:
    """Bytes of the segments of a folder; files that go meanwhile count nothing."""
    total = 0
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.name.endswith(".log"):
                with suppress(FileNotFoundError):
                    total += entry.stat().st_size
    return total


def keep_aside(place: Path, segment: Path, content: bytes) -> Path:
    """Write what cannot be stored where a person finds it; returns the file."""
    (place / ASIDE).mkdir(_PRIVATE, exist_ok=True)
    path = place / ASIDE / f"{segment.parent.name}-{segment.stem}-{secrets.token_hex(4)}.log"
    path.write_bytes(content)
    return path


def keep_record_aside(place: Path, segment: Path, record: Record) -> Path:
    """`keep_aside` of a record that is well, as a segment that can be stored after all: see docs/troubleshooting.md."""
    (place / ASIDE).mkdir(_PRIVATE, exist_ok=True)
    writer = spool_files.SegmentWriter(
        place / ASIDE / f"{segment.parent.name}-{segment.stem}-{secrets.token_hex(4)}.log"
    )
    try:
        writer.append([record.payload], record.received_ns)
    finally:
        writer.close()
    return writer.path


def count(folder: Folder) -> int:
    """How many requests of a folder are still to be stored."""
    return sum(
        not isinstance(found, Damage)
        for segment in folder.segments()
        for found in spool_files.read(segment, folder.start_of(segment))
    )


def _try_lock(fd: int) -> bool:
    import fcntl  # noqa: PLC0415 - Windows has none; there is no spool there, and all else works

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno not in {errno.EAGAIN, errno.EACCES}:
            raise
        return False
    return True


def _is_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
