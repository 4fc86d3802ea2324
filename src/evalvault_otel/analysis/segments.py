"""Where a symptom is at home: the tenant, host, model or any other word that stages with it say and others do not."""

import math
from collections.abc import Iterable
from typing import Final

from ..store.symptoms import Segment
from .figures import percent, share
from .texts import quoted

# The word must hold most of the stages with the symptom, and these must be far more frequent among the stages with it.
_MOST_OF_HITS: Final = 0.8
_FEWEST_ELSEWHERE: Final = 3
_LEAST_DIFFERENCE: Final = 0.25
# Some dozens of words are compared: chance alone then finds one in a hundred questions.
_CHANCE: Final = 1e-4

# Words of several keys often come together (a host and its pod): then the first of these is what a person asks for.
_NAMES: Final = {
    "tenant_id": "tenant", "model_name": "model", "host.name": "host", "k8s.pod.name": "pod",
    "service.instance.id": "instance", "service.version": "service version", "service": "service",
    "deployment.environment.name": "environment", "cloud.region": "region", "cache_hit": "cache hit",
    "user_id": "user", "session_id": "session", "language": "language",
}  # fmt: skip
_PREFERENCE: Final = {key: place for place, key in enumerate(_NAMES)}
# What stages with a symptom say because they have it.
_SAME_THING: Final = frozenset(
    {"blocked", "passed", "answer", "violations", "truncated", "error_type", "finish_reason"}
)


def home(segments: Iterable[Segment]) -> Segment | None:
    """The segment that tells stages with a symptom best from others, or None if none does clearly."""
    told = [segment for segment in segments if segment.key not in _SAME_THING and _clear(segment)]
    ranked = sorted(told, key=lambda s: (-round(_difference(s), 2), _PREFERENCE.get(s.key, 99), s.key, s.word))
    return ranked[0] if ranked else None


def told(segment: Segment) -> str:
    """`only for tenant acme: 12 of 12 there, 0 of 48 elsewhere`."""
    where = f"{'only' if segment.hits == segment.all_hits else 'mostly'} for {named(segment)}"
    there, hits_elsewhere, elsewhere = _counts(segment)
    if segment.complete:
        return f"{where}: {segment.hits:,} of {there:,} there, {hits_elsewhere:,} of {elsewhere:,} elsewhere"
    among = percent(share(segment.others, segment.all_others))
    return f"{where}: it makes {percent(share(segment.hits, segment.all_hits))} of these and {among} of the others"


def named(segment: Segment) -> str:
    """`tenant acme`, the word in backticks."""
    return f"{_NAMES.get(segment.key) or quoted(segment.key)} {quoted(segment.word)}"


def _counts(segment: Segment) -> tuple[int, int, int]:
    """Stages that say the word, and of those that do not: with the symptom, and all."""
    hits = segment.all_hits - segment.hits
    return segment.hits + segment.others, hits, hits + segment.all_others - segment.others


def _difference(segment: Segment) -> float:
    """The rate of the symptom where the word is said, less the rate where it is not."""
    there, hits_elsewhere, elsewhere = _counts(segment)
    return share(segment.hits, there) - share(hits_elsewhere, elsewhere)


def _clear(segment: Segment) -> bool:
    enough = segment.hits >= _MOST_OF_HITS * segment.all_hits and _counts(segment)[2] >= _FEWEST_ELSEWHERE
    return enough and _difference(segment) >= _LEAST_DIFFERENCE and _by_chance(segment) < _CHANCE


def _by_chance(segment: Segment) -> float:
    """The chance of so many hits or more with this word if it had nothing to do with it (Fisher's exact test)."""
    there, hits, whole = segment.hits + segment.others, segment.all_hits, segment.all_hits + segment.all_others
    most = min(there, hits)
    return math.fsum(
        math.exp(_log_choices(hits, n) + _log_choices(whole - hits, there - n) - _log_choices(whole, there))
        for n in range(segment.hits, most + 1)
    )


def _log_choices(of: int, n: int) -> float:
    if not 0 <= n <= of:
        return -math.inf
    return math.lgamma(of + 1) - math.lgamma(n + 1) - math.lgamma(of - n + 1)
