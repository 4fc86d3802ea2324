"""Figures about stages at `/metrics`: the same as if each stage were observed by itself."""

import random
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from evalvault_otel.ingest import stage_figures
from evalvault_otel.ingest.stage_figures import StageTelemetry
from evalvault_otel.model import Assembly
from tests.support.stages import assembly, stage, use


def assemblies(number: int) -> Iterator[Assembly]:
    chance = random.Random(3)  # noqa: S311 - reproducible records, no secret
    for trace in range(1, number + 1):
        stages = [
            stage(trace, 1, "retrieval", 0, chance.expovariate(1 / 300)),
            stage(trace, 2, "output", 10, chance.choice((0.0, 1.0, 2.5, 100.0, 1e6)), status="error"),
            stage(trace, 3, "output", 20, 5, status="skipped"),
            stage(trace, 4, "input", 30, None, derived=True),
            stage(trace, 5, "other", 30, None),
        ]
        uses = [use(trace, 1, "index", "docs")] if trace % 4 else []
        yield assembly(stages, [*uses, use(trace, 5, "tool", "t")])


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def lines(registry: CollectorRegistry, name: str) -> list[str]:
    text = generate_latest(registry).decode()
    return sorted(line for line in text.splitlines() if line.startswith(name) and "_created" not in line)


def test_durations_are_those_that_one_observation_each_would_give(registry: CollectorRegistry) -> None:
    found = list(assemblies(50))
    StageTelemetry(registry, ()).count(found)
    plain = CollectorRegistry()
    histogram = Histogram(
        "evalvault_stage_seconds", "x", ["stage_type"], buckets=stage_figures._BUCKETS, registry=plain
    )
    for item in (item for trace in found for item in trace.stages):
        if item.duration_ms is not None:
            histogram.labels(item.stage_type).observe(item.duration_ms / 1000)
    shown, expected = lines(registry, "evalvault_stage_seconds"), lines(plain, "evalvault_stage_seconds")
    assert len(shown) == 2 * (len(stage_figures._BUCKETS) + 3)
    assert [line.rsplit(" ", 1)[0] for line in shown] == [line.rsplit(" ", 1)[0] for line in expected]
    assert [float(line.rsplit(" ", 1)[1]) for line in shown] == pytest.approx(
        [float(line.rsplit(" ", 1)[1]) for line in expected]
    )


def test_completeness_counts_stages_that_worked(registry: CollectorRegistry) -> None:
    StageTelemetry(registry, ("retrieval", "output", "input")).count(assemblies(40))
    assert lines(registry, "evalvault_stages_") == [
        'evalvault_stages_expecting_assets_total{stage_type="output"} 40.0',
        'evalvault_stages_expecting_assets_total{stage_type="retrieval"} 40.0',
        'evalvault_stages_with_assets_total{stage_type="retrieval"} 30.0',
    ]


def test_types_from_outside_make_a_bounded_number_of_series(registry: CollectorRegistry) -> None:
    telemetry = StageTelemetry(registry, ())
    for n in range(500):
        telemetry.count([assembly([stage(1, 1, f"type-{n}")])])
    counts = lines(registry, "evalvault_stage_seconds_count")
    assert len(counts) == 61
    assert 'evalvault_stage_seconds_count{stage_type="(other)"} 440.0' in counts
    telemetry.count([assembly([stage(1, 1, "type-0")])])
    assert 'evalvault_stage_seconds_count{stage_type="type-0"} 2.0' in lines(registry, "evalvault_stage_seconds_count")
