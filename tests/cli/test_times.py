"""Times and durations as people type them."""

import pytest

from evalvault_otel.cli.times import ago_ns, duration_ns, since_ns, time_ns
from evalvault_otel.errors import InvalidInput
from tests.support.traces import T0_NS

S = 10**9


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("90m", 5400),
        ("12h", 43_200),
        ("30d", 2_592_000),
        (" 2W ", 1_209_600),
        ("0s", 0),
        ("999999999w", 604_799_999_395_200),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert duration_ns(text) == seconds * S


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "1h30m", "30 d", "1y", "٣d", "9999999999d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a duration: use a number with s, m, h, d or w"):
        duration_ns(text)


@pytest.mark.parametrize(
    "text, ns",
    [
        ("2026-01-01", T0_NS),
        ("2026-01-01T00:00:01Z", T0_NS + S),
        ("2026-01-01T01:00:00+01:00", T0_NS),
        ("2026-01-01 00:00:00.5", T0_NS + S // 2),
    ],
)
def test_times(text: str, ns: int) -> None:
    assert time_ns(text) == since_ns(text, 0) == ns


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "01.02.2026"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a date or time"):
        time_ns(text)
    with pytest.raises(InvalidInput, match=r"is not a time: .* 90m"):
        since_ns(text, 0)


def test_how_long_ago() -> None:
    assert ago_ns("1m", T0_NS) == since_ns("1m", T0_NS) == T0_NS - 60 * S
    assert ago_ns("999999999w", T0_NS) == 0
