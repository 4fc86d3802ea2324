"""What reads about assets return, as plain frozen records. Times in nanoseconds since 1970, durations in ms."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FilledStages:
    """Stages of one type in a run that used assets of just these kinds (none: no asset at all)."""

    stage_type: str
    kinds: tuple[str, ...]
    stages: int
