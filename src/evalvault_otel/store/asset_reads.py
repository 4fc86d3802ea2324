"""What can be asked of a store about assets: the promises, and how SQL keeps them (`sql/assets.sql`)."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Protocol

import orjson

from ..model import AssetUse
from . import read_rows as rows
from .asset_records import FilledStages


class AssetQueries(Protocol):
    """The part of `Queries` about assets."""

    def uses_of_traces(self, trace_ids: Collection[str], run_id: str | None = None) -> list[AssetUse]:
        """Assets used in these traces, by trace and stage id, then in the order of use."""

    def filled_stages(self, run_id: str, stage_types: Collection[str]) -> list[FilledStages]:
        """How many stages of these types used assets of which kinds; derived and skipped stages do not count."""


class SqlAssetQueries(ABC):
    """`AssetQueries` over SQL."""

    @abstractmethod
    def _read(self, name: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named statement."""

    def uses_of_traces(self, trace_ids: Collection[str], run_id: str | None = None) -> list[AssetUse]:
        """See `AssetQueries.uses_of_traces`."""
        if not trace_ids:
            return []
        found = self._read("uses_of_traces", traces=_json(sorted(set(trace_ids))), run_id=run_id)
        return list(map(rows.asset_of, found))

    def filled_stages(self, run_id: str, stage_types: Collection[str]) -> list[FilledStages]:
        """See `AssetQueries.filled_stages`."""
        found = self._read("filled_stages", run_id=run_id, types=_json(sorted(set(stage_types))))
        return [FilledStages(row["stage_type"], _split(row["kinds"]), row["stages"]) for row in found]


def _json(value: Any) -> str:
    """A list as a parameter."""
    return orjson.dumps(value).decode()


def _split(kinds: str | None) -> tuple[str, ...]:
    return tuple(sorted(kinds.split(","))) if kinds else ()
