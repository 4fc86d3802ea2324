"""Warnings that repeat, said at most once a minute: a log that grows with the load would be a harm of its own."""

import logging
import time
from typing import Final

PAUSE_S: Final = 60.0


class Seldom:
    """Remembers when something was last said. `told` is room for what was said, by topic."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self.told: dict[str, int] = {}

    def warn(self, log: logging.Logger, topic: str, message: str, *args: object) -> bool:
        """Log a warning, unless there was one about the topic within the last minute; whether it was logged."""
        now = time.monotonic()
        if now - self._last.get(topic, -PAUSE_S) < PAUSE_S:
            return False
        self._last[topic] = now
        log.warning(message, *args)
        return True
