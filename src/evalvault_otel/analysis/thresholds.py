"""Thresholds of metrics: the defaults and profiles of the package, overlaid by a file of the user.

One source for the API, the report and the command line. A threshold is a number, or `{"value": 3, "comparison": "max"}`
where the direction of the metric is not the usual one. Changing thresholds needs no recomputation.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import orjson

from ..assembly.metric_names import direction
from ..errors import SettingsError
from ..settings import Settings
from ..store.records import Limit, MetricStats

Limits = Mapping[str, Limit]

_AT_MOST: Final = frozenset({"max", "<=", "le"})
_AT_LEAST: Final = frozenset({"min", ">=", "ge"})
_SCALED: Final = (".avg_score", ".score_gap")
# Reciprocal rank fusion gives 1/(60 + rank) per list: scores below this are on no scale from 0 to 1.
_SMALLEST_SCALE: Final = 0.05


def load_limits(profile: str | None = None, overlay: Path | None = None) -> dict[str, Limit]:
    """Thresholds by metric name.

    Args:
        profile: `dev`, `prod`, or a profile of the user's file; None for the defaults alone.
        overlay: a JSON file, either `{metric: threshold}` or `{"default": …, "profiles": {name: …}}`.

    Raises:
        SettingsError: the file cannot be read, a threshold makes no sense, or nobody knows the profile.
    """
    documents = [_packaged(), *([_read(overlay)] if overlay else [])]
    known = {name for document in documents for name in document["profiles"]}
    if profile is not None and profile not in known:
        raise SettingsError(f"no thresholds profile {profile!r}: use one of {', '.join(sorted(known))}")
    merged: dict[str, Any] = {}
    for document in documents:
        merged |= document["default"] | document["profiles"].get(profile, {})
    return {name: _limit(name, said) for name, said in merged.items()}


def limits_of(settings: Settings, profile: str | None = None, overlay: Path | None = None) -> dict[str, Limit]:
    """Thresholds as the settings have them; `overlay` takes the place of the file that they name.

    Raises:
        SettingsError: as `load_limits`.
    """
    return load_limits(profile, overlay or (Path(settings.thresholds) if settings.thresholds else None))


def fitting(limits: Limits, stats: Iterable[MetricStats]) -> dict[str, Limit]:
    """The limits that make sense for the scores seen.

    Limits of `avg_score` and `score_gap` assume scores from 0 to 1; they are left out where the scores are on another
    scale (BM25 above 1, rank fusion far below it).
    """
    by_name = {metric.metric_name: metric for metric in stats}
    return {name: limit for name, limit in limits.items() if not name.endswith(_SCALED) or _unit_scale(name, by_name)}


def _unit_scale(name: str, stats: Mapping[str, MetricStats]) -> bool:
    stage_type = name.rpartition(".")[0]
    average, gap = (stats.get(stage_type + ending) for ending in _SCALED)
    if average is None:
        return False
    return average.min >= 0 and _SMALLEST_SCALE < average.max <= 1 and (gap is None or gap.max <= 1)


@cache
def _packaged() -> Any:
    return _sections(orjson.loads((files(__package__) / "data" / "stage_metric_thresholds.json").read_bytes()))


def _read(path: Path) -> Any:
    try:
        return _sections(orjson.loads(path.read_bytes()))
    except OSError as exc:
        raise SettingsError(f"thresholds file {path}: {exc.strerror}") from exc
    except (ValueError, AttributeError) as exc:
        raise SettingsError(f"thresholds file {path}: not a JSON object of thresholds ({exc})") from exc


def _sections(document: Any) -> dict[str, Any]:
    """A flat object is all defaults."""
    if "default" in document or "profiles" in document:
        return {"default": dict(document.get("default") or {}), "profiles": dict(document.get("profiles") or {})}
    return {"default": dict(document.items()), "profiles": {}}


def _limit(name: str, said: Any) -> Limit:
    value, comparison = (said.get("value"), said.get("comparison")) if isinstance(said, Mapping) else (said, None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"threshold of {name}: {said!r} is neither a number nor an object with a number as value")
    if comparison is None:
        return Limit(name, float(value), direction(name) == "lower")
    word = str(comparison).lower()
    if word not in _AT_MOST | _AT_LEAST:
        raise SettingsError(f"threshold of {name}: comparison {comparison!r} is neither min nor max")
    return Limit(name, float(value), word in _AT_MOST)
