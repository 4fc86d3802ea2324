"""The asset functions that apps of the OPS orchestrator call, on top of `asset`: for those that port over.

A collection between `begin` and `end` belongs to the stage that it was begun in, so that a stage inside another, one
that raised, or a thread takes nothing away from it. What is returned are copies.
"""

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, cast

from . import compat, guard
from .asset import AssetFields, asset
from .stage import Stage, current_stage

Info = Mapping[str, Any]

_LISTED: Final = {"query": "queries", "screen": "screens", "tool": "tools"}
# What the orchestrator's registry and loaders call where an asset came from.
_ORIGINS: Final = {
    **dict.fromkeys(("asset_registry", "registry"), "registry"),
    **dict.fromkeys(("file_fallback", "seed_file", "legacy_file", "fallback"), "fallback"),
    "inline": "inline",
}
_SUBTYPES: Final = ("policy_type", "mapping_type")
_UNKNOWN: Final = "unknown"


class _Collection:
    """What was used since `begin`, in order; for all threads and tasks that were started inside."""

    def __init__(self, stage: Stage | None, outer: "_Collection | None") -> None:
        self.stage = stage
        self.outer = outer
        self._uses: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()

    def add(self, kind: str, info: dict[str, Any]) -> None:
        with self._lock:
            self._uses.append((kind, info))

    def copy(self) -> dict[str, Any]:
        """Kind -> what was used; a list for the listed kinds, and for others that were used more than once."""
        with self._lock:
            uses = [(kind, dict(info)) for kind, info in self._uses]
        found: dict[str, Any] = {}
        for kind, info in uses:
            if kind in _LISTED:
                found.setdefault(_LISTED[kind], []).append(info)
            elif kind not in found:
                found[kind] = info
            else:
                found[kind] = [*(found[kind] if isinstance(found[kind], list) else [found[kind]]), info]
        return found


_collection: Final[ContextVar[_Collection | None]] = ContextVar("evalvault_stage_assets", default=None)


def _current() -> _Collection | None:
    """The innermost collection, without those whose stage ended before they were."""
    found = _collection.get()
    while found is not None and found.stage is not None and compat.has_ended(found.stage.span):
        found = found.outer
    return found


@guard.guarded
def begin_stage_asset_tracking() -> None:
    """Begin to collect what is tracked from here on; one inside another is collected apart."""
    _collection.set(_Collection(current_stage(), _current()))


def end_stage_asset_tracking() -> dict[str, Any]:
    """What was tracked since `begin`, as `get_stage_assets`, and the end of it; nothing without a `begin`."""
    found = _current()
    _collection.set(found.outer if found else None)
    return found.copy() if found else {}


def get_stage_assets() -> dict[str, Any]:
    """What was tracked since `begin`: `{"prompt": {…}, "queries": [{…}], …}`; a kind used twice has a list."""
    found = _current()
    return found.copy() if found else {}


def _tracker(kind: str) -> Callable[[Info], None]:
    @guard.guarded
    def track(info: Info) -> None:
        said = dict(info)
        found = _current()
        if found is not None:
            found.add(kind, said)
        asset(kind, _name(said), **_fields(said))

    track.__name__ = track.__qualname__ = f"track_{kind}_asset_to_stage"
    track.__doc__ = f"The current stage uses this {kind}: name, version, asset_id, source … as the registry says them."
    return track


def _name(info: Info) -> str:
    return str(info.get("screen_id") or info.get("name") or info.get("tool_name") or info.get("asset_id") or _UNKNOWN)


def _fields(info: Info) -> AssetFields:
    source = info.get("source")
    origin = None if source is None else _ORIGINS.get(str(source), str(source))
    said = {
        "version": info.get("version"),
        "id": info.get("asset_id"),
        "origin": origin,
        "fallback": True if origin == "fallback" else None,
        "scope": info.get("scope"),
        "engine": info.get("engine"),
        "subtype": next((info[key] for key in _SUBTYPES if info.get(key)), None),
        "digest": info.get("digest"),
    }
    return cast("AssetFields", said)


track_prompt_asset_to_stage: Final = _tracker("prompt")
track_policy_asset_to_stage: Final = _tracker("policy")
track_mapping_asset_to_stage: Final = _tracker("mapping")
track_source_asset_to_stage: Final = _tracker("source")
track_schema_asset_to_stage: Final = _tracker("schema")
track_catalog_asset_to_stage: Final = _tracker("catalog")
track_resolver_asset_to_stage: Final = _tracker("resolver")
track_query_asset_to_stage: Final = _tracker("query")
track_screen_asset_to_stage: Final = _tracker("screen")
track_tool_asset_to_stage: Final = _tracker("tool")
