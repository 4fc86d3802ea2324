"""The interpreter on our terms, for processes that make many records."""

import gc
from typing import Final

_THRESHOLD: Final = 500_000


def collect_seldom() -> None:
    """Look for cycles rarely: a request makes a hundred thousand records, hardly any of them part of one."""
    gc.freeze()
    gc.set_threshold(_THRESHOLD, 50, 1000)
