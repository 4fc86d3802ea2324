"""Rate limits: two token buckets per key, a debt for what is larger than a bucket, and a mean rate that holds."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.errors import RateLimited
from evalvault_otel.server.rates import RateLimits
from evalvault_otel.settings import Settings
from tests.support.strategies import bounded


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def admitted(limits: RateLimits, count: int, name: str = "ci", size: int = 0) -> int:
    """How many of `count` requests are let in at once."""
    found = 0
    for _ in range(count):
        try:
            limits.admit(name)
        except RateLimited:
            continue
        limits.charge(name, size)
        found += 1
    return found


def test_by_default_there_is_no_limit() -> None:
    assert admitted(RateLimits.of(Settings()), 10_000, size=1 << 30) == 10_000


def test_requests_of_one_second_at_once_then_at_the_rate() -> None:
    clock = Clock()
    limits = RateLimits(10, 0, clock)

    assert admitted(limits, 100) == 10
    clock.now += 0.35
    assert admitted(limits, 100) == 3
    clock.now += 3600
    assert admitted(limits, 100) == 10


def test_a_rate_below_one_lets_one_in() -> None:
    clock = Clock()
    limits = RateLimits(0.5, 0, clock)

    assert admitted(limits, 3) == 1
    clock.now += 1.9
    assert admitted(limits, 3) == 0
    clock.now += 0.2
    assert admitted(limits, 3) == 1


def test_a_request_larger_than_the_bucket_is_let_in_and_paid_for() -> None:
    clock = Clock()
    limits = RateLimits(0, 1000, clock)

    assert admitted(limits, 1, size=5000) == 1
    clock.now += 3.9
    assert admitted(limits, 1) == 0
    clock.now += 0.2
    assert admitted(limits, 1) == 1


def test_keys_do_not_share_and_nothing_is_taken_from_the_refused() -> None:
    clock = Clock()
    limits = RateLimits(2, 100, clock)

    assert admitted(limits, 5, "a", size=1) == 2
    assert admitted(limits, 5, "b", size=100) == 1
    clock.now += 0.5
    assert (admitted(limits, 5, "a"), admitted(limits, 5, "b")) == (1, 2)


def test_the_refusal_names_the_limit() -> None:
    limits = RateLimits.of(Settings(rate_requests=3, rate_bytes=1e6))
    admitted(limits, 3)

    with pytest.raises(RateLimited, match="more than 3 requests per second") as caught:
        limits.admit("ci")
    assert caught.value.retryable
    limits.admit("other")
    limits.charge("other", 2_000_000)
    with pytest.raises(RateLimited, match=r"more than 1e\+06 bytes per second|1000000 bytes"):
        limits.admit("other")


@settings(bounded, max_examples=100)
@given(st.floats(0.1, 100), st.lists(st.tuples(st.floats(0, 2), st.integers(0, 5), st.integers(0, 500)), max_size=40))
def test_the_mean_rate_holds_whatever_comes(rate: float, steps: list[tuple[float, int, int]]) -> None:
    clock = Clock()
    by_requests, by_bytes = RateLimits(rate, 0, clock), RateLimits(0, rate, clock)
    requests = size = largest = 0
    for pause, count, each in steps:
        clock.now += pause
        requests += admitted(by_requests, count)
        size += each * admitted(by_bytes, count, size=each)
        largest = max(largest, each)

    passed = clock.now - 100.0
    assert requests <= max(rate, 1) + rate * passed + 1e-6
    assert size <= max(rate, 1) + rate * passed + largest + 1e-6


def test_a_clock_that_goes_back_takes_nothing() -> None:
    clock = Clock()
    limits = RateLimits(1, 0, clock)
    clock.now -= 50

    assert admitted(limits, 3) == 1


def test_many_threads_get_no_more_than_one() -> None:
    limits = RateLimits(50, 0, Clock())
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(admitted(limits, 100))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 50
