"""What can be asked of a store. The docstrings are promises; one suite checks them on every database.

Every method answers from committed rows, changes nothing, and raises `Unavailable` when the database cannot be reached.
Unless said otherwise an unknown run gives an empty answer. All counting is done by the database.
"""

from collections.abc import Sequence
from typing import Protocol

from ..model import AssetUse, Finding, StageEvent, StageLink
from .asset_reads import AssetQueries
from .changes import Following
from .comparing import Comparing
from .diagnosis import Diagnosis
from .records import (
    AssetVersion,
    ChangedAsset,
    ErrorGroup,
    FindingCode,
    Limit,
    MetricFilter,
    MetricStats,
    MissingType,
    Outliers,
    Page,
    RejectFilter,
    RejectRow,
    RetrievalHealth,
    Run,
    RunFilter,
    Score,
    SlowTrace,
    StageFilter,
    StageTypeStats,
    Trace,
    TraceEvaluation,
    VersionMetric,
    VersionUse,
    WorstScore,
)
from .symptoms import SymptomQueries


class Queries(Diagnosis, Comparing, AssetQueries, SymptomQueries, Following, Protocol):
    """The reading half of a store."""

    def runs(self, wanted: RunFilter, limit: int, cursor: str | None = None) -> Page[Run]:
        """Runs that hold at least one trace, the latest first, with exact counts.

        Raises:
            InvalidInput: the cursor is not one of this list.
        """

    def run(self, run_id: str) -> Run:
        """One run.

        Raises:
            NotFound: no trace belongs to it.
        """

    def trace(self, trace_id: str) -> Trace:
        """What is known of a trace, assembled or not.

        Raises:
            NotFound: nothing of it was ever stored.
        """

    def trace_stages(self, trace_id: str, run_id: str | None = None) -> list[StageEvent]:
        """Stages of a trace by start, then id; those without a start last. With `run_id` only those of that run."""

    def asset_uses(self, trace_id: str, run_id: str | None = None) -> list[AssetUse]:
        """Assets used in a trace, by stage id and then in the order of use."""

    def links(self, trace_id: str) -> list[StageLink]:
        """What the stages of a trace are linked to, by stage id, then in the order of the links."""

    def evaluations(self, trace_id: str, response_ids: Sequence[str], limit: int) -> list[TraceEvaluation]:
        """Stages of other traces that are linked to this one by `evaluates`, or by one of its responses' ids.

        By their start, at most `limit`; also when nothing of this trace was stored yet.
        """

    def findings(self, trace_id: str) -> list[Finding]:
        """Findings of a trace, in their order."""

    def stages(self, run_id: str, wanted: StageFilter, limit: int, cursor: str | None = None) -> Page[StageEvent]:
        """Stages of a run by start, then stage id and trace id; those without a start last.

        Raises:
            InvalidInput: the cursor is not one of this list.
        """

    def stage_types(self, run_id: str) -> list[StageTypeStats]:
        """Counts and times of a run per stage type, in the order of the types' names.

        Percentiles are interpolated between ranks (`percentile_cont`). Derived stages have no time.
        """

    def missing_types(self, run_id: str, required: Sequence[str]) -> list[MissingType]:
        """For each required type how many traces of the run lack it (also when none does), by name."""

    def scores(
        self, run_id: str, wanted: MetricFilter, limits: Sequence[Limit], limit: int, cursor: str | None = None
    ) -> Page[Score]:
        """Metrics of the stages of a run, latency included, in the order of the stages and then by metric name.

        The page's total is not counted.

        Raises:
            InvalidInput: the cursor is not one of this list.
        """

    def metric_stats(self, run_id: str, limits: Sequence[Limit]) -> list[MetricStats]:
        """Every metric of a run with its distribution and how many scores are within its limit, by name."""

    def worst_scores(self, run_id: str, limits: Sequence[Limit], examples: int) -> list[WorstScore]:
        """For each limit the scores farthest beyond it, by metric name, the worst first."""

    def error_groups(self, run_id: str, limit: int, examples: int) -> list[ErrorGroup]:
        """Failed stages (status error or timeout) by stage type and fingerprint.

        Groups with most failures of their own come first; those only passed on from a stage below count less.
        Examples are the earliest, those with a failure of their own first.
        """

    def outliers(self, run_id: str, typical_ms: Sequence[tuple[str, float, float]], examples: int) -> list[Outliers]:
        """For each (stage type, typical, bound): stages that themselves took longer than the bound, and did not fail.

        `excess_ms` sums what they took above the typical time. Types without any are left out.
        """

    def slowest_traces(self, run_id: str, limit: int) -> list[SlowTrace]:
        """The traces of a run that took longest, the slowest first."""

    def retrieval_health(self, run_id: str, examples: int) -> RetrievalHealth:
        """How many retrievals returned nothing, something twice, or scores out of order; failed ones do not count.

        And how many outputs cite documents that were never retrieved. Examples come by problem; a retrieval that has
        several is shown for the gravest.
        """

    def asset_versions(self, run_id: str) -> list[AssetVersion]:
        """What was used in a run, by kind, name, version, digest, origin and the type of the using stage."""

    def version_uses(self, run_id: str, changed: Sequence[ChangedAsset]) -> list[VersionUse]:
        """For each version of these assets its traces, times and first use; by asset, the earliest version first."""

    def version_metrics(self, run_id: str, changed: Sequence[ChangedAsset]) -> list[VersionMetric]:
        """Metrics by version of these assets, over the traces that used one version only.

        Of these traces the stages of the asset's `stage_types` and the output are measured, and `trace.error_rate`.
        """

    def finding_codes(self, run_id: str, examples: int) -> list[FindingCode]:
        """Findings of a run by code and severity, the most frequent first."""

    def rejects(self, wanted: RejectFilter, limit: int, cursor: str | None = None) -> Page[RejectRow]:
        """Rejects, the latest first, each with the first bytes of its payload. The page's total is not counted.

        Raises:
            InvalidInput: the cursor is not one of this list.
        """

    def reject(self, reject_id: int) -> RejectRow:
        """One reject with all that is kept of its payload.

        Raises:
            NotFound: there is none, or it had to make room for later ones.
        """
