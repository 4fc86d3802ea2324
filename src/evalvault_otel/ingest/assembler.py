"""The background assembler: traces that came in pieces, late roots, late run ids.

It asks the store for marked traces whose pause is over and assembles each in a transaction of its own, so several
processes can do this on one database.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Sequence

from ..assembly import assemble
from ..errors import Unavailable
from ..model import Assembly, LogEvent, Span
from ..store import Store
from ..store.base import Assemble
from .telemetry import IngestTelemetry

_LOG = logging.getLogger(__name__)
_IDLE_S = 0.1
_AWAY_S = 1.0
_BATCH = 200
# A trace that another process has taken says that others walk through the same list: go on somewhere else in it, and
# after some of those ask for a new one. Without this, every process tries every trace.
_MOST_MISSES = 8
# A trace that our own defect keeps from being assembled is tried again, ever more rarely.
_FIRST_RETRY_NS = 10_000_000_000
_LAST_RETRY_NS = 3_600_000_000_000


class Assembler:
    """Start it, stop it; everything it does can be done again."""

    def __init__(self, store: Store, telemetry: IngestTelemetry, assemble: Assemble = assemble) -> None:
        self._assemble_spans = assemble
        self._store = store
        self._telemetry = telemetry
        self._stop = threading.Event()
        self._failed: dict[str, tuple[int, int]] = {}
        self._thread = threading.Thread(target=self._run, name="evalvault-assembler", daemon=True)

    def start(self) -> None:
        """Begin to assemble."""
        self._thread.start()

    def stop(self, patience_s: float | None = None) -> None:
        """Return when the trace at hand is finished: after `patience_s` seconds in any case."""
        self._stop.set()
        self._thread.join(patience_s)

    def _run(self) -> None:
        waiting = False
        while not self._stop.is_set():
            try:
                done = self.step(time.time_ns())
            except Unavailable as exc:
                if not waiting:
                    _LOG.warning("assembly waits for storage: %s", exc)
                waiting = True
                self._stop.wait(_AWAY_S)
            else:
                waiting = False
                if not done:
                    self._stop.wait(_IDLE_S)

    def step(self, now_ns: int) -> int:
        """Assemble the traces that are due at `now_ns`; returns how many were."""
        limit = _BATCH + len(self._failed)
        asked = self._store.due_traces(now_ns, limit)
        if self._failed and len(asked) < limit:
            # Those are all: others that failed were assembled elsewhere, got new spans, or are gone.
            self._failed = {trace_id: self._failed[trace_id] for trace_id in asked if trace_id in self._failed}
        due = deque(trace_id for trace_id in asked if self._failed.get(trace_id, (0, 0))[0] <= now_ns)
        done = misses = 0
        while due and misses < _MOST_MISSES and not self._stop.is_set():
            trace_id = due.popleft()
            if self._assemble(trace_id, now_ns):
                done += 1
            elif due and trace_id not in self._failed:
                misses += 1
                due.rotate(random.randrange(len(due)))  # noqa: S311 - no secret
        return done

    def _assemble(self, trace_id: str, now_ns: int) -> bool:
        made: list[Assembly] = []

        def assemble_spans(spans: Sequence[Span], logs: Sequence[LogEvent]) -> Assembly:
            made.append(self._assemble_spans(spans, logs))
            return made[-1]

        try:
            done = self._store.reassemble(trace_id, assemble_spans, now_ns)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - whatever is wrong with one trace, the others go on
            pause = min(2 * self._failed.get(trace_id, (0, _FIRST_RETRY_NS // 2))[1], _LAST_RETRY_NS)
            self._failed[trace_id] = (now_ns + pause, pause)
            self._telemetry.assembly_errors.inc()
            _LOG.exception("trace %s could not be assembled; next try in %d s", trace_id, pause // 1_000_000_000)
            return False
        self._failed.pop(trace_id, None)
        self._telemetry.assembled.labels("background").inc(done)
        self._telemetry.stages.count(made[-1:] if done else ())
        return done
