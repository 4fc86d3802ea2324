"""`track_assets`: a loader that records each asset it loads, so that no place of use has to remember it."""

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, TypeVar, cast, overload

from . import guard
from .asset import AssetFields, asset

F = TypeVar("F", bound=Callable[..., Any])
Names = str | Callable[[Any], str | None] | None
Versions = str | int | Callable[[Any], object] | None

# What registries call these, in a mapping or as attributes of an object; the first that is there counts.
_NAMES: Final = ("name", "key", "screen_id", "tool_name")
_VERSIONS: Final = ("version", "version_number")
_IDS: Final = ("asset_id", "id")
_DIGESTS: Final = ("digest",)
_MAX_DIGESTED: Final = 1 << 20


@overload
def track_assets(
    loader: F, *, kind: str, name: Names = None, version: Versions = None, origin: str | None = None
) -> F: ...
@overload
def track_assets(
    loader: None = None, *, kind: str, name: Names = None, version: Versions = None, origin: str | None = None
) -> Callable[[F], F]: ...
def track_assets(
    loader: Any = None, *, kind: str, name: Names = None, version: Versions = None, origin: str | None = None
) -> Any:
    """`loader`, a function or coroutine function, that records what it returns as used by the current stage.

    `name` and `version` are given, or made from the result by a function, or what the result itself calls so (a mapping
    or an object); without a name the first argument that is a text, else the loader's own name. Recorded besides:
    `asset_id` or `id`, the `digest` that it says or that of a text, how long the call took, and, where the loader is a
    `functools.lru_cache`, whether it came from there. Nothing is recorded when the loader raises or returns None.

    Also a decorator: `@ev.track_assets(kind="prompt")`.
    """
    if loader is None:
        return functools.partial(track_assets, kind=kind, name=name, version=version, origin=origin)
    about = _Loader(loader, kind, name, version, origin)
    if inspect.iscoroutinefunction(loader):

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            started = about.start()
            loaded = await loader(*args, **kwargs)
            about.record(loaded, args, kwargs, started)
            return loaded

        return functools.wraps(loader)(call_async)

    def call(*args: Any, **kwargs: Any) -> Any:
        started = about.start()
        loaded = loader(*args, **kwargs)
        about.record(loaded, args, kwargs, started)
        return loaded

    return functools.wraps(loader)(call)


_Started = tuple[int, Any]


class _Loader:
    """What is known of a loader before it is called."""

    def __init__(
        self, loader: Callable[..., Any], kind: str, name: Names, version: Versions, origin: str | None
    ) -> None:
        self._own_name = getattr(loader, "__name__", type(loader).__name__)
        self._kind, self._name, self._version, self._origin = kind, name, version, origin
        self._cache_info: Callable[[], Any] | None = getattr(loader, "cache_info", None)

    def start(self) -> _Started:
        return time.perf_counter_ns(), self._cache_info() if self._cache_info else None

    @guard.guarded
    def record(self, loaded: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], started: _Started) -> None:
        took = (time.perf_counter_ns() - started[0]) / 1e9
        if loaded is None:
            return
        first = next((said for said in (*args, *kwargs.values()) if isinstance(said, str)), None)
        fields = {
            "version": _said(self._version, loaded, _VERSIONS),
            "id": _first_of(loaded, _IDS),
            "origin": self._origin,
            "digest": _text(_first_of(loaded, _DIGESTS)) or _digest(loaded),
            "cache_hit": self._hit(started[1]),
            "load_duration": took,
        }
        asset(
            self._kind,
            _text(_said(self._name, loaded, _NAMES)) or first or self._own_name,
            **cast("AssetFields", fields),
        )

    def _hit(self, before: Any) -> bool | None:
        """Whether the cache answered; None when other calls went on at the same time, or there is no cache."""
        if before is None or self._cache_info is None:
            return None
        now = self._cache_info()
        return {(1, 0): True, (0, 1): False}.get((now.hits - before.hits, now.misses - before.misses))


def _said(given: Any, loaded: Any, keys: tuple[str, ...]) -> Any:
    if given is None:
        return _first_of(loaded, keys)
    return given(loaded) if callable(given) else given


def _first_of(loaded: Any, keys: tuple[str, ...]) -> Any:
    """What a mapping or object says under the first of these names that it has a plain value for."""
    read = loaded.get if isinstance(loaded, Mapping) else functools.partial(_attribute, loaded)
    return next((said for key in keys if isinstance(said := read(key), str | int) and said != ""), None)


def _attribute(loaded: Any, key: str) -> Any:
    return None if isinstance(loaded, str | bytes | int | float | list | tuple) else getattr(loaded, key, None)


def _digest(loaded: Any) -> str | None:
    """Of the content itself: shows an edit without a new version."""
    content = loaded.encode(errors="replace") if isinstance(loaded, str) else loaded
    if not isinstance(content, bytes) or len(content) > _MAX_DIGESTED:
        return None
    return f"sha256:{sha256(content).hexdigest()}"


def _text(said: Any) -> str | None:
    return None if said is None else str(said)
