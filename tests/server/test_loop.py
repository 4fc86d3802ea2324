"""The event loop's thread: whatever hangs in it, others get on."""

import asyncio
import threading
import time

import pytest

from evalvault_otel.server.loop import EventLoop


def test_work_that_takes_too_long_is_left_and_the_loop_ends() -> None:
    loop = EventLoop()

    with pytest.raises(TimeoutError):
        loop.run(asyncio.sleep(60), 0.05)
    assert loop.run(asyncio.sleep(0, "done")) == "done"
    loop.close()


def test_a_loop_that_is_stuck_holds_nobody_up() -> None:
    loop, release = EventLoop(), threading.Event()

    async def stuck() -> None:
        release.wait(30)

    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        loop.run(stuck(), 0.05)
    loop.close()
    assert time.monotonic() - begun < 20
    release.set()
