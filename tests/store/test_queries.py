"""What `Queries` promises, on every store."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from evalvault_otel.errors import InvalidInput, NotFound
from evalvault_otel.model import Finding, PayloadRef
from evalvault_otel.store import Store, TraceBatch
from evalvault_otel.store.records import (
    AssetVersion,
    ChangedAsset,
    ErrorGroup,
    FindingCode,
    Limit,
    MetricFilter,
    MetricStats,
    MissingType,
    OddRetrieval,
    Outliers,
    Page,
    Place,
    RetrievalHealth,
    Run,
    RunFilter,
    StageFilter,
    StageTypeStats,
    VersionMetric,
    VersionUse,
    WorstScore,
)
from tests.support.stages import RUN, assembly, save, stage, tid, use
from tests.support.traces import T0_NS, at, span

# Typed as anything, so that it can stand where a number is expected.
approx: Any = pytest.approx


def place(trace: int, number: int, name: str | None = None) -> Place:
    return Place(tid(trace), f"t{trace}-s{number}", f"{trace:08x}{number:08x}", name)


def pages(read: Callable[[str | None], Page[Any]]) -> list[list[Any]]:
    """All pages of a list, by its cursors."""
    found, cursor = [], None
    while True:
        page = read(cursor)
        found.append(list(page.items))
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


class TestRuns:
    def test_counts_are_exact(self, store: Store) -> None:
        said: dict[str, Any] = {"run_name": "nightly", "run_kind": "offline", "dataset": "qa", "dataset_version": "1"}
        save(
            store,
            assembly(
                [stage(1, 1, "retrieval", 0, 10), stage(1, 2, "output", 10, 20, tokens_in=5, cost_total=0.5)], **said
            ),
            assembly([stage(2, 1, "retrieval", 100, 50, status="error")], service="other"),
        )
        expected = Run(
            run_id=RUN,
            name="nightly",
            kind="offline",
            dataset="qa",
            dataset_version="1",
            service="other",
            services=2,
            first_ns=T0_NS,
            last_ns=at(150),
            traces=2,
            failed_traces=1,
            stages=3,
            errors=1,
            tokens_in=5,
            tokens_out=0,
            cost_total=0.5,
        )
        assert store.run(RUN) == expected
        assert store.runs(RunFilter(), 10) == Page((expected,), None, 1)

    def test_an_unknown_run_is_not_found(self, store: Store) -> None:
        assert store.runs(RunFilter(), 10) == Page((), None, 0)
        with pytest.raises(NotFound, match="nightly"):
            store.run("nightly")

    def test_a_run_that_lost_all_its_traces_is_hidden(self, store: Store) -> None:
        save(store, assembly([stage(1, 1, "output")]))
        late = TraceBatch(tid(1), (span(1, trace_id=tid(1)),), None, missing_root=False, missing_parent=False)
        store.write([late], [], at(1))
        moved = assembly([stage(1, 1, "output", run_id="run-2")])
        assert store.reassemble(tid(1), lambda *_: moved, at(2))
        assert [run.run_id for run in store.runs(RunFilter(), 10).items] == ["run-2"]
        assert store.runs(RunFilter(), 10).total == 1
        with pytest.raises(NotFound):
            store.run(RUN)

    def test_pages_the_latest_first(self, store: Store) -> None:
        save(store, *(assembly([stage(n, 1, "output", n // 2, 1, run_id=f"run-{n}")]) for n in range(1, 8)))
        found = pages(partial(store.runs, RunFilter(), 3))
        assert [[run.run_id for run in page] for page in found] == [
            ["run-7", "run-6", "run-5"],
            ["run-4", "run-3", "run-2"],
            ["run-1"],
        ]
        assert store.runs(RunFilter(), 3).total == 7

    @pytest.mark.parametrize(
        "wanted,expected",
        [
            (RunFilter(service="web"), ["b"]),
            (RunFilter(kind="canary"), ["a"]),
            (RunFilter(since_ns=at(100)), ["b"]),
            (RunFilter(until_ns=at(100)), ["a"]),
            (RunFilter(since_ns=at(5), until_ns=at(6)), ["a"]),
            (RunFilter(q="QA_1"), ["b"]),
            (RunFilter(q="%"), []),
            (RunFilter(q="a", kind="online"), ["b"]),
            (RunFilter(service="nobody"), []),
        ],
    )
    def test_filters(self, store: Store, wanted: RunFilter, expected: list[str]) -> None:
        save(
            store,
            assembly([stage(1, 1, "output", 0, 10, run_id="a")], run_kind="canary", dataset="qax1"),
            assembly([stage(2, 1, "output", 100, 10, run_id="b")], run_kind="online", dataset="qa_1", service="web"),
        )
        page = store.runs(wanted, 10)
        assert [run.run_id for run in page.items] == expected
        assert page.total == len(expected)

    def test_a_cursor_of_another_list_is_refused(self, store: Store) -> None:
        save(store, *(assembly([stage(n, 1, "output", n)]) for n in (1, 2)))
        cursor = store.stages(RUN, StageFilter(), 1).next_cursor
        for wrong in (cursor, "nonsense", "é"):
            with pytest.raises(InvalidInput, match="cursor"):
                store.runs(RunFilter(), 1, wrong)


class TestTrace:
    def test_everything_of_a_trace_comes_back_as_it_was_written(self, store: Store) -> None:
        stages = [
            stage(
                1,
                1,
                "retrieval",
                stage_name="bm25",
                attempt=2,
                input_ref=PayloadRef("span", "s1/input"),
                attributes={"doc_ids": ["a"], "nested": {"x": [1, 2.5, None, True]}, "scores": [0.5]},
                metadata={"test_case_id": "tc-1"},
                wrapped_span_ids=("aa", "bb"),
                tokens_in=7,
                cost_total=0.25,
            ),
            stage(1, 2, "rerank", 10, status="timeout", error_type="T", error_message="m", error_fingerprint="f"),
            stage(1, 3, "input", ms=None, derived=True, started_ns=None, span_id=None, parent_stage_id="t1-s1"),
        ]
        uses = [use(1, 1, "prompt", "p", "1", digest="d", origin="registry", fallback=True, subtype="s", role="r")]
        findings = [Finding(tid(1), 0, RUN, "no_root", "warning", "no root", "t1-s1", "aa")]
        save(store, assembly(stages, uses, findings, run_name="nightly"))
        assert store.trace_stages(tid(1)) == stages
        assert store.asset_uses(tid(1)) == uses
        assert store.findings(tid(1)) == findings
        trace = store.trace(tid(1))
        assert (trace.run_id, trace.assembled, trace.first_ns, trace.last_ns) == (RUN, True, T0_NS, at(20))
        assert [(part.run_id, part.run_name, part.stage_types) for part in trace.parts] == [
            (RUN, "nightly", ("input", "rerank", "retrieval"))
        ]

    def test_a_trace_of_two_runs_can_be_read_by_run(self, store: Store) -> None:
        save(store, assembly([stage(1, 1, "retrieval"), stage(1, 2, "output", run_id="run-2")]))
        assert [part.run_id for part in store.trace(tid(1)).parts] == [RUN, "run-2"]
        assert [item.stage_id for item in store.trace_stages(tid(1), "run-2")] == ["t1-s2"]
        assert len(store.trace_stages(tid(1))) == 2

    def test_an_unknown_trace(self, store: Store) -> None:
        with pytest.raises(NotFound):
            store.trace(tid(9))
        assert store.trace_stages(tid(9)) == []


class TestStages:
    def test_order_is_by_start_and_ids_and_stages_without_a_start_come_last(self, store: Store) -> None:
        save(
            store,
            assembly([stage(1, 1, "b", 20), stage(1, 2, "a", 10), stage(1, 3, "d", started_ns=None)]),
            assembly([stage(2, 1, "c", 20), stage(2, 2, "e", started_ns=None)]),
        )
        for limit in (1, 2, 3, 5):
            found = pages(partial(store.stages, RUN, StageFilter(), limit))
            assert [item.stage_type for page in found for item in page] == ["a", "b", "c", "d", "e"]
            assert all(len(page) == limit for page in found[:-1])
        assert store.stages(RUN, StageFilter(), 1).total == 5

    @pytest.mark.parametrize(
        "wanted,expected",
        [
            (StageFilter(stage_type="output"), ["t1-s2", "t2-s1"]),
            (StageFilter(trace_id=tid(1)), ["t1-s1", "t1-s2"]),
            (StageFilter(status="error"), ["t2-s1"]),
            (StageFilter("output", tid(1), "success"), ["t1-s2"]),
            (StageFilter(stage_type="nothing"), []),
        ],
    )
    def test_filters(self, store: Store, wanted: StageFilter, expected: list[str]) -> None:
        save(
            store,
            assembly([stage(1, 1, "input"), stage(1, 2, "output", 5)]),
            assembly([stage(2, 1, "output", 9, status="error")]),
        )
        page = store.stages(RUN, wanted, 10)
        assert [item.stage_id for item in page.items] == expected
        assert page.total == len(expected)

    def test_times_per_type(self, store: Store) -> None:
        retrievals = [stage(n, 1, "retrieval", n, float(n), critical_ms=1.0, attempt=1 + n % 2) for n in range(1, 5)]
        failed = stage(5, 1, "rerank", 9, 7.0, status="timeout", self_ms=3.0)
        derived = stage(6, 1, "input", 9, None, derived=True, status="skipped")
        save(store, *(assembly([item]) for item in (*retrievals, failed, derived)))
        nothing = dict.fromkeys(("avg_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms", "self_p50_ms"))
        assert store.stage_types(RUN) == [
            StageTypeStats("input", 1, 0, 0, 1, timed=0, self_ms=0.0, critical_ms=0.0, **nothing),
            StageTypeStats("rerank", 1, 1, 0, 0, 1, 7.0, 7.0, 7.0, 7.0, 7.0, 3.0, 3.0, 7.0, 3.0),
            StageTypeStats(
                "retrieval", 4, 0, 2, 0, 4, 2.5, 2.5, approx(3.85), approx(3.97), 4.0, 10.0, 2.5, 4.0, approx(1.3)
            ),
        ]

    def test_missing_types_are_counted_per_trace(self, store: Store) -> None:
        save(
            store,
            assembly([stage(1, 1, "output"), stage(1, 2, "system_prompt", 5)]),
            assembly([stage(2, 1, "output"), stage(2, 2, "systemXprompt", 5)]),
            assembly([stage(3, 1, "output")]),
        )
        assert store.missing_types(RUN, ["system_prompt", "output", "output"]) == [
            MissingType("output", 0, 3, None),
            MissingType("system_prompt", 2, 3, tid(2)),
        ]


class TestMetrics:
    LIMITS = (Limit("retrieval.result_count", 2.0), Limit("retrieval.latency_ms", 15.0, at_most=True))

    def fill(self, store: Store) -> None:
        for n in (1, 2, 3):
            found = stage(n, 1, "retrieval", n, 10.0 * n, attributes={"doc_ids": list("abc"[:n])})
            save(store, assembly([found, stage(n, 2, "input", 0, None, derived=True)]))

    def test_distribution_and_pass_counts(self, store: Store) -> None:
        self.fill(store)
        counts, latency = approx(2.9), approx(29.0)
        high = (approx(2.98), approx(29.8))
        assert store.metric_stats(RUN, self.LIMITS) == [
            MetricStats("retrieval.duplicate_count", 3, 0, 0, 0, 0, 0, 0, passed=0),
            MetricStats("retrieval.latency_ms", 3, 20, 10, 30, 20, latency, high[1], passed=1),
            MetricStats("retrieval.result_count", 3, 2, 1, 3, 2, counts, high[0], passed=2),
        ]

    def test_worst_scores_lie_farthest_beyond_their_limit(self, store: Store) -> None:
        self.fill(store)
        assert store.worst_scores(RUN, self.LIMITS, 5) == [
            WorstScore(place(3, 1), "retrieval.latency_ms", 30.0),
            WorstScore(place(2, 1), "retrieval.latency_ms", 20.0),
            WorstScore(place(1, 1), "retrieval.result_count", 1.0),
        ]
        assert len(store.worst_scores(RUN, self.LIMITS, 1)) == 2
        assert store.worst_scores(RUN, [], 5) == []

    @pytest.mark.parametrize(
        "wanted,expected",
        [
            (MetricFilter(stage_id="t1-s1"), [(1, "duplicate_count"), (1, "latency_ms"), (1, "result_count")]),
            (
                MetricFilter(metric_name="retrieval.latency_ms"),
                [(1, "latency_ms"), (2, "latency_ms"), (3, "latency_ms")],
            ),
            (MetricFilter(failing=True), [(1, "result_count"), (2, "latency_ms"), (3, "latency_ms")]),
            (MetricFilter(failing=False), [(1, "latency_ms"), (2, "result_count"), (3, "result_count")]),
            (MetricFilter(stage_id="t2-s1", failing=True), [(2, "latency_ms")]),
        ],
    )
    def test_scores(self, store: Store, wanted: MetricFilter, expected: list[tuple[int, str]]) -> None:
        self.fill(store)
        for limit in (1, 2, 10):
            found = pages(partial(store.scores, RUN, wanted, self.LIMITS, limit))
            scores = [score for page in found for score in page]
            assert [(int(score.place.trace_id, 16), score.metric_name.split(".")[1]) for score in scores] == expected

    @pytest.mark.parametrize("failing", [None, True, False])
    def test_pages_hold_every_score_once_whatever_the_starts(self, store: Store, failing: bool | None) -> None:
        starts = [0, 0, 0, 5, 5, 7, None, 9, 9, None, 12, 12, 12, 12]
        for n, start in enumerate(starts, 1):
            said = {"attributes": {"doc_ids": ["a"] * (n % 3)}}
            untimed = {"started_ns": None} if start is None else {}
            more = stage(n, 1, "retrieval", start or 0, 5.0 * n, **said, **untimed)
            save(store, assembly([stage(n, 2, "tool", 0, None, derived=True), more]))
        wanted = MetricFilter(failing=failing)
        (whole,) = pages(partial(store.scores, RUN, wanted, self.LIMITS, 1000))

        assert len(whole) > 5
        for limit in (1, 2, 3):
            found = pages(partial(store.scores, RUN, wanted, self.LIMITS, limit))
            assert [score for page in found for score in page] == list(whole)

    def test_a_score_comes_with_what_the_stage_knew(self, store: Store) -> None:
        self.fill(store)
        (score,) = store.scores(RUN, MetricFilter("t2-s1", "retrieval.latency_ms"), [], 10).items
        assert (score.score, score.duration_ms, score.stage_type) == (20.0, 20.0, "retrieval")
        assert score.attributes == {"doc_ids": ["a", "b"]}
        assert score.place == place(2, 1)


class TestFailures:
    def test_groups_put_what_only_passed_a_failure_on_behind(self, store: Store) -> None:
        broken = {"status": "error", "error_type": "E", "error_message": "boom", "error_fingerprint": "f1"}
        above = {**broken, "error_fingerprint": "f2"}
        for n in (1, 2):
            top = stage(n, 1, "workflow", n, 50, **above)
            save(store, assembly([top, stage(n, 2, "rerank", n + 1, 10, parent_stage_id=f"t{n}-s1", **broken)]))
        save(
            store, assembly([stage(3, 1, "output", 9, status="timeout"), stage(3, 2, "output", 9, status="cancelled")])
        )
        assert store.error_groups(RUN, 10, 1) == [
            ErrorGroup("rerank", "f1", "E", "boom", 2, 0, 2, at(2), at(3), (place(1, 2),)),
            ErrorGroup("output", "", None, None, 1, 0, 1, at(9), at(9), (place(3, 1),)),
            ErrorGroup("workflow", "f2", "E", "boom", 2, 2, 2, at(1), at(2), (place(1, 1),)),
        ]
        assert [group.stage_type for group in store.error_groups(RUN, 1, 1)] == ["rerank"]

    def test_findings_by_code(self, store: Store) -> None:
        for n, codes in enumerate((["a", "a"], ["b"], ["a"]), 1):
            found = [Finding(tid(n), i, RUN, code, "warning", f"d{n}", f"t{n}-s1") for i, code in enumerate(codes)]
            save(store, assembly([stage(n, 1, "output")], findings=found))
        assert store.finding_codes(RUN, 1) == [
            FindingCode("a", "warning", 3, 2, "d1", (place(1, 1),)),
            FindingCode("b", "warning", 1, 1, "d2", (place(2, 1),)),
        ]


class TestSlowness:
    def test_outliers_are_measured_over_the_time_a_stage_took_itself(self, store: Store) -> None:
        for n, own in enumerate((5.0, 6.0, 100.0, 300.0), 1):
            save(store, assembly([stage(n, 1, "rerank", 0, 900.0, self_ms=own), stage(n, 2, "quick", 0, own)]))
        assert store.outliers(RUN, [("rerank", 5.0, 15.0)], 1) == [
            Outliers("rerank", 2, 390.0, ((place(4, 1), 300.0),)),
        ]
        assert store.outliers(RUN, [("rerank", 5.0, 1000.0)], 1) == []

    def test_slowest_traces(self, store: Store) -> None:
        save(store, *(assembly([stage(n, 1, "output", 0, ms)]) for n, ms in ((1, 5.0), (2, 50.0), (3, 50.0))))
        found = [(slow.part.trace_id, slow.duration_ms, slow.root_span_id) for slow in store.slowest_traces(RUN, 2)]
        assert found == [(tid(2), 50.0, "0000000200000001"), (tid(3), 50.0, "0000000300000001")]


def test_retrieval_health(store: Store) -> None:
    attributes: list[dict[str, Any]] = [
        {"doc_ids": ["a", "b"], "scores": [0.9, 0.8], "query": "fine"},
        {"doc_ids": [], "query": "nothing"},
        {"doc_ids": ["a", "a"], "scores": [0.1, 0.9]},
        {"doc_ids": ["a", "b"], "scores": [0.1, 0.9]},
    ]
    found = [stage(n, 1, "retrieval", attributes=said) for n, said in enumerate(attributes, 1)]
    cited = stage(5, 1, "output", metrics={"output.citation_coverage": 0.5})
    covered = stage(6, 1, "output", metrics={"output.citation_coverage": 1.0})
    save(store, *(assembly([item]) for item in (*found, cited, covered, stage(9, 1, "retrieval", status="error"))))
    odd = (
        OddRetrieval("citation", place(5, 1), None),
        OddRetrieval("duplicates", place(3, 1), None),
        OddRetrieval("empty", place(2, 1), "nothing"),
        OddRetrieval("order", place(4, 1), None),
    )
    assert store.retrieval_health(RUN, 3) == RetrievalHealth(4, 1, 1, 2, 2, 1, odd)
    assert store.retrieval_health("unknown", 3) == RetrievalHealth(0, 0, 0, 0, 0, 0, ())


class TestAssets:
    def fill(self, store: Store) -> None:
        """Versions 1, 1, 2, 2 and a trace that used both; the digest of the index changes under one version."""
        for n, versions in enumerate((["1"], ["1"], ["2"], ["2"], ["1", "2"]), 1):
            output = stage(
                n, 1, "output", n, 10.0, attributes={"citations": ["a"] * (4 - len(versions) - int(versions[0]))}
            )
            rerank = stage(n, 2, "rerank", n, 7.0 * n, status="error" if n == 4 else "success")
            uses = [use(n, 2, "prompt", "p", v, ordinal=i, fallback=n == 1) for i, v in enumerate(versions)]
            uses.append(use(n, 1, "index", "docs", "1", digest="x" if n < 3 else "y"))
            save(store, assembly([output, rerank, stage(n, 3, "retrieval", n, 1.0)], uses))

    def test_versions_by_stage_type(self, store: Store) -> None:
        self.fill(store)
        first, last = at(1000), at(5000)
        assert store.asset_versions(RUN) == [
            AssetVersion("output", "index", "docs", "1", "x", None, 2, 0, first, at(2000)),
            AssetVersion("output", "index", "docs", "1", "y", None, 3, 0, at(3000), last),
            AssetVersion("rerank", "prompt", "p", "1", None, None, 3, 1, first, last),
            AssetVersion("rerank", "prompt", "p", "2", None, None, 3, 0, at(3000), last),
        ]

    def test_first_use_of_each_version(self, store: Store) -> None:
        self.fill(store)
        assert store.version_uses(RUN, [ChangedAsset("prompt", "p", ("rerank",))]) == [
            VersionUse("prompt", "p", "1", 3, at(1000), at(5000), place(1, 2)),
            VersionUse("prompt", "p", "2", 3, at(3000), at(5000), place(3, 2)),
        ]

    def test_metrics_of_the_using_stages_and_the_output_by_version(self, store: Store) -> None:
        self.fill(store)
        found = store.version_metrics(RUN, [ChangedAsset("prompt", "p", ("rerank",))])
        kept = [metric for metric in found if metric.metric_name != "output.latency_ms"]
        assert kept == [
            VersionMetric("prompt", "p", "1", "output.citation_count", 2, 2.0, 0.0),
            VersionMetric("prompt", "p", "2", "output.citation_count", 2, 1.0, 0.0),
            VersionMetric("prompt", "p", "1", "rerank.latency_ms", 2, 10.5, 12.25),
            VersionMetric("prompt", "p", "2", "rerank.latency_ms", 2, 24.5, 12.25),
            VersionMetric("prompt", "p", "1", "trace.error_rate", 2, 0.0, 0.0),
            VersionMetric("prompt", "p", "2", "trace.error_rate", 2, 0.5, 0.25),
        ]

    def test_by_digest_where_the_version_stayed(self, store: Store) -> None:
        self.fill(store)
        changed = ChangedAsset("index", "docs", ("output",), by_digest=True)
        assert [use.version for use in store.version_uses(RUN, [changed])] == ["x", "y"]
        assert {metric.version for metric in store.version_metrics(RUN, [changed])} == {"x", "y"}

    def test_a_run_without_assets(self, store: Store) -> None:
        save(store, assembly([stage(1, 1, "output")]))
        assert store.asset_versions(RUN) == []
