"""Two runs compared: false alarms, what must be found, and what a gate says of it, on every database."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalvault_otel.analysis import resampling
from evalvault_otel.analysis.compare import compare, differences
from evalvault_otel.analysis.compare_model import Comparison
from evalvault_otel.analysis.compare_render import to_markdown
from evalvault_otel.analysis.gate import Gate, MetricRule, example, load_gate, reasons
from evalvault_otel.errors import InvalidInput, NotFound, SettingsError
from evalvault_otel.model import Assembly
from evalvault_otel.store import Store
from evalvault_otel.store.comparing import Part
from evalvault_otel.store.records import StageFilter
from tests.support.stages import assembly, save, stage, use

_ANY = StageFilter()
_Draw = Callable[[random.Random], float]
_SHAPES: dict[str, _Draw] = {
    "retrieval.latency_ms": lambda chance: chance.lognormvariate(3, 0.8),
    "output.latency_ms": lambda chance: chance.lognormvariate(6, 0.4),
    "retrieval.result_count": lambda chance: float(chance.randrange(6)),
    "retrieval.recall_at_k": lambda chance: chance.choice([0.0, 0.5, 1.0, 1.0]),
    "output.error_rate": lambda chance: float(chance.random() < 0.1),
    "output.citation_count": lambda chance: float(chance.randrange(1, 4)),
}


def _values(chance: random.Random, units: int) -> dict[str, dict[str, float]]:
    return {name: {f"{unit:04d}": draw(chance) for unit in range(units)} for name, draw in _SHAPES.items()}


# Statistics.


@pytest.mark.parametrize("paired", [False, True])
def test_equal_runs_are_seldom_told_apart(paired: bool) -> None:
    """A comparison of two equal, noisy runs is a false alarm in at most one of twenty cases (Holm over all metrics)."""
    chance, comparisons = random.Random(1), 120  # noqa: S311 - the same each time
    alarms = 0
    for _ in range(comparisons):
        found = differences(_values(chance, 25), _values(chance, 25), paired=paired)
        alarms += any(metric.verdict not in {"same", "not enough data"} for metric in found)

    # Two standard deviations above 5 %: 120 comparisons are a sample themselves.
    assert alarms <= comparisons * 0.05 + 2 * (comparisons * 0.05 * 0.95) ** 0.5


def test_what_moved_is_found_and_nothing_else() -> None:
    chance = random.Random(2)  # noqa: S311 - the same each time
    found = 0
    for _ in range(20):
        before, after = _values(chance, 60), _values(chance, 60)
        after["output.latency_ms"] = {unit: 1.4 * value for unit, value in after["output.latency_ms"].items()}
        after["output.citation_count"] = {unit: value - 0.9 for unit, value in after["output.citation_count"].items()}
        worse = {metric.metric_name for metric in differences(before, after, paired=False) if metric.verdict == "worse"}
        found += {"output.latency_ms", "output.citation_count"} <= worse

    assert found >= 18


def test_pairs_show_what_distributions_hide() -> None:
    chance = random.Random(3)  # noqa: S311 - the same each time
    before = {"output.latency_ms": {f"{unit}": chance.lognormvariate(6, 1.0) for unit in range(30)}}
    after = {"output.latency_ms": {unit: 1.2 * ms for unit, ms in before["output.latency_ms"].items()}}

    (apart,), (paired,) = (differences(before, after, paired=one)[:1] for one in (False, True))
    assert (apart.verdict, paired.verdict) == ("same", "worse")
    assert paired.low is not None
    assert paired.low > 0


def test_a_slow_tail_is_found_where_the_mean_is_not_sure() -> None:
    chance = random.Random(4)  # noqa: S311 - the same each time
    before = {"rerank.latency_ms": {f"{unit}": chance.gauss(100, 5) for unit in range(200)}}
    after = {"rerank.latency_ms": {f"{unit}": chance.gauss(100, 5) + 400 * (unit % 12 == 0) for unit in range(200)}}
    verdicts = {metric.metric_name: metric.verdict for metric in differences(before, after, paired=False)}

    assert verdicts["rerank.latency_ms p95"] == "worse"


def test_the_interval_is_that_of_a_bootstrap_without_groups() -> None:
    chance = random.Random(5)  # noqa: S311 - the same each time
    before, after = ([chance.lognormvariate(1, 1) for _ in range(400)] for _ in range(2))
    found = resampling.of_means(before, after)
    drawn = sorted(
        sum(chance.choices(after, k=400)) / 400 - sum(chance.choices(before, k=400)) / 400 for _ in range(2_000)
    )
    assert found is not None
    width = drawn[1949] - drawn[50]
    assert found.low == pytest.approx(drawn[50], abs=0.2 * width)
    assert found.high == pytest.approx(drawn[1949], abs=0.2 * width)


@pytest.mark.parametrize("t, freedom, expected", [(2.086, 20, 0.05), (12.706, 1, 0.05), (2.576, 1e6, 0.01), (0, 5, 1)])
def test_students_t(t: float, freedom: float, expected: float) -> None:
    assert resampling._probability(t, 1, freedom) == pytest.approx(expected, rel=2e-3)


def test_holm_keeps_what_holds_among_many() -> None:
    assert resampling.holm({"a": 0.012, "b": 0.02, "c": 0.3}) == {"a", "b"}
    assert resampling.holm({"a": 0.03, "b": 0.03, "c": 0.03}) == set()
    assert resampling.holm({}) == set()


def test_few_units_prove_nothing() -> None:
    few = {"output.latency_ms": {f"{unit}": float(unit) for unit in range(4)}}
    (found,) = differences(few, few, paired=False)
    assert (found.verdict, found.low, found.high) == ("not enough data", None, None)


# Runs in a store.


def run_of(  # noqa: PLR0913 - a run and what is wrong with it
    run_id: str, first: int, *, slower: float = 1.0, prompt: str = "1", broken: int = 0, cases: bool = True
) -> list[Assembly]:
    chance = random.Random(first)  # noqa: S311 - the same each time
    made = []
    for number in range(30):
        trace, start = first + number, 1000.0 * number
        about = {"test_case_id": f"tc-{number}"} if cases else {}
        said: dict[str, Any] = {"run_id": run_id, "metadata": about}
        failed = {"status": "error", "error_type": "E"} if number < broken else {}
        ms = chance.gauss(200, 10) * slower
        retrieval = stage(trace, 1, "retrieval", start, 20, attributes={"doc_ids": ["a", "b"]}, **said)
        output = stage(trace, 2, "output", start + 20, ms, attributes={"citations": ["a"]}, **failed, **said)
        more = [stage(trace, 3, "rerank", start + 10, 5, **said)] if prompt != "1" else []
        uses = [
            use(trace, 2, "prompt", "answer", prompt, run_id=run_id),
            use(trace, 1, "index", "docs", "7", run_id=run_id),
        ]
        made.append(assembly([retrieval, output, *more], uses))
    return made


@pytest.fixture
def runs(store: Store) -> Store:
    """`a` and `b` are alike; `c` is slower, has another prompt, one stage more, and three broken cases."""
    save(
        store,
        *run_of("a", 100),
        *run_of("b", 200),
        *run_of("c", 300, slower=1.3, prompt="2", broken=3),
        *run_of("d", 400, cases=False),
    )
    return store


def _compared(store: Store, baseline: str, candidate: str) -> Comparison:
    return compare(store, Part(baseline), Part(candidate))


def test_alike_runs_are_the_same(runs: Store) -> None:
    found = _compared(runs, "a", "b")
    assert (found.verdict, found.aligned, found.cases, found.stages, found.assets) == ("same", True, [], [], [])
    assert found.sentence.startswith("No difference that holds")
    assert (found.baseline.traces, found.candidate.test_cases) == (30, 30)


def test_what_changed_is_said(runs: Store) -> None:
    found = _compared(runs, "a", "c")
    verdicts = {metric.metric_name: metric.verdict for metric in found.metrics}

    assert found.verdict == "worse"
    assert (verdicts["output.latency_ms"], verdicts["retrieval.latency_ms"]) == ("worse", "same")
    assert [(item.stage_type, item.what) for item in found.stages] == [("rerank", "added")]
    assert (found.cases_broken, [case.test_case for case in found.cases]) == (3, ["tc-0", "tc-1", "tc-2"])
    (asset,) = found.assets
    assert (asset.change.name, asset.change.before, asset.change.after) == ("answer", ["1"], ["2"])
    assert "output.latency_ms" in asset.moved
    assert "retrieval.latency_ms" not in asset.moved
    assert "3 test cases that worked before fail" in found.sentence


def test_without_common_cases_traces_are_compared(runs: Store) -> None:
    found = _compared(runs, "a", "d")
    assert (found.aligned, found.verdict) == (False, "same")


def test_two_times_of_one_run(runs: Store) -> None:
    half = next(iter(runs.stages("a", _ANY, 1).items)).started_ns
    assert half is not None
    middle = half + 15_000_000_000
    found = compare(runs, Part("a", until_ns=middle), Part("a", since_ns=middle))
    assert (found.baseline.traces, found.candidate.traces, found.verdict) == (15, 15, "same")


def test_an_asset_that_changed_within_a_run_is_seen_between_its_parts(store: Store) -> None:
    early, late = run_of("one", 100)[:10], run_of("one", 100, prompt="2")[10:]
    save(store, *early, *late)
    middle = late[0].first_ns
    found = compare(store, Part("one", until_ns=middle), Part("one", since_ns=middle))

    assert [(item.change.before, item.change.after) for item in found.assets] == [(["1"], ["2"])]
    # A stage that begins when the part ends belongs to its trace all the same.
    units = {metric.metric_name: (metric.units_before, metric.units_after) for metric in found.metrics}
    assert units["output.latency_ms"] == units["retrieval.latency_ms"] == (10, 20)


def test_the_same_data_gives_the_same_bytes(runs: Store) -> None:
    assert to_markdown(_compared(runs, "a", "c")) == to_markdown(_compared(runs, "a", "c"))


def test_unknown_runs_and_empty_times(runs: Store) -> None:
    with pytest.raises(NotFound, match="nobody"):
        _compared(runs, "a", "nobody")
    with pytest.raises(InvalidInput, match="the candidate b has no trace in that time"):
        compare(runs, Part("a"), Part("b", since_ns=2**62))


# Gates.


def test_gates(runs: Store) -> None:
    good, bad = _compared(runs, "a", "b"), _compared(runs, "a", "c")
    slow, broken = "`output.latency_ms` got worse", "3 test cases that worked before fail: `tc-0`, `tc-1`, `tc-2`"

    assert reasons(Gate(), good) == []
    assert any(reason.startswith(slow) for reason in reasons(Gate(), bad))
    assert broken in reasons(Gate(), bad)
    tolerant: dict[str, Any] = {"fail_on_worse": False, "fail_on_broken_cases": False}
    assert reasons(Gate(**tolerant), bad) == []
    for gate, said in (
        (
            Gate(metrics={"output.latency_ms": MetricRule(max_increase=0.2)}),
            "rose by 29 % to 259, at most 20 % is allowed",
        ),
        (Gate(metrics={"output.latency_ms": MetricRule(max=100)}), "at most 100 is wanted"),
        (Gate(metrics={"retrieval.result_count": MetricRule(min=3)}), "at least 3 is wanted"),
        (Gate(metrics={"nothing.*": MetricRule(max=1)}), "no metric fits `nothing.*`"),
        (Gate(min_traces=31), "has 30 traces, 31 are needed"),
        (Gate(required_stages=("prompt",)), "no stage of type `prompt`"),
        (Gate(frozen_assets=("prompt/*",)), "asset `prompt/answer` changed"),
    ):
        found = reasons(Gate(**{**{name: getattr(gate, name) for name in gate.__slots__}, **tolerant}), bad)
        assert any(said in reason for reason in found), (said, found)


def test_the_example_is_a_gate(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(example())
    gate = load_gate(path)
    assert gate.metrics["trace.latency_ms"].max_increase == 0.2
    assert gate.required_stages == ("retrieval", "output")


@pytest.mark.parametrize(
    "text, named",
    [
        ("- a", "the file must be a mapping"),
        ("max_wrose: 1", "nobody knows 'max_wrose'"),
        ("version: 2", "version 2 is not known"),
        ("ignore: all", "ignore must be a list"),
        ("min_traces: many", "min_traces must be a whole number"),
        ("metrics: {a: {max_increase: lots}}", "metrics.a.max_increase must be a number"),
        ("metrics: {a: {maximum: 1}}", "metrics.a: nobody knows 'maximum'"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_gate_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=named.replace("[", "\\[")):
        load_gate(path)
