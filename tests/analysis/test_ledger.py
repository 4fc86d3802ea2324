"""The ledger of assets on every store, against the same figures worked out by plain Python over the same records."""

import random
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from evalvault_otel.analysis import ledger
from evalvault_otel.analysis.figures import iso
from evalvault_otel.analysis.intervals import Sample, newcombe, student_t, welch
from evalvault_otel.analysis.ledger import AssetEntry, VersionEntry, asset_ledger, asset_page
from evalvault_otel.errors import InvalidInput, NotFound
from evalvault_otel.model import Assembly, AssetUse, StageEvent
from evalvault_otel.store import Store
from evalvault_otel.store.asset_records import AssetFilter
from evalvault_otel.store.percentile import Percentiles
from tests.support.stages import assembly, save, stage, use
from tests.support.traces import at

# Typed as anything, so that it can stand where a number is expected.
approx: Any = pytest.approx

KINDS = (("prompt", "answer"), ("prompt", "plan"), ("query", "find"), ("tool", "search"))


def traces(number: int = 60, seed: int = 1) -> Iterator[Assembly]:
    """Traces of three runs whose stages use assets in versions that come one after another, now and then mixed."""
    chance = random.Random(seed)  # noqa: S311 - reproducible records, no secret
    for trace in range(1, number + 1):
        run_id = f"run-{trace * 3 // (number + 1)}"
        stages = [_stage(chance, trace, n, run_id) for n in range(1, 4)]
        uses = [
            _use(chance, trace, item, ordinal, number)
            for item in stages
            for ordinal in range(chance.choice((0, 1, 1, 2, 3)))
        ]
        yield assembly(stages, uses)


def _stage(chance: random.Random, trace: int, number: int, run_id: str) -> StageEvent:
    stage_type = ("retrieval", "compose", "output")[number - 1]
    said: dict[str, Any] = {"run_id": run_id, "status": "error" if chance.random() < 0.2 else "success"}
    attributes = {"answer": "x", "citations": ["d"] * chance.randrange(4)} if stage_type == "output" else {}
    return stage(
        trace, number, stage_type, trace * 1000 + 100 * number, chance.uniform(1, 90), **said, attributes=attributes
    )


