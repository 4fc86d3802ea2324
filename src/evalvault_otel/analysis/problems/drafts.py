"""A finding before it is known where it is at home, and what a harm counts."""

from dataclasses import dataclass
from typing import Final

from ...store.symptoms import Symptom
from ..figures import rounded
from ..report_model import Problem

# How bad it is when all of a run is harmed: an answer that failed is lost, one without documents nearly so, a low score
# may still be right.
_WEIGHT: Final = {
    "error": 1.0,
    "repeats": 1.0,
    "empty_answer": 0.95,
    "empty_retrieval": 0.8,
    "asset_change": 0.8,
    "citation": 0.7,
    "slow": 0.7,
    "drift": 0.7,
    "invalid": 0.6,
    "blocked": 0.6,
    "duplicates": 0.6,
    "metric": 0.5,
    "missing_stage": 0.3,
    "late_child": 0.3,
    "evidence_lost": 1.0,
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A problem, and what shows it: with this the store can be asked where it is at home."""

    problem: Problem
    symptom: Symptom | None = None


def impact(kind: str, harmed: float) -> float:
    """The part of the run that was harmed, weighed by how bad that harm is."""
    return rounded(min(harmed, 1.0) * _WEIGHT[kind])
