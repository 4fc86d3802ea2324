"""The SDK that EvalVault planned: `StageTracer` and its parts, for programs that report stages without OpenTelemetry.

StageEvents go to a server's `POST /api/stage/events`, or into a database; the way is the one of spans (`Worker`): in
batches, from a thread of its own, with retries, out of a bounded buffer, flushed at the end of the program. The id of a
stage is made here, so that an event that is sent twice is stored once.
"""

import atexit
import json
import math
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

from . import guard
from .buffer import Counts
from .config import read_settings
from .events_exporter import EventsExporter
from .forks import at_fork
from .run import new_run_id
from .worker import Worker

_OVERHEAD: Final = 100
_current: "ContextVar[StageContext | None]" = ContextVar("evalvault_stage_context", default=None)


class StageContext:
    """A stage that is going on, or was. `attributes` and `metadata` may be filled or replaced until its end.

    `status` is `success` unless it is set, or an exception ends the stage. Times are in UTC, `duration_ms` is measured.
    """

    def __init__(self, run_id: str, stage_type: str, parent_stage_id: str | None) -> None:
        self.run_id = run_id
        self.stage_id = new_stage_id()
        self.stage_type = stage_type
        self.stage_name: str | None = None
        self.parent_stage_id = parent_stage_id
        self.attempt = 1
        self.attributes: Any = {}
        self.metadata: Any = {}
        self.status = "success"
        self.started_at = datetime.now(UTC)
        self.finished_at: datetime | None = None
        self.duration_ms: float | None = None
        self._began = time.perf_counter()

    def finish(self, error: BaseException | None = None) -> None:
        """Take the time; an exception makes the stage an error, and its class and text go into the attributes."""
        self.duration_ms = 1000 * (time.perf_counter() - self._began)
        self.finished_at = datetime.fromtimestamp(self.started_at.timestamp() + self.duration_ms / 1000, UTC)
        if error is not None:
            self.status = "error"
            if isinstance(self.attributes, dict):
                self.attributes = {**self.attributes, "error": f"{type(error).__name__}: {error}"}


