"""Versions of assets that changed within the run, and what moved with them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..failing import score_text
from ..figures import share
from ..report_model import AssetChange, MovedMetric, Problem, RunPart
from ..texts import first_line, quoted
from .drafts import Draft, impact

# A change that moved nothing for the worse is still worth a line.
_HARMLESS: Final = 0.01


def changed(found: Iterable[AssetChange], path_shares: Mapping[str, float], run: RunPart) -> Iterable[Draft]:
    """One draft per change."""
    for change in found:
        moved = sorted(change.moved, key=lambda metric: -_harm(metric, path_shares))
        harm = max((_harm(metric, path_shares) for metric in moved), default=0.0) or _HARMLESS
        yield Draft(
            Problem(
                kind="asset_change",
                subject=f"{change.kind} {change.name}",
                headline=f"The {change.kind} {quoted(change.name)} {_transition(change)}: {_movement(moved)}.",
                advice="Compare a trace of each version; if the change was not meant, go back to the old version.",
                impact=impact("asset_change", harm * share(change.traces_after, run.traces)),
                examples=change.examples,
            )
        )


def _harm(metric: MovedMetric, path_shares: Mapping[str, float]) -> float:
    """How much worse a metric became, at most 1. A slower stage harms as far as traces wait for it."""
    if metric.verdict != "worse":
        return 0.0
    harm = min(abs(metric.relative_change), 1.0) if metric.relative_change is not None else 1.0
    stage_type, _, name = metric.metric_name.rpartition(".")
    return harm * path_shares.get(stage_type, 0.0) if name == "latency_ms" else harm


def _transition(change: AssetChange) -> str:
    before, after = (first_line(version) for version in (change.before, change.after))
    if change.pattern == "switch":
        return f"changed from {change.by} {before} to {change.by} {after} during the run"
    return f"was used in {change.by} {before} and {change.by} {after} side by side"


def _movement(moved: Sequence[MovedMetric]) -> str:
    if not moved:
        return "no metric moved clearly with it"
    return ", ".join(_moved_text(metric) for metric in moved[:2])


def _moved_text(metric: MovedMetric) -> str:
    way = "rose" if metric.after > metric.before else "fell"
    before, after = (score_text(metric.metric_name, value) for value in (metric.before, metric.after))
    return f"{quoted(metric.metric_name)} {way} from {before} to {after} ({metric.verdict})"
