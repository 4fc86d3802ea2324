import pytest

from evalvault_otel.analysis.figures import count, duration, iso, number, percent, rounded, share
from evalvault_otel.analysis.render import code, sentence, text, waterfall
from evalvault_otel.analysis.report_model import Bar, SlowTracePart


@pytest.mark.parametrize(
    "ms,shown",
    [(0.00042, "0.00042 ms"), (0.429, "0.43 ms"), (9.96, "10 ms"), (218.4, "218 ms"), (1400, "1.4 s"), (33_046, "33 s"),
     (210_000, "3.5 min"), (7_200_000, "2.0 h"), (0, "0 ms")],
)  # fmt: skip
def test_duration(ms: float, shown: str) -> None:
    assert duration(ms) == shown


@pytest.mark.parametrize(
    "value,shown", [(0, "0 %"), (0.0063, "0.63 %"), (0.095, "9.5 %"), (0.38, "38 %"), (2.13, "213 %")]
)
def test_percent(value: float, shown: str) -> None:
    assert percent(value) == shown


@pytest.mark.parametrize("value,shown", [(2.0, "2"), (0.9723, "0.972"), (1234.5, "1234"), (-0.5, "-0.5")])
def test_number(value: float, shown: str) -> None:
    assert number(value) == shown


def test_counts_and_shares() -> None:
    assert [count(1, "trace"), count(12_500, "trace"), count(2, "retry", "retries")] == [
        "1 trace",
        "12,500 traces",
        "2 retries",
    ]
    assert share(1, 3) == 0.333333
    assert share(1, 0) == 0.0


def test_sums_in_another_order_round_to_the_same() -> None:
    parts = [0.1] * 10 + [1e6]
    assert rounded(sum(parts)) == rounded(sum(reversed(parts)))
    assert rounded(None) is None


def test_times_are_iso_8601_in_utc() -> None:
    assert iso(1_767_225_600_123_456_789) == "2026-01-01T00:00:00.123456Z"
    assert iso(-1) == "1969-12-31T23:59:59.999999Z"
    assert iso(None) is None


@pytest.mark.parametrize(
    "given,shown",
    [
        ("system_prompt", "system_prompt"),
        ("_under_ *star*", r"\_under\_ \*star\*"),
        ("a|b\n\nc", r"a\|b c"),
        ("<b>", "&lt;b&gt;"),
        ("[x](y)", r"\[x\](y)"),
    ],
)
def test_text_from_outside_is_escaped(given: str, shown: str) -> None:
    assert text(given) == shown


def test_code_and_sentences() -> None:
    assert code("a`b|c") == "`a'b\\|c`"
    assert sentence("`a_b` has *2* of `x`.") == r"`a_b` has \*2\* of `x`."


def test_a_waterfall_fits_its_width() -> None:
    bars = [
        Bar("workflow", None, "a", 0, 0.0, 100.0, "success"),
        Bar("retrieval", None, "b", 1, 50.0, 25.0, "error"),
        Bar("input", None, "c", 1, 0.0, None, "success"),
        Bar("late", None, "d", 0, 500.0, 1.0, "success"),
        Bar("early", None, "e", 0, -500.0, 1.0, "success"),
    ]
    lines = waterfall(SlowTracePart("t", "a", "ask", 100.0, 1, bars)).splitlines()
    assert lines[0] == f"workflow    |{'█' * 40}| 100 ms"
    assert lines[1] == f"  retrieval |{' ' * 20}{'█' * 10}{' ' * 10}| 25 ms  error"
    assert lines[2] == f"  input     |·{' ' * 39}| derived"
    assert lines[3] == f"late        |{' ' * 39}█| 1 ms"
    assert lines[4] == f"early       |█{' ' * 39}| 1 ms"
