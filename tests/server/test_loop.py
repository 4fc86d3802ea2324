"""The event loop's thread: whatever hangs in it, others get on."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from evalvault_otel.server.loop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    yield made
    made._thread.join(30)
    made._loop.close()


def test_work_that_takes_too_long_is_cancelled_and_the_loop_ends(loop: EventLoop) -> None:
    cancelled = threading.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        loop.run(long(), 0.05)
    assert cancelled.wait(10)
    assert loop.run(asyncio.sleep(0, "done")) == "done"
    loop.close()


def test_a_loop_that_is_stuck_holds_nobody_up(loop: EventLoop) -> None:
    release = threading.Event()

    async def stuck() -> None:
        release.wait(60)

    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        loop.run(stuck(), 0.05)
    loop.close()
    assert time.monotonic() - begun < 30
    release.set()
