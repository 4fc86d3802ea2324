"""What to do about a question, decided by rules that are versioned files: no language model.

A question is answered at once (direct), refused (reject), or planned: which queries to run, with which parameters, and
which ones instead if the first find nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from registry import Asset


@dataclass(frozen=True, slots=True)
class Step:
    """A query by name, with its parameters."""

    query: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """`kind` is `direct`, `reject` or `plan`; `text` is the answer, or why there is none."""

    kind: str
    text: str = ""
    steps: tuple[Step, ...] = ()
    otherwise: tuple[Step, ...] = ()


def forbidden(question: str, policy: Asset) -> str | None:
    """Why the policy forbids a question, if it does."""
    words = set(re.findall(r"\w+", question.lower()))
    for listed, reason in policy.pairs().items():
        if words & {word.strip() for word in listed.split(",")}:
            return reason
    return None


def decide(question: str, prompt: Asset, names: Mapping[str, str]) -> Plan:
    """The plan of the first line of the planner's prompt that fits; none fits: the question is refused."""
    for line in prompt.lines():
        pattern, _, then = line.partition(" => ")
        found = re.search(pattern, question, re.IGNORECASE)
        if found is None:
            continue
        if then.startswith("direct: "):
            return Plan("direct", then.removeprefix("direct: "))
        said = {key: names.get(value, value) for key, value in found.groupdict().items()}
        first, _, otherwise = then.partition("; else ")
        return Plan("plan", steps=_steps(first, said), otherwise=_steps(otherwise, said))
    return Plan("reject", "nobody taught me what to look for")


def unknown(plan: Plan, catalog: Asset) -> str | None:
    """Why a plan asks about something that is not there, if it does: only stage types of the catalog can be."""
    wanted = {step.params["stage"] for step in plan.steps if "stage" in step.params}
    missing = sorted(wanted - set(catalog.lines()))
    return f"there is no stage type {missing[0]}" if missing else None


def _steps(text: str, said: Mapping[str, str]) -> tuple[Step, ...]:
    """`average_duration, average_duration(stage=other)`: names of queries; in brackets a parameter and where it is."""
    steps = []
    for name, key, value in re.findall(r"(\w+)(?:\((\w+)=(\w+)\))?", text):
        steps.append(Step(name, {**said, key: said.get(value, value)} if key else said))
    return tuple(steps)
