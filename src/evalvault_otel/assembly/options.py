"""What a user can choose about assembly. Part of its input, so that the same spans and choices give the same stages."""

from dataclasses import dataclass
from typing import Final

from ..settings import Settings

SERVICE_DAY: Final = "service-day"
TRACE: Final = "trace"


@dataclass(frozen=True, slots=True)
class AssemblyOptions:
    """Where the run of a trace comes from when nothing names one.

    With `run_from_session` a session or conversation id is the run; off by default, since a conversation has many
    turns. `run_fallback` is the last resort: `service-day` is `{service}@{UTC day}`, `trace` the trace's own id.
    """

    run_from_session: bool = False
    run_fallback: str = SERVICE_DAY

    @property
    def mark(self) -> str:
        """What stands behind the version of the mapping, so that rows say which choices made them; empty by default."""
        chosen = ("session",) * self.run_from_session + (self.run_fallback,) * (self.run_fallback != SERVICE_DAY)
        return f"+run:{','.join(chosen)}" if chosen else ""

    @classmethod
    def of(cls, settings: Settings) -> "AssemblyOptions":
        """What the settings choose."""
        return cls(settings.run_from_session, settings.run_fallback)


DEFAULT_OPTIONS: Final = AssemblyOptions()
