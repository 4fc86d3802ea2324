"""The ledger of assets: which there are, and of one its versions, what moved between them, and where it drifted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import InvalidInput, NotFound
from ..store.asset_reads import AssetQueries
from ..store.asset_records import AssetFilter, LedgerAsset, LedgerDigest, LedgerMetric, LedgerStages, LedgerVersion
from .asset_drift import AssetDrift, drift_of_asset
from .figures import iso, rounded, share
from .version_compare import VersionComparison, compared

MOST_MEASURED: Final = 2_000
"""Of how many of its latest uses the stages of a version are measured."""
_MOST_VERSIONS: Final = 200
_MOST_COMPARED: Final = 20
_MOST_DIGESTS: Final = 50
_RUNS_LOOKED_AT: Final = 100


@dataclass(frozen=True, slots=True)
class AssetEntry:
    """An asset in the list. `latest_version` is the one that was used last."""

    kind: str
    name: str
    versions: int
    latest_version: str | None
    uses: int
    fallbacks: int
    runs: int
    first_used: str | None
    last_used: str | None


@dataclass(frozen=True, slots=True)
class AssetPage:
    """Some assets, by kind and name."""

    assets: list[AssetEntry]
    returned: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class DigestEntry:
    """A digest of a version: more than one means an edit that nobody gave a version."""

    digest: str
    uses: int
    first_used: str | None
    last_used: str | None


@dataclass(frozen=True, slots=True)
class Loading:
    """How a version was loaded, over the `loads` uses that say so; `total_ms` is what they took in all.

    `hit_rate` is over the uses that say whether a cache had it. `would_save_ms` is what a cache would have saved: the
    time of all loads that were no hits, but for one of their average length.
    """

    loads: int
    total_ms: float
    p50_ms: float | None
    p95_ms: float | None
    hits: int
    misses: int
    hit_rate: float | None
    would_save_ms: float


@dataclass(frozen=True, slots=True)
class VersionStages:
    """Stages of a type that used a version: how many, how many failed, and how long they took."""

    stage_type: str
    stages: int
    errors: int
    error_rate: float
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class MeanMetric:
    """The mean of a metric over the stages that used a version."""

    metric_name: str
    count: int
    avg: float


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """A version of an asset; `number` says in which order the versions first appeared.

    Uses, runs, traces, times and loading are of all its uses. The figures of stages are of the `measured_stages` with
    its latest uses. Of the digests the latest 50 are shown.
    """

    number: int
    version: str | None
    digests: list[DigestEntry]
    uses: int
    fallbacks: int
    runs: int
    traces: int
    first_used: str | None
    last_used: str | None
    loading: Loading
    measured_stages: int
    errors: int
    error_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    stage_types: list[VersionStages]
    metrics: list[MeanMetric]


@dataclass(frozen=True, slots=True)
class AssetLedger:
    """An asset over all runs. `versions` are the latest 200 of `versions_total`, in the order of their numbers.

    Figures of stages are there for the latest 20. `comparison` is of the two versions that were asked for, else of the
    two that appeared last.
    """

    kind: str
    name: str
    versions_total: int
    versions: list[VersionEntry]
    comparison: VersionComparison | None
    drift: AssetDrift


def asset_page(store: AssetQueries, wanted: AssetFilter, limit: int, cursor: str | None = None) -> AssetPage:
    """A page of the assets that were used.

    Raises:
        InvalidInput: the cursor is not one of this list.
    """
    page = store.assets(wanted, limit, cursor)
    return AssetPage(list(map(_entry, page.items)), len(page.items), page.next_cursor)


def asset_ledger(
    store: AssetQueries, kind: str, name: str, before: str | None = None, after: str | None = None
) -> AssetLedger:
    """An asset with its versions. `before` and `after` are two versions to compare.

    Raises:
        NotFound: no stage ever used it.
        InvalidInput: it has no such version, or only one of the two is named.
    """
    versions = store.ledger_versions(kind, name)
    if not versions:
        raise NotFound(f"no asset {kind} {name!r}: `evalvault-otel assets list` shows what was used")
    names = _measured(versions, before, after)
    stages = store.ledger_stages(kind, name, names, MOST_MEASURED)
    metrics = store.ledger_metrics(kind, name, names, MOST_MEASURED)
    digests = store.ledger_digests(kind, name)
    shown = list(enumerate(versions, start=1))[-_MOST_VERSIONS:]
    pair = _pair(versions, before, after)
    return AssetLedger(
        kind=kind,
        name=name,
        versions_total=len(versions),
        versions=[_version(number, version, digests, stages, metrics) for number, version in shown],
        comparison=compared(*pair, stages, metrics) if pair else None,
        drift=drift_of_asset(store.asset_runs(kind, name, _RUNS_LOOKED_AT), digests),
    )


def _measured(versions: Sequence[LedgerVersion], before: str | None, after: str | None) -> set[str | None]:
    asked = {version for version in (before, after) if version is not None}
    return {version.version for version in versions[-_MOST_COMPARED:]} | asked


def _pair(
    versions: Sequence[LedgerVersion], before: str | None, after: str | None
) -> tuple[str | None, str | None] | None:
    if (before is None) != (after is None):
        raise InvalidInput("two versions are compared: name both `before` and `after`")
    for version in (before, after):
        if version is not None and all(version != known.version for known in versions):
            raise InvalidInput(f"the asset has no version {version!r}")
    if before is not None:
        return before, after
    return (versions[-2].version, versions[-1].version) if len(versions) > 1 else None


def _entry(asset: LedgerAsset) -> AssetEntry:
    return AssetEntry(
        kind=asset.kind,
        name=asset.name,
        versions=asset.versions,
        latest_version=asset.latest,
        uses=asset.uses,
        fallbacks=asset.fallbacks,
        runs=asset.runs,
        first_used=iso(asset.first_ns),
        last_used=iso(asset.last_ns),
    )


def _version(
    number: int,
    version: LedgerVersion,
    digests: Iterable[LedgerDigest],
    stages: Iterable[LedgerStages],
    metrics: Iterable[LedgerMetric],
) -> VersionEntry:
    own = [item for item in stages if item.version == version.version]
    whole = next((item for item in own if item.stage_type is None), None)
    return VersionEntry(
        number=number,
        version=version.version,
        digests=[_digest(item) for item in digests if item.version == version.version][-_MOST_DIGESTS:],
        uses=version.uses,
        fallbacks=version.fallbacks,
        runs=version.runs,
        traces=version.traces,
        first_used=iso(version.first_ns),
        last_used=iso(version.last_ns),
        loading=_loading(version),
        measured_stages=whole.stages if whole else 0,
        errors=whole.errors if whole else 0,
        error_rate=share(whole.errors, whole.stages) if whole else None,
        p50_ms=rounded(whole.p50_ms) if whole else None,
        p95_ms=rounded(whole.p95_ms) if whole else None,
        stage_types=[_stages(item.stage_type, item) for item in own if item.stage_type is not None],
        metrics=[
            MeanMetric(item.metric_name, item.count, rounded(item.avg))
            for item in metrics
            if item.version == version.version
        ],
    )


def _digest(item: LedgerDigest) -> DigestEntry:
    return DigestEntry(item.digest, item.uses, iso(item.first_ns), iso(item.last_ns))


def _stages(stage_type: str, item: LedgerStages) -> VersionStages:
    rate = share(item.errors, item.stages)
    return VersionStages(stage_type, item.stages, item.errors, rate, rounded(item.p50_ms), rounded(item.p95_ms))


def _loading(version: LedgerVersion) -> Loading:
    asked, missed = version.hits + version.misses, version.missed_loads
    return Loading(
        loads=version.loads,
        total_ms=rounded(version.load_ms),
        p50_ms=rounded(version.load_p50_ms),
        p95_ms=rounded(version.load_p95_ms),
        hits=version.hits,
        misses=version.misses,
        hit_rate=share(version.hits, asked) if asked else None,
        would_save_ms=rounded(version.missed_load_ms * (missed - 1) / missed) if missed else 0.0,
    )
