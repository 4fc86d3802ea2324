"""What remapping returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remapped:
    """What became of some traces. `spans` is what those have that were assembled.

    `changed` traces have other stages than before, or the same with another type, name, run, parent, status, attempt,
    tokens or attributes; `retyped` counts stages of another type, new and vanished ones included. `failed` could not be
    assembled.
    """

    traces: int = 0
    spans: int = 0
    changed: int = 0
    retyped: int = 0
    failed: tuple[str, ...] = ()

    def __add__(self, other: "Remapped") -> "Remapped":
        return Remapped(
            self.traces + other.traces,
            self.spans + other.spans,
            self.changed + other.changed,
            self.retyped + other.retyped,
            self.failed + other.failed,
        )
