"""Answers that add up a whole run, kept until the run changes.

A run carries a number that every transaction replaces which changes something derived from its traces (`runs`). An
answer is kept under the number that was read before its rows. So it is never older than the question: whoever asks
after a commit finds another number, whichever process committed.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

Rows = list[dict[str, Any]]

_MOST_ANSWERS: Final = 512
# Answers are a few rows per stage type, metric or asset. What is longer is not worth its memory.
_MOST_ROWS: Final = 2_000


class KeptAnswers:
    """Rows by question, the ones asked for last. Safe for threads; rows that it gives out are not to be changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[object, tuple[int, Rows]] = OrderedDict()
        self._asking: dict[object, threading.Lock] = {}

    def rows(self, question: object, change: int, read: Callable[[], Rows]) -> Rows:
        """What `read` gives, or gave while the run had the same number.

        Who asks what somebody else is just being answered waits for that answer.
        """
        with self._lock:
            asking = self._asking.setdefault(question, threading.Lock())
        try:
            with asking:
                kept = self._find(question, change)
                if kept is None:
                    kept = read()
                    self._keep(question, change, kept)
                return kept
        finally:
            with self._lock:
                self._asking.pop(question, None)

    def _find(self, question: object, change: int) -> Rows | None:
        with self._lock:
            number, found = self._answers.get(question, (None, None))
            if number != change:
                return None
            self._answers.move_to_end(question)
            return found

    def _keep(self, question: object, change: int, answer: Rows) -> None:
        with self._lock:
            self._answers.pop(question, None)
            if len(answer) <= _MOST_ROWS:
                self._answers[question] = change, answer
            while len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)
