from pathlib import Path

import orjson
import pytest

from evalvault_otel.analysis.thresholds import fitting, load_limits
from evalvault_otel.errors import SettingsError
from evalvault_otel.store.records import Limit, MetricStats


def write(path: Path, document: object) -> Path:
    path.write_bytes(orjson.dumps(document))
    return path


def stats(name: str, low: float, high: float) -> MetricStats:
    return MetricStats(name, 3, low, low, high, low, high, high, 0)


def test_defaults_know_their_direction() -> None:
    limits = load_limits()
    assert limits["retrieval.recall_at_k"] == Limit("retrieval.recall_at_k", 0.6)
    assert limits["output.latency_ms"] == Limit("output.latency_ms", 3000.0, at_most=True)
    assert len(limits) == 12


def test_a_profile_overlays_the_defaults() -> None:
    assert load_limits("prod")["output.latency_ms"].bound == 2000.0
    assert load_limits("prod")["retrieval.recall_at_k"] == load_limits()["retrieval.recall_at_k"]


def test_a_file_overlays_the_package_and_may_turn_the_direction(tmp_path: Path) -> None:
    said = {"output.latency_ms": 10, "retrieval.score_gap": {"value": 0.5, "comparison": "max"}, "custom.x": 1}
    limits = load_limits(overlay=write(tmp_path / "t.json", said))
    assert limits["output.latency_ms"] == Limit("output.latency_ms", 10.0, at_most=True)
    assert limits["retrieval.score_gap"] == Limit("retrieval.score_gap", 0.5, at_most=True)
    assert limits["custom.x"] == Limit("custom.x", 1.0)
    assert limits["rerank.keep_rate"].bound == 0.25


def test_a_file_may_bring_profiles_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "t.json", {"default": {"a.b": 1}, "profiles": {"night": {"a.b": 2}}})
    assert load_limits("night", path)["a.b"].bound == 2.0
    assert load_limits("prod", path)["a.b"].bound == 1.0


@pytest.mark.parametrize(
    "document,message",
    [
        ({"a.b": "high"}, "threshold of a.b: 'high'"),
        ({"a.b": True}, "threshold of a.b: True"),
        ({"a.b": {"value": 1, "comparison": "about"}}, "comparison 'about' is neither min nor max"),
        ({"a.b": {"comparison": "max"}}, "threshold of a.b"),
        ([1], "not a JSON object of thresholds"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_limits(overlay=write(tmp_path / "t.json", document))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_limits(overlay=tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(SettingsError, match="not a JSON object"):
        load_limits(overlay=tmp_path / "bad.json")


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="no thresholds profile 'staging': use one of dev, prod"):
        load_limits("staging")


@pytest.mark.parametrize(
    "average,gap,applies",
    [
        ((0.2, 0.9), (0.0, 0.7), True),
        ((3.0, 18.5), (1.0, 9.0), False),
        ((0.2, 0.9), (0.0, 1.7), False),
        ((0.016, 0.033), (0.001, 0.01), False),
        ((-0.5, 0.9), (0.0, 0.4), False),
    ],
    ids=["cosine", "bm25", "gap above 1", "rank fusion", "negative"],
)
def test_limits_for_scores_apply_only_on_a_scale_from_0_to_1(
    average: tuple[float, float], gap: tuple[float, float], applies: bool
) -> None:
    seen = [stats("retrieval.avg_score", *average), stats("retrieval.score_gap", *gap)]
    kept = fitting(load_limits(), seen)
    assert ("retrieval.avg_score" in kept) == applies
    assert ("retrieval.score_gap" in kept) == applies
    assert "rerank.avg_score" not in kept, "no scores of that type were seen"
    assert "retrieval.recall_at_k" in kept
