"""Durations, self time and critical path on trees worked out by hand, and clocks that are broken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Span, StageEvent
from tests.support.strategies import bounded
from tests.support.traces import at, span, stage

# Stage number -> (duration, self, critical) in ms.
Times = dict[int, tuple[float | None, float | None, float | None]]


def _times(*spans: Span) -> Times:
    return {
        int(item.stage_id, 16): (item.duration_ms, item.self_ms, item.critical_ms) for item in assemble(spans).stages
    }


def _stage(number: int, parent: int, start: float, end: float) -> Span:
    return stage(number, parent, f"type-{number}", start=start, end=end)


def test_a_stage_alone() -> None:
    assert _times(_stage(1, 0, 0, 100)) == {1: (100, 100, 100)}


def test_children_one_after_the_other_with_gaps() -> None:
    # 1 |----------| 0..100
    # 2  |--|        10..40
    # 3       |--|   60..90
    assert _times(_stage(1, 0, 0, 100), _stage(2, 1, 10, 40), _stage(3, 1, 60, 90)) == {
        1: (100, 40, 40),
        2: (30, 30, 30),
        3: (30, 30, 30),
    }


def test_overlapping_children_count_once_and_the_last_to_end_was_waited_for() -> None:
    # 1 |----------| 0..100
    # 2  |-----|     10..60
    # 3    |-----|   30..80
    assert _times(_stage(1, 0, 0, 100), _stage(2, 1, 10, 60), _stage(3, 1, 30, 80)) == {
        1: (100, 30, 50),
        2: (50, 50, 0),
        3: (50, 50, 50),
    }


def test_a_short_child_within_a_long_one_was_not_waited_for() -> None:
    assert _times(_stage(1, 0, 0, 100), _stage(2, 1, 10, 90), _stage(3, 1, 20, 30)) == {
        1: (100, 20, 20),
        2: (80, 80, 80),
        3: (10, 10, 0),
    }


def test_before_the_last_child_began_the_one_that_ended_then_was_waited_for() -> None:
    # 2: 0..40, 3: 10..35, 4: 45..100
    assert _times(_stage(1, 0, 0, 100), _stage(2, 1, 0, 40), _stage(3, 1, 10, 35), _stage(4, 1, 45, 100)) == {
        1: (100, 5, 5),
        2: (40, 40, 40),
        3: (25, 25, 0),
        4: (55, 55, 55),
    }


def test_the_path_goes_down_through_all_levels() -> None:
    assert _times(_stage(1, 0, 0, 100), _stage(2, 1, 10, 90), _stage(3, 2, 20, 80), _stage(4, 3, 30, 40)) == {
        1: (100, 20, 20),
        2: (80, 20, 20),
        3: (60, 50, 50),
        4: (10, 10, 10),
    }


def test_a_child_that_outlives_its_parent_counts_as_long_as_the_parent_ran() -> None:
    # The asynchronous child 2 goes on to 150; 3 ended within it.
    assert _times(_stage(1, 0, 0, 100), _stage(2, 1, 60, 150), _stage(3, 1, 10, 50)) == {
        1: (100, 20, 20),
        2: (90, 90, 40),
        3: (40, 40, 40),
    }


def test_a_child_that_began_before_its_parent_counts_from_the_parent_on() -> None:
    assert _times(_stage(1, 0, 50, 100), _stage(2, 1, 20, 80)) == {1: (50, 20, 20), 2: (60, 60, 30)}


def test_a_child_that_ran_after_its_parent_takes_nothing_from_it() -> None:
    assert _times(_stage(1, 0, 0, 50), _stage(2, 1, 60, 90)) == {1: (50, 50, 50), 2: (30, 30, 0)}


def test_stages_side_by_side_without_a_stage_above() -> None:
    spans = [span(1, start=0, end=100), _stage(2, 1, 0, 60), _stage(3, 1, 40, 100)]

    assert _times(*spans) == {2: (60, 60, 0), 3: (60, 60, 60)}


def test_structural_spans_leave_their_time_to_the_stage_above() -> None:
    spans = [_stage(1, 0, 0, 100), span(2, 1, start=10, end=90), _stage(3, 2, 20, 30)]

    assert _times(*spans) == {1: (100, 90, 90), 3: (10, 10, 10)}


def test_a_stage_of_no_length() -> None:
    assert _times(_stage(1, 0, 0, 10), _stage(2, 1, 5, 5)) == {1: (10, 10, 10), 2: (0, 0, 0)}


# Broken clocks.


def _broken(start_ns: int, end_ns: int) -> tuple[StageEvent, list[str]]:
    spans = [
        stage(1, 0, "workflow"),
        stage(2, 1, "tool", start_ns=start_ns, end_ns=end_ns),
        stage(3, 2, "rerank", end=40),
    ]
    assembly = assemble(spans)
    times = _times(*spans)
    # The child of the broken stage counts where the broken one would.
    assert (times[1], times[3]) == ((100, 60, 60), (40, 40, 40))
    return next(item for item in assembly.stages if item.stage_type == "tool"), [
        item.code for item in assembly.findings
    ]


@pytest.mark.parametrize(
    "start_ns, end_ns, started_ns",
    [
        (0, 0, None),
        (0, at(50), None),
        (at(10), 0, at(10)),
        (at(50), at(10), at(50)),
        (2**64 - 1, 2**64 - 1, None),
        (at(10), 2**64 - 1, at(10)),
        (2**63, 2**63 + 5, None),
        (2**64 - 1, at(10), None),
    ],
)
def test_with_a_broken_clock_the_duration_is_not_known(start_ns: int, end_ns: int, started_ns: int | None) -> None:
    found, codes = _broken(start_ns, end_ns)

    assert (found.duration_ms, found.self_ms, found.critical_ms) == (None, None, None)
    assert (found.started_ns, found.finished_ns) == (started_ns, None)
    assert codes == ["bad_time"]


def test_times_of_a_trace_without_any_valid_one_are_zero() -> None:
    assembly = assemble([stage(1, 0, "tool", start_ns=0, end_ns=2**64 - 1)])

    assert (assembly.first_ns, assembly.last_ns) == (0, 0)
    assert (assembly.runs[0].started_ns, assembly.runs[0].finished_ns) == (0, 0)


# Any tree.

_moments = st.integers(0, 20)


@settings(bounded, max_examples=200)
@given(st.lists(st.tuples(_moments, _moments), min_size=1, max_size=7), st.data())
def test_every_moment_of_a_trace_is_on_the_path_once(intervals: list[tuple[int, int]], data: st.DataObject) -> None:
    # Given a tree of any shape below a root that spans all of it
    spans = [_stage(1, 0, 0, 20)]
    for number, (one, other) in enumerate(intervals, 2):
        spans.append(_stage(number, data.draw(st.integers(1, number - 1)), min(one, other), max(one, other)))

    times = _times(*spans)

    # Then the shares add up to the whole, and no stage has more of anything than it lasted
    assert sum(critical or 0 for _, _, critical in times.values()) == pytest.approx(20)
    for duration, self_ms, critical in times.values():
        assert duration is not None
        assert self_ms is not None
        assert critical is not None
        assert 0 <= self_ms <= duration
        assert 0 <= critical <= duration
