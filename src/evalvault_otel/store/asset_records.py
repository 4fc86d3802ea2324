"""What reads about assets return, as plain frozen records. Times in nanoseconds since 1970, durations in ms."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FilledStages:
    """Stages of one type in a run that used assets of just these kinds, of those asked for.

    `filled` says that they used any asset at all.
    """

    stage_type: str
    kinds: tuple[str, ...]
    filled: bool
    stages: int


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """Which assets: of a kind, with `q` in the name, used from `since_ns` on and before `until_ns`."""

    kind: str | None = None
    q: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class LedgerAsset:
    """An asset in the list: `latest` is the version that was used last (None: without a version)."""

    kind: str
    name: str
    versions: int
    latest: str | None
    uses: int
    fallbacks: int
    runs: int
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True, slots=True)
class LedgerVersion:
    """One version of an asset over all its uses. `load_*` are over the uses that say what loading took.

    `hits` and `misses` count the uses that say whether a cache had it.
    """

    version: str | None
    uses: int
    fallbacks: int
    runs: int
    traces: int
    first_ns: int | None
    last_ns: int | None
    loads: int
    load_ms: float
    load_p50_ms: float | None
    load_p95_ms: float | None
    missed_load_ms: float
    missed_loads: int
    hits: int
    misses: int


@dataclass(frozen=True, slots=True)
class LedgerDigest:
    """Uses of one digest under a version of an asset."""

    version: str | None
    digest: str
    uses: int
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True, slots=True)
class LedgerStages:
    """Stages of a type (None: of all types) that used a version lately. `timed` of them have a duration."""

    version: str | None
    stage_type: str | None
    stages: int
    errors: int
    timed: int
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class LedgerMetric:
    """Scores of one metric of the stages that used a version lately."""

    version: str | None
    metric_name: str
    count: int
    avg: float
    variance: float


@dataclass(frozen=True, slots=True)
class RunUse:
    """A run used an asset in a version with a digest. `began_ns` is when the run began."""

    run_id: str
    service: str
    run_kind: str | None
    began_ns: int
    version: str | None
    digest: str | None
    uses: int
    first_ns: int | None
    last_ns: int | None


@dataclass(frozen=True, slots=True)
class RunBefore:
    """The run before another one: of the same service and kind, and ended before that began."""

    run_id: str
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class GraphStage:
    """Stages of one type and name in the traces that a graph shows."""

    stage_type: str
    stage_name: str | None
    stages: int
    errors: int
    avg_ms: float | None


@dataclass(frozen=True, slots=True)
class GraphUse:
    """How often stages of one type and name used an asset in a version."""

    stage_type: str | None
    stage_name: str | None
    kind: str
    name: str
    version: str | None
    uses: int
    fallbacks: int


@dataclass(frozen=True, slots=True)
class GraphFlow:
    """How often a stage had another one below it (`child`), or after it under the same parent (`next`)."""

    relation: str
    from_type: str
    from_name: str | None
    to_type: str
    to_name: str | None
    times: int


@dataclass(frozen=True, slots=True)
class RunVersion:
    """An asset in a version, with a digest, that a run used."""

    kind: str
    name: str
    version: str | None
    digest: str | None
