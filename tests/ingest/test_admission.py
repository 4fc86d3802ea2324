"""How much of what clients send may be in memory at once."""

from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from prometheus_client import CollectorRegistry

from evalvault_otel.errors import Overloaded
from evalvault_otel.ingest import Admission, IngestTelemetry

LIMIT = 100_000


class Door:
    """An admission and the figure that it shows."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.registry = CollectorRegistry()
        self.admission = Admission(limit, IngestTelemetry(self.registry))

    @property
    def held(self) -> float | None:
        return self.registry.get_sample_value("evalvault_waiting_bytes")


def test_beyond_the_bound_requests_are_refused_until_there_is_room() -> None:
    door = Door()
    first = door.admission.enter(60_000)
    with pytest.raises(Overloaded, match="60000 bytes are waiting"):
        door.admission.enter(40_001)
    second = door.admission.enter(40_000)
    assert door.held == 100_000

    first.leave()
    third = door.admission.enter(60_000)
    second.leave()
    third.leave()
    third.leave()
    assert door.held == 0


def test_a_single_request_always_fits_when_nothing_waits() -> None:
    door = Door()
    room = door.admission.enter()
    room.fit(5 * LIMIT)
    room.fit(6 * LIMIT)
    with pytest.raises(Overloaded):
        door.admission.enter()


def test_a_request_that_grows_too_large_beside_others_gives_back_what_it_held() -> None:
    door = Door()
    other = door.admission.enter(50_000)
    room = door.admission.enter(30_000)
    with pytest.raises(Overloaded):
        room.fit(60_000)
    assert door.held == 80_000
    room.leave()
    assert door.held == 50_000
    other.leave()


def test_small_requests_count_for_more_than_their_bytes() -> None:
    door = Door()
    for _ in range(24):
        door.admission.enter(1)
    with pytest.raises(Overloaded):
        door.admission.enter(1)


def test_many_threads_never_hold_more_than_the_bound() -> None:
    door = Door()

    def use(seed: int) -> int:
        random, refused = Random(seed), 0  # noqa: S311 - any sequence will do
        for _ in range(300):
            try:
                room = door.admission.enter(random.randrange(60_000))
            except Overloaded:
                refused += 1
                continue
            assert (door.held or 0) <= LIMIT
            room.leave()
        return refused

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))

    assert door.held == 0
