"""What only a person can change, in the log: said again every minute, not with every request."""

import logging
import threading
import time

_LOG = logging.getLogger(__name__)
_REMIND_S = 60.0
_lock = threading.Lock()
_said: dict[str, float] = {}


def remind(message: str) -> None:
    """Log an error unless the same was logged within the last minute."""
    now = time.monotonic()
    with _lock:
        for old in [text for text, at in _said.items() if now - at >= _REMIND_S]:
            del _said[old]
        if message in _said:
            return
        _said[message] = now
    _LOG.error("%s", message)
