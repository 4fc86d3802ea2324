"""Nothing of ours raises in the program, everything is counted, and tests can have it raised."""

import logging
from collections.abc import Iterator

import pytest

from evalvault_otel.sdk import guard


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    before = guard.strict(enabled=False)
    guard.forget()
    yield
    guard.forget()
    guard.strict(enabled=before)


@guard.guarded
def _divide(one: int, other: int) -> float:
    return one / other


def test_an_error_of_ours_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "evalvault_otel.sdk"):
        results = [_divide(1, 0), _divide(1, 0), _divide(4, 2)]

    assert results == [None, None, 2.0]
    assert guard.problems() == {"_divide: ZeroDivisionError": 2}
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info


def test_wrong_use_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "evalvault_otel.sdk"):
        guard.wrong("a cause", "100% wrong")
        guard.wrong("a cause", "100% wrong")

    assert guard.problems() == {"a cause": 2}
    assert [record.getMessage() for record in caplog.records] == ["100% wrong (said once; counted as 'a cause')"]


def test_in_strict_mode_both_raise() -> None:
    guard.strict()

    with pytest.raises(ZeroDivisionError):
        _divide(1, 0)
    with pytest.raises(guard.WrongUse, match="wrong"):
        guard.wrong("a cause", "wrong")
    assert guard.problems() == {}


def test_the_end_of_the_program_is_not_held_up() -> None:
    @guard.guarded
    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()


def test_causes_are_bounded() -> None:
    for number in range(1500):
        guard.note(f"cause {number}", "something")

    assert len(guard.problems()) == 1001
    assert sum(guard.problems().values()) == 1500
