"""What can be asked of a store about assets: the promises, and how SQL keeps them (`sql/assets.sql`)."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any, Final, Protocol

import orjson

from ..model import AssetUse
from . import cursor as cursors
from . import read_rows as rows
from .asset_records import (
    AssetFilter,
    FilledStages,
    GraphFlow,
    GraphStage,
    GraphUse,
    LedgerAsset,
    LedgerDigest,
    LedgerMetric,
    LedgerStages,
    LedgerVersion,
    RunBefore,
    RunUse,
    RunVersion,
)
from .records import Page

# Bits of a number of 64.
_MOST_KINDS: Final = 60


class AssetQueries(Protocol):
    """The part of `Queries` about assets."""

    def uses_of_traces(self, trace_ids: Collection[str], run_id: str | None = None) -> list[AssetUse]:
        """Assets used in these traces, by trace and stage id, then in the order of use."""

    def filled_stages(self, run_id: str, stage_types: Collection[str], kinds: Collection[str]) -> list[FilledStages]:
        """How many stages of these types used assets of which of these kinds (at most 60), or of others.

        Derived and skipped stages do not count.
        """

    def assets(self, wanted: AssetFilter, limit: int, cursor: str | None = None) -> Page[LedgerAsset]:
        """Assets that were used, by kind and name, with exact counts of their uses in the time that is asked for.

        The page's total is not counted.

        Raises:
            InvalidInput: the cursor is not one of this list.
        """

    def ledger_versions(self, kind: str, name: str) -> list[LedgerVersion]:
        """The versions of an asset over all uses, the first one to appear first; none of an unknown asset."""

    def ledger_digests(self, kind: str, name: str) -> list[LedgerDigest]:
        """The digests of an asset by version, the first one to appear first."""

    def ledger_stages(self, kind: str, name: str, versions: Collection[str | None], most: int) -> list[LedgerStages]:
        """Figures of the stages with the latest `most` uses of each of these versions: of all, then by stage type."""

    def ledger_metrics(self, kind: str, name: str, versions: Collection[str | None], most: int) -> list[LedgerMetric]:
        """Metrics of the same stages, by version and metric name; durations are `latency_ms`."""

    def asset_runs(self, kind: str, name: str, limit: int) -> list[RunUse]:
        """What the runs that used the asset last used of it, by the start of the run, then by first use."""

    def run_versions(self, run_id: str) -> list[RunVersion]:
        """The assets that a run used, each with its version and digest once, by these."""

    def run_before(self, run_id: str) -> RunBefore | None:
        """The run of the same service and kind that ended last before this one began, if any."""

    def graph_stages(self, run_id: str, traces: int, limit: int) -> list[GraphStage]:
        """Stages of the latest `traces` traces of a run by type and name, the most frequent first."""

    def graph_uses(self, run_id: str, traces: int, limit: int) -> list[GraphUse]:
        """Asset uses of the same traces by stage type and name, the most frequent first."""

    def graph_flows(self, run_id: str, traces: int, limit: int) -> list[GraphFlow]:
        """Which stages of the same traces were below and after which, the most frequent first."""


class SqlAssetQueries(ABC):
    """`AssetQueries` over SQL."""

    @abstractmethod
    def _read(self, name: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named statement."""

    @abstractmethod
    def _read_of_run(self, name: str, run_id: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named statement that adds up a run."""

    def uses_of_traces(self, trace_ids: Collection[str], run_id: str | None = None) -> list[AssetUse]:
        """See `AssetQueries.uses_of_traces`."""
        if not trace_ids:
            return []
        found = self._read("uses_of_traces", traces=_json(sorted(set(trace_ids))), run_id=run_id)
        return list(map(rows.asset_of, found))

    def filled_stages(self, run_id: str, stage_types: Collection[str], kinds: Collection[str]) -> list[FilledStages]:
        """See `AssetQueries.filled_stages`."""
        # The lowest bit stands for all kinds that are not asked for.
        bits = {kind: 2 << place for place, kind in enumerate(sorted(set(kinds))[:_MOST_KINDS])}
        types = _json(sorted(set(stage_types)))
        found = self._read_of_run("filled_stages", run_id, types=types, bits=_json(bits))
        return [
            FilledStages(
                row["stage_type"],
                tuple(kind for kind, bit in bits.items() if row["mask"] & bit),
                row["mask"] > 0,
                row["stages"],
            )
            for row in found
        ]

    def assets(self, wanted: AssetFilter, limit: int, cursor: str | None = None) -> Page[LedgerAsset]:
        """See `AssetQueries.assets`."""
        kind, name = cursors.decode(cursor, str, str) if cursor else (None, None)
        chosen = {**asdict(wanted), "q": like(wanted.q)}
        found = self._read("asset_list", **chosen, after_kind=kind, after_name=name, limit=limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        following = cursors.encode(last["kind"], last["name"]) if last else None
        return Page(tuple(LedgerAsset(**{**row, "latest": row["latest"] or None}) for row in found[:limit]), following)

    def ledger_versions(self, kind: str, name: str) -> list[LedgerVersion]:
        """See `AssetQueries.ledger_versions`."""
        found = map(_version_of, self._read("ledger_versions", kind=kind, asset_name=name))
        return sorted(found, key=lambda version: (version.first_ns or 0, version.version or ""))

    def ledger_digests(self, kind: str, name: str) -> list[LedgerDigest]:
        """See `AssetQueries.ledger_digests`."""
        return [LedgerDigest(**_versioned(row)) for row in self._read("ledger_digests", kind=kind, asset_name=name)]

    def ledger_stages(self, kind: str, name: str, versions: Collection[str | None], most: int) -> list[LedgerStages]:
        """See `AssetQueries.ledger_stages`."""
        found = [_stages_of(row) for row in self._sampled("ledger_stages", kind, name, versions, most)]
        return sorted(found, key=lambda item: (item.version or "", item.stage_type or ""))

    def ledger_metrics(self, kind: str, name: str, versions: Collection[str | None], most: int) -> list[LedgerMetric]:
        """See `AssetQueries.ledger_metrics`."""
        return [_metric_of(row) for row in self._sampled("ledger_metrics", kind, name, versions, most)]

    def _sampled(
        self, statement: str, kind: str, name: str, versions: Collection[str | None], most: int
    ) -> list[dict[str, Any]]:
        listed = _json(sorted({version or "" for version in versions}))
        return self._read(statement, kind=kind, asset_name=name, versions=listed, most=most)

    def asset_runs(self, kind: str, name: str, limit: int) -> list[RunUse]:
        """See `AssetQueries.asset_runs`."""
        found = self._read("asset_runs", kind=kind, asset_name=name, limit=limit)
        return [RunUse(**{**_versioned(row), "digest": row["digest"] or None}) for row in found]

    def run_versions(self, run_id: str) -> list[RunVersion]:
        """See `AssetQueries.run_versions`."""
        found = [RunVersion(**row) for row in self._read_of_run("run_versions", run_id)]
        return sorted(found, key=lambda use: (use.kind, use.name, use.version or "", use.digest or ""))

    def run_before(self, run_id: str) -> RunBefore | None:
        """See `AssetQueries.run_before`."""
        found = self._read("run_before", run_id=run_id)
        return RunBefore(**found[0]) if found else None

    def graph_stages(self, run_id: str, traces: int, limit: int) -> list[GraphStage]:
        """See `AssetQueries.graph_stages`."""
        return [GraphStage(**row) for row in self._read_of_run("graph_stages", run_id, traces=traces, limit=limit)]

    def graph_uses(self, run_id: str, traces: int, limit: int) -> list[GraphUse]:
        """See `AssetQueries.graph_uses`."""
        return [GraphUse(**row) for row in self._read_of_run("graph_uses", run_id, traces=traces, limit=limit)]

    def graph_flows(self, run_id: str, traces: int, limit: int) -> list[GraphFlow]:
        """See `AssetQueries.graph_flows`."""
        return [GraphFlow(**row) for row in self._read_of_run("graph_flows", run_id, traces=traces, limit=limit)]


def like(part: str | None) -> str | None:
    """A pattern that finds text holding `part`, in small letters."""
    if not part:
        return None
    plain = part.lower().replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{plain}%"


def _json(value: Any) -> str:
    """A list as a parameter."""
    return orjson.dumps(value).decode()


def _versioned(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose version is empty where there is none: databases differ in where they put NULL."""
    return {**row, "version": row["version"] or None}


def _version_of(row: Mapping[str, Any]) -> LedgerVersion:
    said = _versioned(row)
    p50, p95, *_ = rows.document(said.pop("percentiles")) or (None, None)
    return LedgerVersion(**said, load_p50_ms=p50, load_p95_ms=p95)


def _stages_of(row: Mapping[str, Any]) -> LedgerStages:
    said = _versioned(row)
    p50, p95, *_ = rows.document(said.pop("percentiles")) or (None, None)
    return LedgerStages(**said, p50_ms=p50, p95_ms=p95)


def _metric_of(row: Mapping[str, Any]) -> LedgerMetric:
    """A metric of a version; rounding may not leave a negative variance."""
    said = _versioned(row)
    variance = max(said.pop("avg_square") - said["avg"] ** 2, 0.0)
    return LedgerMetric(**said, variance=variance)
