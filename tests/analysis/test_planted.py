"""The debug report names planted faults first, and says when nothing is wrong. docs/debug-faults.md is the result."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from evalvault_otel.analysis.render import to_json
from evalvault_otel.store import open_store
from tests.planted.app import RUN, Traffic
from tests.planted.faults import FAULTS, HEALTHY, Fault
from tests.planted.judging import SEEDS, Verdict, all_judged, judged, report_of
from tests.planted.table import PAGE, page, precision, recall

# Other figures of chance than those of the page, so that neither is made to measure.
_OTHER_SEED = 4
# On PostgreSQL one fault per kind of read: where it is at home, drift, loops, parents, checks.
_ON_POSTGRES = (
    "empty retrieval for one tenant",
    "scores drift down over days",
    "retry loop of a failing tool",
    "wrong parent: one that had ended",
    "answers are empty",
    "one slow host",
)


@pytest.fixture(scope="module")
def results() -> tuple[list[Verdict], list[Verdict]]:
    return all_judged()


def _missed(planted: Sequence[Verdict]) -> dict[str, str]:
    return {f"{verdict.name} #{verdict.seed}": verdict.first for verdict in planted if verdict.rank != 1}


def test_every_planted_fault_is_named_first(results: tuple[list[Verdict], list[Verdict]]) -> None:
    planted, _ = results
    assert len(FAULTS) >= 15
    assert len(planted) == len(FAULTS) * len(SEEDS)
    assert _missed(planted) == {}
    assert recall(planted) == 1.0


def test_nothing_stands_out_in_healthy_runs(results: tuple[list[Verdict], list[Verdict]]) -> None:
    planted, healthy = results
    assert len(healthy) == len(HEALTHY) >= 10
    assert {verdict.name: verdict.verdict for verdict in healthy if "Nothing stands out" not in verdict.verdict} == {}
    assert precision(planted, healthy) == 1.0


def test_the_page_shows_these_results(results: tuple[list[Verdict], list[Verdict]]) -> None:
    assert PAGE.read_text() == page(*results), "make it again with `python -m tests.planted`"


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in _ON_POSTGRES], ids=lambda f: f.name)
def test_postgresql_names_them_as_well(fault: Fault, postgres_url: str) -> None:
    verdict = judged(fault, _OTHER_SEED, postgres_url)
    assert verdict.rank == 1, verdict.first


def test_both_databases_say_the_same_bytes(postgres_url: str, tmp_path: Path) -> None:
    fault = next(fault for fault in FAULTS if fault.name == "one slow tenant")
    reports = [
        to_json(report_of(db, fault.plant, Traffic(30), _OTHER_SEED))
        for db in (postgres_url, f"sqlite:///{tmp_path / 'same.db'}")
    ]
    assert reports[0] == reports[1]


def test_a_fault_in_one_run_is_not_told_of_another(tmp_path: Path) -> None:
    """The questions about symptoms are asked of one run."""
    fault = next(fault for fault in FAULTS if fault.name == "retry loop of a failing tool")
    db = f"sqlite:///{tmp_path / 'two.db'}"
    report_of(db, fault.plant, Traffic(20), 1)
    store = open_store(db)
    try:
        assert store.loops(RUN, 5, 3)
        assert store.loops("another", 5, 3) == []
        assert store.checks("another", 3) == []
        assert store.late_children("another", 3) == []
        assert store.windows("another", 0, 10**18) == []
    finally:
        store.close()
