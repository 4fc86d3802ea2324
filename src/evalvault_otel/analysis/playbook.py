"""What to do about a failing metric: the playbook of the package, overlaid by a file of the user."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from ..errors import SettingsError

# Which part of an application a stage type belongs to; others are their own component.
_COMPONENTS: Final[Mapping[str, str]] = {
    "retrieval": "retriever",
    "rerank": "reranker",
    "output": "generator",
    "generation": "generator",
    "system_prompt": "prompt",
    "input": "query_processor",
}


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. `expected_improvement_range` is in points of the metric's share, as the playbook says it."""

    title: str
    description: str
    hint: str
    effort: str
    expected_improvement: float
    expected_improvement_range: tuple[float, float]


Playbook = Mapping[str, Action]


def load_playbook(overlay: Path | None = None) -> dict[str, Action]:
    """Actions by metric name.

    Raises:
        SettingsError: the file cannot be read, or is not `metrics: {name: {title: …}}`.
    """
    entries = dict(_packaged())
    if overlay:
        try:
            entries |= _entries(yaml.safe_load(overlay.read_text("utf-8")))
        except OSError as exc:
            raise SettingsError(f"playbook {overlay}: {exc.strerror}") from exc
        except (yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError) as exc:
            raise SettingsError(f"playbook {overlay}: not `metrics: {{name: {{title: …}}}}` ({exc})") from exc
    return entries


def action_for(playbook: Playbook, metric_name: str) -> Action:
    """The playbook's action, else advice that fits every metric."""
    return playbook.get(metric_name) or Action(
        title=f"Review {metric_name}",
        description=f"{metric_name} is beyond its threshold.",
        hint="Open the worst examples and compare them with traces that pass.",
        effort="low",
        expected_improvement=0.03,
        expected_improvement_range=(0.01, 0.05),
    )


def component_of(metric_name: str) -> str:
    """The part of the application that a metric speaks of."""
    stage_type = metric_name.partition(".")[0]
    return _COMPONENTS.get(stage_type, stage_type)


@cache
def _packaged() -> Mapping[str, Action]:
    text = (files(__package__) / "data" / "stage_metric_playbook.yaml").read_text("utf-8")
    return _entries(yaml.safe_load(text))


def _entries(document: Any) -> dict[str, Action]:
    return {name: _action(name, entry.get("action", entry)) for name, entry in (document["metrics"] or {}).items()}


def _action(name: str, entry: Mapping[str, Any]) -> Action:
    low, high = entry.get("expected_improvement_range", (0.0, 0.0))
    return Action(
        title=str(entry.get("title", f"Improve {name}")),
        description=str(entry.get("description", "")),
        hint=str(entry.get("implementation_hint", "")),
        effort=str(entry.get("effort", "medium")),
        expected_improvement=float(entry.get("expected_improvement", 0.05)),
        expected_improvement_range=(float(low), float(high)),
    )