class StageTracer:
    """Reports the stages of a run to a server (`api_url`) or into a database (`db`).

    All stages of a tracer are one trace, so make one for each answer; `trace_id` (32 hex digits) joins it to a trace
    that is there. What is not given comes from the environment. Nothing here raises into the program, whatever is
    reported: what is wrong is counted and logged (`evalvault_otel.strict()` makes it raise).

    Raises:
        MissingExtra: `db` is given and the packages of the server are not installed.
        SettingsError: the database cannot be used as it is named.
    """

    def __init__(  # noqa: PLR0913 - one parameter per setting, all but the first by name
        self,
        run_id: str | None = None,
        *,
        api_url: str | None = None,
        db: str | None = None,
        api_key: str | None = None,
        trace_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        max_queue_size: int | None = None,
    ) -> None:
        self.run_id = run_id or new_run_id()
        self.trace_id = trace_id or secrets.token_hex(16)
        self._metadata = dict(metadata or {})
        self._settings = read_settings(api_url=api_url, db=db, api_key=api_key, max_queue_size=max_queue_size)
        self._exporter = EventsExporter(self._settings, api_url, db)
        self._renew()
        self._worker.start()
        at_fork(in_child=self._renew)
        atexit.register(self.shutdown)

    def _renew(self) -> None:
        """A worker of this process; what waited in the parent is the parent's."""
        self._pid = os.getpid()
        self._worker: Worker[bytes] = Worker(self._exporter, self._settings, lambda event: len(event) + _OVERHEAD)

    def record_stage(  # noqa: PLR0913 - the fields of a StageEvent
        self,
        stage_type: str,
        attributes: Mapping[str, Any] | None = None,
        duration_ms: float | None = None,
        *,
        stage_name: str | None = None,
        stage_id: str | None = None,
        parent_stage_id: str | None = None,
        status: str = "success",
        attempt: int = 1,
        started_at: datetime | None = None,
        finished_at: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Report a stage that is over; its id. Without times it ends now; `duration_ms` is in milliseconds."""
        made = stage_id or new_stage_id()
        parent = _current.get()
        if finished_at is None and started_at is None:
            finished_at = datetime.now(UTC)
        self._report(
            {
                "stage_id": made,
                "stage_type": stage_type,
                "stage_name": stage_name,
                "parent_stage_id": parent_stage_id or (parent.stage_id if parent else None),
                "status": status,
                "attempt": attempt,
                "started_at": started_at,
                "finished_at": finished_at,
                "duration_ms": duration_ms,
                "attributes": attributes,
                "metadata": metadata,
            }
        )
        return made

    def record_batch(self, events: Iterable[Mapping[str, Any]]) -> list[str]:
        """Report stages, each a mapping with the fields of a StageEvent; their ids."""
        ids = []
        for event in events:
            made = {**event, "stage_id": event.get("stage_id") or new_stage_id()}
            self._report(made)
            ids.append(str(made["stage_id"]))
        return ids

    @contextmanager
    def stage(
        self,
        stage_type: str,
        parent_stage_id: str | None = None,
        *,
        stage_name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        attempt: int = 1,
    ) -> Iterator[StageContext]:
        """A stage as long as the block; the stage around it is its parent unless one is given.

        An exception makes it an error and goes on up.
        """
        outer = _current.get()
        context = StageContext(self.run_id, stage_type, parent_stage_id or (outer.stage_id if outer else None))
        context.stage_name, context.attempt, context.attributes = stage_name, attempt, dict(attributes or {})
        token = _current.set(context)
        try:
            yield context
        except BaseException as error:
            context.finish(error)
            raise
        else:
            context.finish()
        finally:
            _current.reset(token)
            self._report({name: value for name, value in vars(context).items() if not name.startswith("_")})

    def flush(self, timeout_ms: int = 30_000) -> bool:
        """Send what was reported so far; True if all of it, and all since the flush before, was stored in time."""
        return self._worker.flush(time.monotonic() + timeout_ms / 1000)

    def shutdown(self, timeout_ms: int | None = None) -> None:
        """Send what waits and stop, within the time (by default `shutdown_timeout_ms`). The second call is idle."""
        timeout_ms = self._settings.shutdown_timeout_ms if timeout_ms is None else timeout_ms
        self._worker.stop(time.monotonic() + timeout_ms / 1000)
        atexit.unregister(self.shutdown)

    def counts(self) -> Counts:
        """What became of the events of this process so far."""
        return self._worker.buffer.counts()

    @guard.guarded
    def _report(self, event: Mapping[str, Any]) -> None:
        """Queue an event as JSON, so that nothing that the program changes later changes it."""
        if self._pid != os.getpid():
            self._renew()
        said = {
            "run_id": self.run_id,
            "trace_id": self.trace_id,
            **{name: value for name, value in event.items() if value is not None},
            "metadata": {**self._metadata, **(event.get("metadata") or {})},
        }
        problem = _problem(said)
        if problem:
            guard.wrong("stage event", problem)
            return
        self._worker.offer(_json(said))


def new_stage_id() -> str:
    """An id that nobody has, of the form of a span id, so that it is the span id too."""
    return secrets.token_hex(8)


def _problem(event: Mapping[str, Any]) -> str:
    """Why a server would refuse an event and all that come with it, or nothing."""
    stage_type, attributes, duration = event.get("stage_type"), event.get("attributes"), event.get("duration_ms")
    if not isinstance(stage_type, str) or not stage_type.strip():
        return "a stage needs a stage_type"
    if attributes is not None and not isinstance(attributes, Mapping):
        return f"attributes of a stage are a mapping, not a {type(attributes).__name__}"
    if duration is not None and not (isinstance(duration, int | float) and 0 <= duration < float("inf")):
        return f"duration_ms of a stage is a number of milliseconds, not {duration!r}"
    return ""


def _json(event: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(event, default=_jsonable, ensure_ascii=False, allow_nan=False)
    except ValueError:  # a number that JSON does not know
        text = json.dumps(_finite(event), default=_jsonable, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    """The same with text in the place of NaN and infinities."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _jsonable(value: Any) -> Any:
    """Times, sets, arrays of numeric libraries; else the text of a value."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)
