"""API keys as text: the entries of `EVALVAULT_API_KEYS` and the lines of the key file. Text in, `KeyEntry` out.

A line of the file is `name scopes sha256:<64 hex digits>`, with scopes joined by `+`; empty lines and lines that begin
with `#` are comments. Only hashes are kept. A key is 256 random bits, so there is nothing to guess: a slow hash (for
words that people choose) would cost every request and protect nothing, and a salt (against tables of known words) too.

No error carries text of a line or an entry: it may be a key.
"""

import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ..errors import SettingsError

VARIABLE: Final = "EVALVAULT_API_KEYS"
FILE_VARIABLE: Final = "EVALVAULT_API_KEYS_FILE"
_PREFIX: Final = "evk_"  # lets scanners for leaked secrets know what they found
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_FILE_BYTES: Final = 1024 * 1024
_WORDS_IN_LINE: Final = 3


class Scope(StrEnum):
    """What a key may do. `ADMIN` implies the others; nothing asks for it alone today."""

    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"


# What a key without scopes may do: what one key for everything is wanted for, and nothing more.
DEFAULT_SCOPES: Final = frozenset({Scope.INGEST, Scope.READ})
_SCOPE_WORDS: Final = "scopes joined by +, out of ingest, read and admin"


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key that is known: its name, what it may do, and the SHA-256 of the key."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes

    @property
    def scopes_text(self) -> str:
        """The scopes as they are written in the file."""
        return "+".join(scope for scope in Scope if scope in self.scopes)

    @property
    def line(self) -> str:
        """The line of the file, without its end."""
        return f"{self.name} {self.scopes_text} sha256:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key file as it was read. `stamp` is another one after every change."""

    entries: tuple[KeyEntry, ...]
    stamp: tuple[int, ...]


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def new_key() -> str:
    """A new random key of 256 bits, fit for headers, URLs and shells."""
    return _PREFIX + secrets.token_urlsafe(32)


def scopes_of(text: str) -> frozenset[Scope]:
    """Scopes joined by `+`.

    Raises:
        ValueError: one of them is none.
    """
    words = [word.strip().lower() for word in text.split("+")]
    unknown = [word for word in words if word not in set(Scope)]
    if unknown:
        raise ValueError(f"there is no scope {unknown[0]!r}")
    return frozenset(map(Scope, words))


def entries_of_setting(text: str) -> tuple[KeyEntry, ...]:
    """The keys of `EVALVAULT_API_KEYS`: `scopes:key` separated by commas; a key alone may ingest and read.

    Raises:
        SettingsError: an entry is not of that form, or there is none although something is set.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if text and not words:
        raise SettingsError(f"{VARIABLE} is set and holds no key: unset it, or give scope:key")
    return tuple(_entry_of_setting(number, word) for number, word in enumerate(words, 1))


def _entry_of_setting(number: int, word: str) -> KeyEntry:
    before, colon, after = word.partition(":")
    key = (after if colon else before).strip()
    try:
        scopes = scopes_of(before) if colon else DEFAULT_SCOPES
    except ValueError:
        raise SettingsError(f"{VARIABLE}, entry {number}: before the colon must be {_SCOPE_WORDS}") from None
    if not key:
        raise SettingsError(f"{VARIABLE}, entry {number}: there is no key after the colon")
    return KeyEntry(f"{VARIABLE}#{number}", scopes, digest_of(key))


def read_key_file(path: Path) -> KeyFile:
    """The keys of a file.

    Raises:
        SettingsError: it cannot be read, is no regular file, is too large, or a line is wrong; file and line are named.
    """
    stamp = stamp_of(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeError as exc:
        raise _unreadable(path, "it is not UTF-8 text") from exc
    except OSError as exc:
        raise _unreadable(path, str(exc.strerror)) from exc
    return KeyFile(_entries_of_lines(path, text), stamp)


def stamp_of(path: Path) -> tuple[int, ...]:
    """What tells one state of a file from the next.

    Raises:
        SettingsError: it cannot be looked at, is no regular file (reading a pipe would wait for ever), or is too large.
    """
    try:
        status = path.stat()
    except OSError as exc:
        raise _unreadable(path, str(exc.strerror)) from exc
    if not stat.S_ISREG(status.st_mode):
        raise _unreadable(path, "it is not a regular file")
    if status.st_size > _MAX_FILE_BYTES:
        raise _unreadable(path, f"it is larger than {_MAX_FILE_BYTES} bytes")
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _unreadable(path: Path, why: str) -> SettingsError:
    return SettingsError(f"API keys: cannot read {path} ({FILE_VARIABLE}): {why}")


def _entries_of_lines(path: Path, text: str) -> tuple[KeyEntry, ...]:
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    numbered = [
        (n, _entry_of_line(f"{path}, line {n}", line)) for n, line in lines if line and not line.startswith("#")
    ]
    names = Counter(entry.name for _, entry in numbered)
    for number, entry in numbered:
        if names[entry.name] > 1:
            raise SettingsError(f"API keys: {path}, line {number}: another line has this name too")
    return tuple(entry for _, entry in numbered)


def _entry_of_line(where: str, line: str) -> KeyEntry:
    words = line.split()
    if len(words) != _WORDS_IN_LINE or not _NAME.fullmatch(words[0]):
        raise SettingsError(
            f"API keys: {where}: must be `name scopes sha256:…`, as `evalvault-otel keys create` writes"
        )
    hashed = _HASH.fullmatch(words[2].lower())
    if not hashed:
        raise SettingsError(f"API keys: {where}: the third word must be sha256: and 64 hex digits")
    try:
        scopes = scopes_of(words[1])
    except ValueError:
        raise SettingsError(f"API keys: {where}: the second word must be {_SCOPE_WORDS}") from None
    return KeyEntry(words[0], scopes, bytes.fromhex(hashed[1]))


def add_key(path: Path, name: str, scopes: frozenset[Scope]) -> str:
    """Make a key, append its line to the file, return the key: it is written nowhere else.

    A new file can be read by its owner only. The line is one write under a lock, so two callers lose nothing.

    Raises:
        SettingsError: the name cannot be one or is taken, or the file holds a line that is wrong.
        OSError: the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError("a key's name is up to 64 letters, digits, dots, dashes and underscores")
    key = new_key()
    entry = KeyEntry(name, scopes, digest_of(key))
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if any(known.name == name for known in read_key_file(path).entries):
            raise SettingsError(f"{path} has a key with the name {name} already")
        os.write(descriptor, f"{_line_break(path)}{entry.line}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return key


def _line_break(path: Path) -> str:
    """What must stand before a new line: nothing, unless the last line was left without its end."""
    return "\n" if path.read_bytes()[-1:] not in {b"", b"\n"} else ""
