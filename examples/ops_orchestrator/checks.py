"""Holds what the server stored against what the pipeline itself knows, question by question."""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
    stages = _stored(api, answer.trace_id)
    if stages is None:
        return Verdict(answer, (), (), ("no trace was stored",))
    wrong = [*_of_answer(answer), *_of_stages(answer, stages), *_of_assets(stages, loads)]
    shown = [f"{stage['stage_type']} {_assets_text(stage)}" for stage in stages]
    return Verdict(answer, [_stage_text(stage) for stage in stages], shown, wrong)


def _stored(api: str, trace_id: str) -> list[dict[str, Any]] | None:
    """The stages of a trace as the API shows them, each with its `assets`, once the trace is assembled."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{api}/api/traces/{trace_id}", timeout=10) as answer:  # noqa: S310 - what the user named
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError:
            found = {}
        if found.get("assembled"):
            return _stages(found)
        time.sleep(0.1)
    return None


def _stages(found: dict[str, Any]) -> list[dict[str, Any]]:
    stages = [item["stage"] for item in found["stages"]]
    return [{**one, "assets": [use for use in found["assets"] if use["stage_id"] == one["stage_id"]]} for one in stages]


def _of_answer(answer: Answer) -> list[str]:
    wrong = [f"error: {answer.error}"] if answer.error else []
    wrong += [] if answer.text else ["no answer"]
    wrong += [] if answer.route == answer.question.route else [f"route {answer.route or 'none'}"]
    return wrong + ([f"took {answer.seconds:.1f} s"] if answer.seconds > _MOST_SECONDS else [])


def _of_stages(answer: Answer, stages: Sequence[dict[str, Any]]) -> list[str]:
    """All five stages in order; without a plan three of them skipped; a second attempt only after an empty first."""
    said = [(stage["stage_type"], stage["status"]) for stage in stages if stage["attempt"] == 1]
    work = "success" if answer.route == "plan" else "skipped"
    expected = [(name, "success" if name in {"route_plan", "present"} else work) for name in STAGES]
    return [] if sorted(said) == sorted(expected) else [f"stages are {said}"]


def _of_assets(stages: Sequence[dict[str, Any]], loads: Sequence[Load]) -> list[str]:
    """Each stage has just the assets that the registry loaded in that step, as often, in that version."""
    stored = Counter(
        (stage["stage_type"], use["kind"], use["name"], use["version"]) for stage in stages for use in stage["assets"]
    )
    loaded = Counter((load.step, load.kind, load.name, load.version) for load in loads)
    return [f"assets differ: stored {stored - loaded}, loaded {loaded - stored}"] if stored != loaded else []


def _stage_text(stage: dict[str, Any]) -> str:
    again = f"#{stage['attempt']}" if stage["attempt"] > 1 else ""
    return f"{stage['stage_type']}{again}{' (skipped)' if stage['status'] == 'skipped' else ''}"


def _assets_text(stage: dict[str, Any]) -> str:
    return ", ".join(f"{use['kind']} {use['name']} v{use['version']}" for use in stage["assets"]) or "-"
