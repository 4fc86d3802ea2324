"""The reads of a store, over SQL: the statements are in `sql/`, the conversion of rows in `read_rows`."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import orjson

from ..errors import NotFound
from ..model import AssetUse, Finding, StageEvent, StageLink
from . import cursor as cursors
from . import read_rows as rows
from .asset_reads import SqlAssetQueries, like
from .changes import SqlFollowing
from .comparing import SqlComparing
from .diagnosis import SqlDiagnosis
from .kept import KeptAnswers
from .named_sql import statement
from .reads import Queries
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
from .symptoms import SqlSymptomQueries

__all__ = ["Queries", "SqlQueries"]

# Sorts a stage without a start after all others.
_NEVER_NS: Final = 2**63 - 1
# The largest number that a database has for an id.
_MAX_ID: Final = 2**63 - 1
# Bytes of a payload that a list shows of.
_REJECT_HEAD: Final = 512
# How many times more stages are read for a page of scores when those before did not hold enough.
_WIDER: Final = 8
_CHANGE: Final = "SELECT change FROM run WHERE run_id = :run_id"


class SqlQueries(SqlDiagnosis, SqlComparing, SqlAssetQueries, SqlSymptomQueries, SqlFollowing):
    """`Queries` for a database that gives `dialect` and `_fetch`. See `Queries` for what each method promises."""

    dialect: str

    def __init__(self) -> None:
        self._kept = KeptAnswers()

    @abstractmethod
    def _fetch(self, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows of a query with `:name` parameters, as dicts by column name; `params` may hold more than it names.

        Raises:
            Unavailable: the database cannot be reached.
        """

    def _read(self, name: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named statement; a parameter that is None counts as not given."""
        given = {key: value for key, value in params.items() if value is not None}
        return self._fetch(statement(self.dialect, name, frozenset(given)), given)

    def _read_of_run(self, name: str, run_id: str, **params: Any) -> list[dict[str, Any]]:
        """`_read` of a statement that adds up a run, or what it gave while the run was the same (`kept`)."""
        found = self._fetch(_CHANGE, {"run_id": run_id})
        read = partial(self._read, name, run_id=run_id, **params)
        if not found:
            return read()
        question = (name, run_id, *sorted((key, value) for key, value in params.items() if value is not None))
        return self._kept.rows(question, found[0]["change"], read)

    def runs(self, wanted: RunFilter, limit: int, cursor: str | None = None) -> Page[Run]:
        """See `Queries.runs`."""
        after_ns, after_id = cursors.decode(cursor, int, str) if cursor else (None, None)
        chosen = {**asdict(wanted), "q": like(wanted.q)}
        (total,) = self._read("runs_total", **chosen)
        found = self._read("runs", **chosen, after_ns=after_ns, after_id=after_id, limit=limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        following = cursors.encode(last["seen_ns"], last["run_id"]) if last else None
        return Page(tuple(map(rows.run_of, found[:limit])), following, total["n"])

    def run(self, run_id: str) -> Run:
        """See `Queries.run`."""
        found = self._read("runs", run_id=run_id, limit=1)
        if not found:
            raise NotFound(f"no run {run_id!r}")
        return rows.run_of(found[0])

    def trace(self, trace_id: str) -> Trace:
        """See `Queries.trace`."""
        found = self._read("trace", trace_id=trace_id)
        if not found:
            raise NotFound(f"no trace {trace_id!r}")
        return rows.trace_of(found[0], self._read("trace_parts", trace_id=trace_id))

    def trace_stages(self, trace_id: str, run_id: str | None = None) -> list[StageEvent]:
        """See `Queries.trace_stages`."""
        return list(map(rows.stage_of, self._read("trace_stages", trace_id=trace_id, run_id=run_id)))

    def asset_uses(self, trace_id: str, run_id: str | None = None) -> list[AssetUse]:
        """See `Queries.asset_uses`."""
        return list(map(rows.asset_of, self._read("trace_assets", trace_id=trace_id, run_id=run_id)))

    def links(self, trace_id: str) -> list[StageLink]:
        """See `Queries.links`."""
        return list(map(rows.link_of, self._read("trace_links", trace_id=trace_id)))

    def evaluations(self, trace_id: str, response_ids: Sequence[str], limit: int) -> list[TraceEvaluation]:
        """See `Queries.evaluations`."""
        responses = _json(sorted(set(response_ids))) if response_ids else None
        found = self._read("trace_evaluations", trace_id=trace_id, responses=responses, limit=limit)
        return list(map(rows.evaluation_of, found))

    def findings(self, trace_id: str) -> list[Finding]:
        """See `Queries.findings`."""
        return list(map(rows.finding_of, self._read("trace_findings", trace_id=trace_id)))

    def stages(self, run_id: str, wanted: StageFilter, limit: int, cursor: str | None = None) -> Page[StageEvent]:
        """See `Queries.stages`."""
        chosen = {"run_id": run_id, **asdict(wanted)}
        (total,) = self._read_of_run("stages_total", **chosen)
        found = self._stages_after(chosen, limit + 1, cursor)
        last = found[limit - 1] if len(found) > limit else None
        following = cursors.encode(last["started_ns"], last["stage_id"], last["trace_id"]) if last else None
        return Page(tuple(map(rows.stage_of, found[:limit])), following, total["n"])

    def _stages_after(self, chosen: Mapping[str, Any], limit: int, cursor: str | None) -> list[dict[str, Any]]:
        """First the stages with a start, which an index has in order, then the few without."""
        ns, stage, trace = cursors.decode(cursor, int, str, str) if cursor else (None, None, None)
        found: list[dict[str, Any]] = []
        if cursor is None or ns is not None:
            after = {"after_ns": ns, "after_stage": stage, "after_trace": trace}
            found = self._read("stages_timed", **chosen, **after, limit=limit)
            stage = trace = None
        if len(found) < limit:
            rest = limit - len(found)
            found += self._read("stages_untimed", **chosen, after_stage=stage, after_trace=trace, limit=rest)
        return found

    def stage_types(self, run_id: str) -> list[StageTypeStats]:
        """See `Queries.stage_types`."""
        return list(map(rows.stage_type_of, self._read_of_run("stage_types", run_id)))

    def missing_types(self, run_id: str, required: Sequence[str]) -> list[MissingType]:
        """See `Queries.missing_types`."""
        found = self._read_of_run("missing_types", run_id, required=_json(sorted(set(required))))
        return [MissingType(row["stage_type"], row["traces"], row["of_traces"], row["trace_id"]) for row in found]

    def scores(
        self, run_id: str, wanted: MetricFilter, limits: Sequence[Limit], limit: int, cursor: str | None = None
    ) -> Page[Score]:
        """See `Queries.scores`."""
        at = cursors.decode(cursor, int, str, str, str) if cursor else [None] * 4
        chosen = {
            "run_id": run_id,
            "stage_id": wanted.stage_id,
            "metric_name": wanted.metric_name,
            "failing": wanted.failing or None,
            "passing": wanted.failing is False or None,
            "limits": _json(limits),
            "never_ns": _NEVER_NS,
            **dict(zip(("after_ns", "after_stage", "after_trace", "after_metric"), at, strict=True)),
        }
        found = self._first_scores(chosen, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        position = [last[name] for name in ("begun_ns", "stage_id", "trace_id", "metric_name")] if last else None
        return Page(tuple(map(rows.score_of, found[:limit])), cursors.encode(*position) if position else None)

    def _first_scores(self, chosen: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
        """The next scores, of as few stages as hold them: those that start next, ever more until there are enough."""
        stages = limit
        while True:
            nth = self._read("nth_start", run_id=chosen["run_id"], after_ns=chosen["after_ns"], n=stages)
            until_ns = nth[0]["started_ns"] if nth and chosen["stage_id"] is None else None
            found = self._read("scores", **chosen, until_ns=until_ns, limit=limit)
            if until_ns is None or len(found) == limit:
                return found
            stages *= _WIDER

    def metric_stats(self, run_id: str, limits: Sequence[Limit]) -> list[MetricStats]:
        """See `Queries.metric_stats`."""
        found = self._read_of_run("metric_stats", run_id, limits=_json(limits))
        return sorted(map(rows.metric_of, found), key=lambda metric: metric.metric_name)

    def worst_scores(self, run_id: str, limits: Sequence[Limit], examples: int) -> list[WorstScore]:
        """See `Queries.worst_scores`."""
        if not limits:
            return []
        types = _json(sorted({prefix for limit in limits for prefix in _prefixes(limit.metric_name)}))
        found = self._read_of_run("worst_scores", run_id, limits=_json(limits), types=types, examples=examples)
        return [WorstScore(rows.place_of(row), row["metric_name"], row["x"]) for row in found]

    def error_groups(self, run_id: str, limit: int, examples: int) -> list[ErrorGroup]:
        """See `Queries.error_groups`."""
        return rows.error_groups_of(self._read_of_run("error_groups", run_id, limit=limit, examples=examples))

    def outliers(self, run_id: str, typical_ms: Sequence[tuple[str, float, float]], examples: int) -> list[Outliers]:
        """See `Queries.outliers`."""
        floors = [{"stage_type": name, "typical_ms": typical, "floor_ms": floor} for name, typical, floor in typical_ms]
        return rows.outliers_of(self._read_of_run("outliers", run_id, floors=_json(floors), examples=examples))

    def slowest_traces(self, run_id: str, limit: int) -> list[SlowTrace]:
        """See `Queries.slowest_traces`."""
        return list(map(rows.slow_trace_of, self._read_of_run("slowest_traces", run_id, limit=limit)))

    def retrieval_health(self, run_id: str, examples: int) -> RetrievalHealth:
        """See `Queries.retrieval_health`."""
        return rows.retrieval_health_of(self._read_of_run("retrieval_health", run_id, examples=examples))

    def asset_versions(self, run_id: str) -> list[AssetVersion]:
        """See `Queries.asset_versions`."""
        found = [AssetVersion(**row) for row in self._read_of_run("asset_versions", run_id)]
        # Sorted here: databases differ in where they put NULL.
        parts = ("kind", "name", "version", "digest", "origin", "stage_type")
        return sorted(found, key=lambda use: [str(getattr(use, part) or "") for part in parts])

    def version_uses(self, run_id: str, changed: Sequence[ChangedAsset]) -> list[VersionUse]:
        """See `Queries.version_uses`."""
        return list(map(rows.version_use_of, self._read_of_run("version_uses", run_id, changed=_changed(changed))))

    def version_metrics(self, run_id: str, changed: Sequence[ChangedAsset]) -> list[VersionMetric]:
        """See `Queries.version_metrics`."""
        found = self._read_of_run("version_metrics", run_id, changed=_changed(changed))
        return list(map(rows.version_metric_of, found))

    def finding_codes(self, run_id: str, examples: int) -> list[FindingCode]:
        """See `Queries.finding_codes`."""
        return rows.finding_codes_of(self._read_of_run("finding_codes", run_id, examples=examples))

    def rejects(self, wanted: RejectFilter, limit: int, cursor: str | None = None) -> Page[RejectRow]:
        """See `Queries.rejects`."""
        (before_id,) = cursors.decode(cursor, int) if cursor else (None,)
        chosen = {**asdict(wanted), "q": like(wanted.q)}
        found = self._read("rejects", **chosen, before_id=before_id, head=_REJECT_HEAD, limit=limit + 1)
        following = cursors.encode(found[limit - 1]["id"]) if len(found) > limit else None
        return Page(tuple(RejectRow(**row) for row in found[:limit]), following)

    def reject(self, reject_id: int) -> RejectRow:
        """See `Queries.reject`."""
        found = self._read("reject", id=reject_id) if reject_id <= _MAX_ID else []
        if not found:
            raise NotFound(f"no reject {reject_id}")
        return RejectRow(**found[0])


def _json(value: Any) -> str:
    """A list as a parameter."""
    return orjson.dumps(value).decode()


def _changed(assets: Sequence[ChangedAsset]) -> str:
    """Changed assets as a parameter; their stage types between commas, as `run_trace` has them."""
    return _json(
        [
            {**asdict(asset), "measured_types": f",{','.join(sorted({*asset.stage_types, 'output'}))},"}
            for asset in assets
        ]
    )


def _prefixes(metric_name: str) -> list[str]:
    """What may be the stage type in a metric's name: both may hold dots."""
    parts = metric_name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]
