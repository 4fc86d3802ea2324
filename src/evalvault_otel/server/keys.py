"""Who may do what: an API key in, a name out, or the error that says what to send.

Keys come from the environment and from a file that is read again when it changes. Rules and reasons: ADR 0011. No key
is ever logged, raised or kept: what is compared are SHA-256 digests.
"""

import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import Forbidden, SettingsError, Unauthenticated, Unavailable
from ..settings import Settings
from .key_file import FILE_VARIABLE, KeyEntry, Scope, digest_of, entries_of_setting, read_key_file, stamp_of

__all__ = ["ANYONE", "Identity", "Keys", "Scope", "presented_key"]

_LOG = logging.getLogger(__name__)
_LOOK_S: Final = 1.0
_HINT: Final = "send it in the header `Authorization: Bearer <key>` or `x-api-key: <key>`"
# A proxy may put its own bearer token into Authorization; nobody else sets the other two.
_OWN_HEADERS: Final = ("x-api-key", "api-key")
_AUTHORIZATION: Final = "authorization"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends: the name of a key."""

    name: str


ANYONE: Final = Identity("anyone")


def presented_key(headers: Iterable[tuple[object, object]]) -> str | None:
    """The key among HTTP headers or gRPC metadata: `x-api-key`, `api-key`, or `Authorization: Bearer`, in this order.

    Names and values may be text or bytes, in any case; of a repeated header the first counts.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(_text(name).lower(), _text(value).strip())
    own = next((found[name] for name in _OWN_HEADERS if found.get(name)), None)
    if own is not None:
        return own
    scheme, _, key = found.get(_AUTHORIZATION, "").partition(" ")
    return (key.strip() or None) if scheme.lower() == "bearer" else None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return value if isinstance(value, str) else ""


class Keys:
    """The keys that are known. Without any, nobody is asked for one. Safe for many threads."""

    def __init__(
        self, fixed: Iterable[KeyEntry] = (), path: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fixed = tuple(fixed)
        self._file = _WatchedFile(path, clock) if path else None
        self.required = bool(self._fixed or self._file)

    @classmethod
    def of(cls, settings: Settings) -> "Keys":
        """The keys that the settings name.

        Raises:
            SettingsError: an entry or a line is wrong, or a source that is set holds no key: it must not open the door.
        """
        path = Path(settings.api_keys_file) if settings.api_keys_file else None
        return cls(entries_of_setting(settings.api_keys), path)

    def check(self, presented: str | None, scope: Scope) -> Identity:
        """Whose key it is. Every known key is looked at, each in constant time.

        Raises:
            Unauthenticated: there is no key, or nobody knows it.
            Forbidden: it may not do this.
            Unavailable: nobody knows it, but the file of keys cannot be read at the moment. Clients drop their data
                when they are told that a key is wrong, so they are not told before it is certain.
        """
        if not self.required:
            return ANYONE
        if not presented:
            raise Unauthenticated(f"this server asks for an API key: {_HINT}")
        digest = digest_of(presented)
        matching, complete = self._matching(digest)
        if not matching:
            matching, complete = self._matching(digest, at_once=True)
        allowed = next((entry for entry in matching if not entry.scopes.isdisjoint({scope, Scope.ADMIN})), None)
        if allowed:
            return Identity(allowed.name)
        if matching:
            raise Forbidden(f"this API key needs the scope `{scope}`")
        if not complete:
            raise Unavailable("the API keys cannot be read at the moment")
        raise Unauthenticated(f"this API key is not known: {_HINT}")

    def _matching(self, digest: bytes, *, at_once: bool = False) -> tuple[list[KeyEntry], bool]:
        """What is known of a key, and whether that is all there is to know."""
        from_file, complete = self._file.look(at_once=at_once) if self._file else ((), True)
        entries = (*self._fixed, *from_file)
        return [entry for entry in entries if hmac.compare_digest(entry.digest, digest)], complete


class _WatchedFile:
    """A key file, looked at once a second and for every unknown key, and read again when it changed."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._file = read_key_file(path)
        if not self._file.entries:
            raise SettingsError(f"API keys: {path} ({FILE_VARIABLE}) holds no key: use `evalvault-otel keys create`")
        self._complete = True
        self._trouble = ""
        self._next_look = clock() + _LOOK_S
        self._looking = threading.Lock()

    def look(self, *, at_once: bool) -> tuple[tuple[KeyEntry, ...], bool]:
        """The last keys that could be read, and whether they are all there are."""
        if at_once or self._clock() >= self._next_look:
            with self._looking:
                self._next_look = self._clock() + _LOOK_S
                self._read_if_changed()
        return self._file.entries, self._complete

    def _read_if_changed(self) -> None:
        """A file that cannot be read or has a wrong line changes nothing; one without any key revokes all of its keys.

        The latter is also what a file looks like that is just being written, so unknown keys are told to come back.
        """
        try:
            if stamp_of(self._path) != self._file.stamp:
                self._file = read_key_file(self._path)
                _LOG.warning("API keys: read %s again, %d keys", self._path, len(self._file.entries))
        except SettingsError as exc:
            self._say(f"{exc}; the keys that were read before hold on")
            self._complete = False
            return
        self._complete = bool(self._file.entries)
        self._say("" if self._complete else f"API keys: {self._path} holds no key any more")

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _LOG.error("%s", trouble)
        self._trouble = trouble
