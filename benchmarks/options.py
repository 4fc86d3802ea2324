"""What can be chosen for the benchmarks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`quick` is less load everywhere: it shows that all works, figures are rough.

    `stored` spans are in the database before `scale` measures, `rounds` is how often `kill` kills the server of each
    database, `workers` how many processes `workers` starts, `overload_s` how long `overload` lasts.
    """

    quick: bool = False
    stored: int = 2_000_000
    rounds: int = 50
    workers: int = 2
    overload_s: float = 60.0
