"""The report over a run whose faults are known: it must name each, with the traces that hold it."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from evalvault_otel.analysis.render import to_json, to_markdown
from evalvault_otel.analysis.report import ReportOptions, debug_report
from evalvault_otel.analysis.report_model import DebugReport, Example
from evalvault_otel.analysis.thresholds import load_limits
from evalvault_otel.errors import NotFound
from evalvault_otel.model import Finding
from evalvault_otel.store import Store, open_store
from tests.support.stages import CHANGED_FROM, EMPTY, FAILED, RUN, SLOW, assembly, planted_run, save, stage, tid, use
from tests.support.traces import at


def traces_of(examples: list[Example]) -> set[int]:
    assert all(example.span_id for example in examples), "every example can be opened"
    return {int(example.trace_id, 16) for example in examples}


@pytest.fixture
def report(store: Store) -> DebugReport:
    save(store, *planted_run())
    return debug_report(store, RUN)


class TestPlantedRun:
    def test_every_planted_fault_is_a_finding(self, report: DebugReport) -> None:
        found = {(problem.kind, problem.subject): problem.headline for problem in report.findings}
        assert found == {
            (
                "asset_change",
                "prompt answer",
            ): "The prompt `answer` changed from version 1 to version 2 during the run: `output.citation_count` fell "
            "from 1.95 to 1 (worse).",
            ("slow", "rerank"): "`rerank` is sometimes slow: 3 of 40 took more than 16 ms, where 5.5 ms is usual, in "
            "all 1.2 s longer (39 % of all time spent).",
            ("error", "query_rewrite"): "`query_rewrite` failed in 4 of 40 traces with ValueError: no closing quote.",
            ("empty_retrieval", "retrieval"): "`retrieval` found nothing in 2 of 40 calls.",
        }

    def test_findings_are_ranked_by_impact(self, report: DebugReport) -> None:
        impacts = [problem.impact for problem in report.findings]
        assert impacts == sorted(impacts, reverse=True)
        assert (
            report.verdict
            == f"40 traces, 4 with errors. Look at this first: {report.findings[0].headline} 3 more findings below."
        )

    def test_the_slow_stage_is_found_by_its_tail_although_it_is_quick_as_a_rule(self, report: DebugReport) -> None:
        rerank = next(stage for stage in report.bottlenecks if stage.stage_type == "rerank")
        assert rerank.slow_count == len(SLOW)
        assert rerank.tail_ms > 50 * rerank.p50_ms
        assert traces_of(rerank.examples) == set(SLOW)
        assert {int(trace.trace_id, 16) for trace in report.slowest_traces} == set(SLOW)

    def test_failures_are_one_group(self, report: DebugReport) -> None:
        (group,) = report.errors
        assert (group.stage_type, group.error_type, group.count, group.traces) == ("query_rewrite", "ValueError", 4, 4)
        assert traces_of(group.examples) <= set(FAILED)
        assert group.first_seen == "2026-01-01T00:00:05.000000Z"

    def test_empty_retrievals_come_with_their_queries(self, report: DebugReport) -> None:
        assert report.retrieval.empty == len(EMPTY)
        assert {(odd.problem, odd.example.note) for odd in report.retrieval.examples} == {
            ("empty", f"question {trace}") for trace in EMPTY
        }

    def test_the_changed_prompt_comes_with_the_metric_that_moved(self, report: DebugReport) -> None:
        (change,) = report.assets.changes
        assert (change.kind, change.name, change.before, change.after) == ("prompt", "answer", "1", "2")
        assert (change.pattern, change.traces_before, change.traces_after) == ("switch", CHANGED_FROM - 1, 20)
        assert [(metric.metric_name, metric.verdict) for metric in change.moved] == [("output.citation_count", "worse")]
        assert traces_of(change.examples) == {1, CHANGED_FROM}
        assert [(asset.kind, asset.stage_types) for asset in report.assets.used] == [
            ("index", ["retrieval"]),
            ("prompt", ["output"]),
        ]

    def test_failing_metrics_become_recommendations(self, report: DebugReport) -> None:
        (metric,) = report.failing_metrics
        assert (metric.metric_name, metric.failed, metric.count) == ("retrieval.result_count", 2, 40)
        (advice,) = report.recommendations
        assert (advice.component, advice.title, advice.affected) == ("retriever", "Address empty retrieval", 2)

    def test_the_same_data_gives_the_same_bytes(self, store: Store, report: DebugReport) -> None:
        again = debug_report(store, RUN)
        assert to_json(again) == to_json(report)
        assert to_markdown(again) == to_markdown(report)

    def test_markdown_names_what_json_names(self, report: DebugReport) -> None:
        text = to_markdown(report)
        assert report.verdict in text
        for problem in report.findings:
            assert problem.headline in text
            for example in problem.examples:
                assert f"trace `{example.trace_id}` span `{example.span_id}`" in text

    def test_json_holds_all_parts(self, report: DebugReport) -> None:
        assert list(orjson.loads(to_json(report))) == [
            "run", "verdict", "findings", "summary", "bottlenecks", "slowest_traces", "errors", "failing_metrics",
            "retrieval", "assets", "evidence", "recommendations", "schema_version",
        ]  # fmt: skip


def test_both_databases_give_the_same_report(tmp_path: Path, postgres_url: str) -> None:
    texts = set()
    for url in (str(tmp_path / "one.db"), postgres_url):
        store = open_store(url)
        store.migrate()
        save(store, *planted_run())
        texts.add(to_json(debug_report(store, RUN)))
        store.close()
    assert len(texts) == 1


def test_a_run_in_which_nothing_is_wrong(store: Store) -> None:
    stages = [stage(1, 1, "input", 0, 2), stage(1, 2, "retrieval", 2, 3), stage(1, 3, "output", 5, 4)]
    healthy = [replace(item, metrics={f"{item.stage_type}.x": 1.0}, run_id=RUN) for item in stages]
    save(store, assembly(healthy))
    report = debug_report(store, RUN)
    assert report.verdict == (
        "1 trace, none with errors. Nothing stands out in 3 stages. So few traces show gross failures only."
    )
    assert "Nothing stands out." in to_markdown(report)
    assert report.findings == []


def test_stages_that_took_no_time_are_no_bottleneck(store: Store) -> None:
    save(store, assembly([stage(1, 1, "output", 0, 0.0), stage(1, 2, "input", 0, None, derived=True)]))
    report = debug_report(store, RUN)
    assert report.bottlenecks == []
    assert "0.0 ms" not in to_markdown(report)


def test_an_unknown_run(store: Store) -> None:
    with pytest.raises(NotFound):
        debug_report(store, "nobody")


def test_thresholds_decide_what_fails(store: Store) -> None:
    save(store, assembly([stage(1, 1, "output", 0, 2500.0, attributes={"citations": ["a"]})]))
    strict = debug_report(store, RUN, ReportOptions(limits=load_limits("prod")))
    usual = debug_report(store, RUN)
    assert [metric.metric_name for metric in strict.failing_metrics] == ["output.citation_count", "output.latency_ms"]
    assert usual.failing_metrics == []


def test_a_late_answer_is_worse_than_an_empty_retrieval(store: Store) -> None:
    slow = stage(1, 1, "output", 0, 33_046.0, attributes={"citations": ["a"]})
    save(store, assembly([slow, stage(1, 2, "retrieval", attributes={"doc_ids": []})]))
    failing = debug_report(store, RUN).failing_metrics
    assert [(metric.metric_name, metric.distance) for metric in failing] == [
        ("output.latency_ms", 10.0153),
        ("retrieval.result_count", 1.0),
    ]


def test_required_stages_and_lost_evidence_are_told(store: Store) -> None:
    lost = Finding(tid(1), 0, RUN, "attributes_dropped", "warning", "The SDK dropped 3 attributes.", "t1-s1")
    save(store, assembly([stage(1, 1, "output", attributes={"citations": ["a"]})], findings=[lost]))
    found = {(problem.kind, problem.subject): problem for problem in debug_report(store, RUN).findings}
    assert found["missing_stage", "retrieval"].headline == "1 of 1 trace lack the stage `retrieval`."
    assert traces_of(found["evidence_lost", "attributes_dropped"].examples) == {1}


def test_text_from_outside_breaks_neither_a_table_nor_the_page(store: Store) -> None:
    bad = "a|b\n# head `tick` <script>alert(1)</script> [x](javascript:y)"
    failed = stage(1, 1, "output", status="error", error_type=bad, error_message=bad, error_fingerprint="f")
    save(store, assembly([failed], [use(1, 1, "prompt", bad, "1")], run_name=bad, dataset=bad, service=bad))
    text = to_markdown(debug_report(store, RUN))
    outside_code = "".join(part for line in text.splitlines() for part in line.split("`")[::2])
    assert "<script>" not in outside_code
    assert "\n# head" not in text
    assert "](javascript" not in outside_code.replace("\\]", "")
    rows = [line for line in text.splitlines() if line.startswith("| prompt ")]
    assert [row.replace("\\|", "").count("|") for row in rows] == [6]


def test_versions_side_by_side_are_told_apart_from_a_switch(store: Store) -> None:
    for trace in range(1, 21):
        slow = 20.0 if trace % 2 else 10.0
        stages = [stage(trace, 1, "prompt", trace, slow), stage(trace, 2, "output", trace + 30, 500.0)]
        save(store, assembly(stages, [use(trace, 1, "prompt", "answer", str(1 + trace % 2))]))
    report = debug_report(store, RUN)
    found = {problem.kind: problem for problem in report.findings}
    assert found["asset_change"].headline == (
        "The prompt `answer` was used in version 2 and version 1 side by side: `prompt.latency_ms` fell from 20 ms to "
        "10 ms (better)."
    )
    assert report.assets.changes[0].pattern == "mixed"


def test_a_slower_stage_harms_as_far_as_traces_wait_for_it(store: Store) -> None:
    for trace in range(1, 21):
        stages = [
            stage(trace, 1, "prompt", trace, 1.0 if trace <= 10 else 2.0),
            stage(trace, 2, "output", trace + 5, 500.0),
        ]
        save(store, assembly(stages, [use(trace, 1, "prompt", "answer", "1" if trace <= 10 else "2")]))
    (change,) = (problem for problem in debug_report(store, RUN).findings if problem.kind == "asset_change")
    assert "`prompt.latency_ms` rose from 1 ms to 2 ms (worse)" in change.headline
    assert 0 < change.impact < 0.01


def test_citations_of_documents_that_were_never_retrieved(store: Store) -> None:
    made_up = {"output.citation_coverage": 0.5, "output.citation_count": 2.0}
    save(
        store,
        *(
            assembly([stage(n, 1, "output", n, metrics=made_up if n == 2 else {"output.citation_coverage": 1.0})])
            for n in (1, 2)
        ),
    )
    (problem,) = (problem for problem in debug_report(store, RUN).findings if problem.kind == "citation")
    assert problem.headline == "`output` cites documents that were never retrieved in 1 of 2 answers with citations."
    assert traces_of(problem.examples) == {2}


def _run_of(store: Store, run_id: str, begin: int, *used: tuple[str, str, str | None, str | None]) -> None:
    stages = [stage(begin, 1, "output", begin * 1000, run_id=run_id)]
    uses = [
        use(begin, 1, kind, name, version, digest=digest, run_id=run_id, ordinal=n, used_ns=at(begin * 1000 + n))
        for n, (kind, name, version, digest) in enumerate(used)
    ]
    save(store, assembly(stages, uses))


def test_drift_since_the_run_before_and_edits_without_a_version(store: Store) -> None:
    same = ("index", "docs", "7", "x")
    _run_of(store, "older", 1, ("prompt", "answer", "9", "z"))
    _run_of(
        store,
        "before",
        2,
        ("prompt", "answer", "1", "a"),
        ("policy", "tone", "4", "p"),
        same,
        ("tool", "gone", None, None),
    )
    _run_of(
        store,
        "now",
        3,
        *[("prompt", "answer", "2", "b"), ("prompt", "answer", "2", "c"), ("policy", "tone", "4", "q"), same],
        ("query", "new", "1", None),
    )
    found = debug_report(store, "now")
    assert found.assets.run_before == "before"
    assert [
        (change.kind, change.name, change.what, change.version, change.before, change.after)
        for change in found.assets.since_run_before
    ] == [
        ("policy", "tone", "digest", "4", ["p"], ["q"]),
        ("prompt", "answer", "version", None, ["1"], ["2"]),
    ]
    assert [(item.name, [(edit.version, edit.digests) for edit in item.edits]) for item in found.assets.edits] == [
        ("answer", [("2", ["b", "c"])])
    ]
    text = to_markdown(found)
    assert "Since run `before`: prompt `answer` 1 → 2." in text
    assert "Since run `before`: policy `tone` 4 was edited without a new version." in text
    assert "Edited without a new version: prompt `answer` 2 has 2 digests." in text
    assert "1 of 1 stage expected to use assets did (100 %)." in text
    assert debug_report(store, "older").assets.run_before is None


def test_completeness_goes_by_what_is_expected(store: Store) -> None:
    save(store, *planted_run())
    options = ReportOptions(expected={"rerank": ("model",), "output": ("prompt",)})
    assert debug_report(store, RUN, options).assets.completeness.rate == 0.5
    nothing = debug_report(store, RUN, ReportOptions(expected={}))
    assert nothing.assets.completeness.rate is None
    assert "expected to use assets" not in to_markdown(nothing)