def _use(chance: random.Random, trace: int, item: StageEvent, ordinal: int, number: int) -> AssetUse:
    kind, name = chance.choice(KINDS)
    version = None if name == "search" else str(trace * 4 // (number + 1) + chance.randrange(2))
    loaded = chance.random() < 0.7
    return AssetUse(
        trace_id=item.trace_id,
        stage_id=item.stage_id,
        ordinal=ordinal,
        run_id=item.run_id,
        kind=kind,
        name=name,
        version=version,
        digest=chance.choice((None, "a", "b")),
        origin=chance.choice(("registry", "fallback", None)),
        fallback=chance.random() < 0.1,
        role=chance.choice((None, "system")),
        used_ns=at(trace * 1000 + chance.randrange(400)),
        load_ms=chance.uniform(0, 30) if loaded else None,
        cache_hit=chance.choice((None, True, False)) if loaded else None,
    )


@dataclass(frozen=True)
class Plain:
    """The same records, asked by plain Python."""

    assemblies: list[Assembly]

    def uses(self, kind: str, name: str) -> list[AssetUse]:
        return [use for item in self.assemblies for use in item.asset_uses if (use.kind, use.name) == (kind, name)]

    def stages_of(self, uses: Iterable[AssetUse]) -> list[StageEvent]:
        wanted = {use.stage_id for use in uses}
        return [stage for item in self.assemblies for stage in item.stages if stage.stage_id in wanted]


@pytest.fixture
def plain(store: Store) -> Plain:
    found = list(traces())
    save(store, *found)
    return Plain(found)


def percentile(values: list[float], place: int) -> float | None:
    aggregate = Percentiles()
    for value in values:
        aggregate.step(value)
    text = aggregate.finalize()
    return None if text is None else float(text.strip("[]").split(",")[place])


def test_the_list_counts_every_use(store: Store, plain: Plain) -> None:
    found = asset_page(store, AssetFilter(), 10)
    assert found.next_cursor is None
    assert found.assets == [_entry(kind, name, plain.uses(kind, name)) for kind, name in sorted(KINDS)]


def _entry(kind: str, name: str, uses: list[AssetUse]) -> AssetEntry:
    times = [item.used_ns for item in uses if item.used_ns is not None]
    latest = max(uses, key=lambda item: item.used_ns or 0)
    return AssetEntry(
        kind=kind,
        name=name,
        versions=len({item.version for item in uses}),
        latest_version=latest.version,
        uses=len(uses),
        fallbacks=sum(item.fallback for item in uses),
        runs=len({item.run_id for item in uses}),
        first_used=iso(min(times)),
        last_used=iso(max(times)),
    )


def test_the_list_can_be_narrowed(store: Store, plain: Plain) -> None:
    def names(**said: Any) -> list[tuple[str, str, int]]:
        return [(item.kind, item.name, item.uses) for item in asset_page(store, AssetFilter(**said), 10).assets]

    prompts = [("prompt", name, len(plain.uses("prompt", name))) for name in ("answer", "plan")]
    assert names(kind="prompt") == prompts
    assert names(q="PLA") == prompts[1:]
    assert names(q="%") == names(kind="nothing") == []
    bounds = (at(20_000), at(40_000))
    assert names(since_ns=bounds[0], until_ns=bounds[1]) == [
        (kind, name, sum(bounds[0] <= (item.used_ns or 0) < bounds[1] for item in plain.uses(kind, name)))
        for kind, name in sorted(KINDS)
    ]


def test_pages_stay_right_while_spans_arrive(store: Store, plain: Plain) -> None:
    seen, cursor = [], None
    for arrival in range(100, 110):
        page = asset_page(store, AssetFilter(), 1, cursor)
        seen += [(item.kind, item.name) for item in page.assets]
        # What comes meanwhile: more of what is there, and names before and after the page.
        save(
            store,
            assembly(
                [stage(arrival, 1, "output", arrival * 1000)],
                [use(arrival, 1, *KINDS[0], "9"), use(arrival, 1, "aaa", f"new-{arrival}", ordinal=1)],
            ),
        )
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(KINDS)
    with pytest.raises(InvalidInput, match="cursor"):
        asset_page(store, AssetFilter(), 1, "nonsense")


@pytest.mark.parametrize("kind, name", KINDS)
def test_versions_are_numbered_by_their_first_use_and_counted(store: Store, plain: Plain, kind: str, name: str) -> None:
    by_version: dict[str | None, list[AssetUse]] = defaultdict(list)
    for item in plain.uses(kind, name):
        by_version[item.version].append(item)
    ordered = sorted(by_version.values(), key=lambda uses: min(item.used_ns or 0 for item in uses))
    found = asset_ledger(store, kind, name)
    assert found.versions_total == len(ordered)
    for number, (entry, uses) in enumerate(zip(found.versions, ordered, strict=True), start=1):
        _check(entry, number, uses, plain.stages_of(uses))


def _check(entry: VersionEntry, number: int, uses: list[AssetUse], stages: list[StageEvent]) -> None:
    times = [item.used_ns for item in uses if item.used_ns is not None]
    assert (entry.number, entry.version, entry.uses) == (number, uses[0].version, len(uses))
    assert entry.runs == len({item.run_id for item in uses})
    assert entry.traces == len({item.trace_id for item in uses})
    assert entry.fallbacks == sum(item.fallback for item in uses)
    assert (entry.first_used, entry.last_used) == (iso(min(times)), iso(max(times)))
    assert {item.digest: item.uses for item in entry.digests} == {
        digest: sum(item.digest == digest for item in uses) for digest in {item.digest for item in uses} - {None}
    }
    durations = [item.duration_ms for item in stages if item.duration_ms is not None]
    assert entry.measured_stages == len(stages)
    assert entry.errors == sum(item.status == "error" for item in stages)
    assert entry.error_rate == approx(entry.errors / len(stages), rel=1e-5)
    assert (entry.p50_ms, entry.p95_ms) == approx((percentile(durations, 0), percentile(durations, 1)), rel=1e-5)
    assert {item.stage_type: item.stages for item in entry.stage_types} == {
        name: sum(item.stage_type == name for item in stages) for name in {item.stage_type for item in stages}
    }
    citations = [item.metrics["output.citation_count"] for item in stages if item.stage_type == "output"]
    means = {item.metric_name: (item.count, item.avg) for item in entry.metrics}
    if citations:
        assert means["output.citation_count"] == (len(citations), approx(statistics.fmean(citations), rel=1e-5))
    _check_loading(entry, uses)


def _check_loading(entry: VersionEntry, uses: list[AssetUse]) -> None:
    loads = [item.load_ms for item in uses if item.load_ms is not None]
    missed = [item.load_ms for item in uses if item.load_ms is not None and item.cache_hit is not True]
    loading = entry.loading
    assert (loading.loads, loading.total_ms) == (len(loads), approx(sum(loads), rel=1e-5))
    assert loading.hits == sum(item.cache_hit is True for item in uses)
    assert loading.misses == sum(item.cache_hit is False for item in uses)
    assert loading.would_save_ms == approx(sum(missed) - statistics.fmean(missed or [0]), rel=1e-4, abs=1e-6)


def test_two_versions_are_compared_as_plain_python_does(store: Store, plain: Plain) -> None:
    found = asset_ledger(store, "prompt", "answer", "1", "3").comparison
    assert found is not None
    old, new = (
        plain.stages_of(item for item in plain.uses("prompt", "answer") if item.version == version)
        for version in ("1", "3")
    )
    by_name = {item.metric_name: item for item in found.differences}
    rate = by_name["stage.error_rate"]
    failed = [(sum(item.status == "error" for item in side), len(side)) for side in (old, new)]
    assert (rate.low, rate.high) == approx(newcombe(*failed), rel=1e-5)
    samples = [[item.duration_ms or 0 for item in side if item.stage_type == "compose"] for side in (old, new)]
    took = by_name["compose.latency_ms"]
    assert (took.count_before, took.count_after) == (len(samples[0]), len(samples[1]))
    assert took.difference == approx(statistics.fmean(samples[1]) - statistics.fmean(samples[0]), rel=1e-4)
    bounds = welch(*(Sample(len(x), statistics.fmean(x), statistics.pvariance(x)) for x in samples))
    assert (took.low, took.high) == approx(bounds, rel=1e-4)


def test_a_clear_difference_has_its_direction_and_a_few_scores_prove_nothing(store: Store) -> None:
    for n in range(1, 41):
        slow = n > 20
        stages = [stage(n, 1, "output", n, (50.0 if slow else 10.0) + n % 3, status="error" if slow else "success")]
        save(store, assembly(stages, [use(n, 1, "prompt", "p", "2" if slow else "1"), use(n, 1, "tool", "t", str(n))]))
    verdicts = {item.metric_name: item.verdict for item in _compared(store, "prompt", "p")}
    assert (verdicts["stage.error_rate"], verdicts["output.latency_ms"]) == ("worse", "worse")
    assert verdicts["output.citation_count"] == "same"
    assert {item.verdict for item in _compared(store, "tool", "t")} == {"not enough data"}


def _compared(store: Store, kind: str, name: str) -> list[Any]:
    comparison = asset_ledger(store, kind, name).comparison
    assert comparison is not None
    return list(comparison.differences)


def test_only_the_latest_uses_are_measured(store: Store, plain: Plain) -> None:
    uses = [item for item in plain.uses("prompt", "answer") if item.version == "1"]
    latest = sorted(uses, key=lambda item: (-(item.used_ns or 0), item.trace_id, item.stage_id))[:3]
    whole, *_ = store.ledger_stages("prompt", "answer", ["1"], 3)
    assert whole.stages == len(plain.stages_of(latest))
    assert whole.stages < len(plain.stages_of(uses)) <= ledger.MOST_MEASURED


def test_an_asset_without_a_version_has_one_that_is_none(store: Store, plain: Plain) -> None:
    found = asset_ledger(store, "tool", "search")
    assert [entry.version for entry in found.versions] == [None]
    assert found.comparison is None


def test_an_unknown_asset_and_unknown_versions(store: Store, plain: Plain) -> None:
    with pytest.raises(NotFound, match="no asset prompt 'nothing'"):
        asset_ledger(store, "prompt", "nothing")
    with pytest.raises(InvalidInput, match="no version '99'"):
        asset_ledger(store, "prompt", "answer", "1", "99")
    with pytest.raises(InvalidInput, match="both"):
        asset_ledger(store, "prompt", "answer", "1")


class TestDrift:
    """Versions that change inside a run, since the run before, or under their version."""

    def fill(self, store: Store, *runs: tuple[str, list[tuple[str | None, str | None]]], **said: Any) -> None:
        for n, (run_id, versions) in enumerate(runs, start=1):
            begin = n * 100_000
            stages = [stage(100 * n + k, 1, "output", begin + 10 * k, run_id=run_id) for k in range(len(versions))]
            for k, (version, digest) in enumerate(versions):
                used = use(100 * n + k, 1, "prompt", "p", version, digest=digest, run_id=run_id)
                save(store, assembly([stages[k]], [replace(used, used_ns=stages[k].started_ns)], **said))

    def test_inside_a_run_and_between_runs_and_under_a_version(self, store: Store) -> None:
        self.fill(
            store,
            ("a", [("1", "d1"), ("1", "d1")]),
            ("b", [("1", "d2"), ("2", "d3")]),
            ("c", [("2", "d3"), ("2", "d4")]),
        )
        drift = asset_ledger(store, "prompt", "p").drift
        assert [(item.version, item.digests) for item in drift.edits] == [("1", ["d1", "d2"]), ("2", ["d3", "d4"])]
        assert [(item.run_id, item.versions, len(item.edits)) for item in drift.inside_runs] == [
            ("b", ["1", "2"], 0),
            ("c", ["2"], 1),
        ]
        assert [
            (item.run_before, item.run_id, item.what, item.version, item.before, item.after)
            for item in drift.between_runs
        ] == [
            ("a", "b", "version", None, ["1"], ["1", "2"]),
            ("a", "b", "digest", "1", ["d1"], ["d2"]),
            ("b", "c", "version", None, ["1", "2"], ["2"]),
            ("b", "c", "digest", "2", ["d3"], ["d3", "d4"]),
        ]

    def test_runs_of_other_services_and_kinds_are_no_run_before(self, store: Store) -> None:
        self.fill(store, ("a", [("1", None)]), service="one")
        for n, (service, kind) in enumerate((("two", None), ("one", "canary")), start=5):
            item = stage(n, 1, "output", n * 1_000_000, run_id=f"run-{n}")
            used = use(n, 1, "prompt", "p", "2", run_id=item.run_id)
            save(store, assembly([item], [used], service=service, run_kind=kind))
        assert asset_ledger(store, "prompt", "p").drift.between_runs == []

    def test_the_same_version_and_digest_is_no_drift(self, store: Store) -> None:
        self.fill(store, ("a", [("1", "d")]), ("b", [("1", None)]), ("c", [("1", "d")]))
        drift = asset_ledger(store, "prompt", "p").drift
        assert (drift.edits, drift.inside_runs, drift.between_runs) == ([], [], [])


class TestIntervals:
    """Against published values."""

    @pytest.mark.parametrize(
        "freedom, point",
        [
            (1, 12.7062),
            (2, 4.3027),
            (3, 3.18245),
            (4, 2.77645),
            (5, 2.57058),
            (10, 2.22814),
            (30, 2.04227),
            (1e6, 1.95997),
        ],
    )
    def test_students_t(self, freedom: float, point: float) -> None:
        assert student_t(freedom) == approx(point, rel=1e-3 if freedom < 3 else 1e-5)

    @pytest.mark.parametrize(
        "before, after, bounds",
        [
            ((48, 80), (56, 70), (0.0524, 0.3339)),
            ((3, 10), (9, 10), (0.1705, 0.8090)),
            ((5, 56), (0, 29), (-0.1926, 0.0381)),
        ],
    )
    def test_newcombe(self, before: tuple[int, int], after: tuple[int, int], bounds: tuple[float, float]) -> None:
        # Table II of Newcombe (1998), method 10.
        assert newcombe(before, after) == approx(bounds, abs=1e-4)

    def test_welch(self) -> None:
        # Equal sizes and variances: the classical interval, t at 2n - 2.
        found = welch(Sample(6, 10.0, 5.0), Sample(6, 12.0, 5.0))
        assert found == approx((2 - 2.22814 * 2**0.5, 2 + 2.22814 * 2**0.5), rel=1e-5)
        assert welch(Sample(1, 1.0, 0.0), Sample(9, 1.0, 0.0)) is None
        assert welch(Sample(5, 1.0, 0.0), Sample(9, 3.0, 0.0)) == (2.0, 2.0)

    def test_nothing_has_no_share(self) -> None:
        assert newcombe((0, 0), (1, 2)) is None
