"""Holds what the server stored against what the pipeline itself knows, question by question."""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator import STAGES, Answer
from registry import Load

_PATIENCE_S = 20.0
_MOST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server knows of a question's trace, and what is wrong with it."""

    answer: Answer
    stages: Sequence[str]
    assets: Sequence[str]
    wrong: Sequence[str]


def checked(api: str, answer: Answer, loads: Sequence[Load]) -> Verdict:
    """The stored trace of an answer, checked: nothing wrong is an empty list."""
    found = _stored(api, answer.trace_id)
    if found is None:
        return Verdict(answer, (), (), ("no trace was stored",))
    stages = _stages(found)
    wrong = [*_of_answer(answer, found, stages), *_of_stages(answer, stages, loads), *_of_assets(stages, loads)]
    shown = [f"{stage['stage_type']} {_assets_text(stage)}" for stage in stages]
    return Verdict(answer, [_stage_text(stage) for stage in stages], shown, wrong)


def _stored(api: str, trace_id: str) -> dict[str, Any] | None:
    """A trace as the API shows it, once it is assembled; None if it never is."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{api}/api/traces/{trace_id}", timeout=10) as answer:  # noqa: S310 - what the user named
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError:
            found = {}
        if found.get("assembled"):
            return found
        time.sleep(0.1)
    return None


def _stages(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages by start, each with its `assets`."""
    stages = [item["stage"] for item in found["stages"]]
    return [{**one, "assets": [use for use in found["assets"] if use["stage_id"] == one["stage_id"]]} for one in stages]


def _of_answer(answer: Answer, found: dict[str, Any], stages: Sequence[dict[str, Any]]) -> list[str]:
    """An answer, the same in the stored trace, in time, over the expected route, without an error on the way."""
    said = [stage["attributes"].get("answer") for stage in stages if stage["stage_type"] == "present"]
    seconds = max(answer.seconds, _seconds(found))
    failed = [stage for stage in stages if stage["error_type"] or stage["status"] not in {"success", "skipped"}]
    checks = (
        (answer.error is None, f"error: {answer.error}"),
        (bool(answer.text), "no answer"),
        (answer.error is not None or said == [answer.text], f"stored is the answer {said}"),
        (answer.route == answer.question.route, f"route {answer.route or 'none'}"),
        (seconds <= _MOST_SECONDS, f"took {seconds:.1f} s"),
        (not failed, f"failed: {', '.join(_stage_text(stage) for stage in failed)}"),
    )
    return [problem for holds, problem in checks if not holds]


def _seconds(found: dict[str, Any]) -> float:
    """How long the trace took, as stored."""
    began, ended = (datetime.fromisoformat(found[key]) for key in ("started_at", "finished_at"))
    return (ended - began).total_seconds()


def _of_stages(answer: Answer, stages: Sequence[dict[str, Any]], loads: Sequence[Load]) -> list[str]:
    """All five stages in order; three of them skipped without a plan; the first three again for each further plan."""
    said = [(stage["stage_type"], stage["attempt"], stage["status"]) for stage in stages]
    work = "success" if answer.route == "plan" else "skipped"
    tries = range(1, max((load.attempt for load in loads), default=1) + 1)
    planned = [(name, tried, "success" if name == "route_plan" else work) for tried in tries for name in STAGES[:3]]
    expected = [*planned, ("compose", 1, work), ("present", 1, "success")]
    return [] if said == expected else [f"stages are {said}"]


def _of_assets(stages: Sequence[dict[str, Any]], loads: Sequence[Load]) -> list[str]:
    """Each stage has just the assets that the registry loaded in that step and attempt, in that order and version."""
    stored = [
        (stage["stage_type"], stage["attempt"], use["kind"], use["name"], use["version"], use["digest"])
        for stage in stages
        for use in stage["assets"]
    ]
    loaded = [(load.step, load.attempt, load.kind, load.name, load.version, load.digest) for load in loads]
    extra, lost = Counter(stored) - Counter(loaded), Counter(loaded) - Counter(stored)
    if extra or lost:
        return [f"assets differ: only stored {sorted(extra)}, only loaded {sorted(lost)}"]
    return [] if stored == loaded else ["assets are stored in another order"]


def _stage_text(stage: dict[str, Any]) -> str:
    again = f"#{stage['attempt']}" if stage["attempt"] > 1 else ""
    return f"{stage['stage_type']}{again}{' (skipped)' if stage['status'] == 'skipped' else ''}"


def _assets_text(stage: dict[str, Any]) -> str:
    return ", ".join(f"{use['kind']} {use['name']} v{use['version']}" for use in stage["assets"]) or "-"
