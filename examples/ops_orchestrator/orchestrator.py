"""Five stages, one trace per question: route_plan, validate, execute, compose, present.

route_plan decides: an answer at once (DIRECT), a refusal (REJECT), or queries to run (PLAN). Where no work is left to
do, validate, execute and compose are recorded as skipped, with the reason. Where the queries of a plan find nothing and
the planner knows others, route_plan, validate and execute run again: further attempts of the same stages.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from database import Row, query
from opentelemetry import trace
from planner import Plan, Step, decide, forbidden, unknown
from registry import Asset, Registry

import evalvault_otel as ev

STAGES = ("route_plan", "validate", "execute", "compose", "present")
_SKIPPED = {"direct": "direct_answer", "reject": "rejected"}


class PlanRefused(ValueError):
    """A plan that the policy does not allow."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its category, and the route that is expected of it."""

    id: str
    category: str
    route: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question: `trace_id` in hex, `seconds` that the person waited, `error` if there is no answer."""

    question: Question
    route: str
    text: str
    trace_id: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What the policy lets a plan do: the queries by name, and how many rows of each are read."""

    queries: Mapping[str, Asset]
    most_rows: int


@dataclass(frozen=True, slots=True)
class _Found:
    step: Step
    rows: Sequence[Row]


class Orchestrator:
    """Answers questions about run `run_id` of the database `db`, with the assets of a registry."""

    def __init__(self, registry: Registry, db: str, run_id: str) -> None:
        self._registry = registry
        self._db = db
        self._run_id = run_id
        self._tracer = trace.get_tracer("ops_orchestrator")

    def answer(self, question: Question) -> Answer:
        """One question, one trace. An error ends the trace and is told; the stages before it stay."""
        started = time.perf_counter()
        route, text, error = "", "", None
        with ev.run(test_case=question.id), self._tracer.start_as_current_span("ops question") as span:
            trace_id = f"{span.get_span_context().trace_id:032x}"
            try:
                plan = self._route(question, attempt=1)
                route = plan.kind
                text = self._carry_out(question, plan)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the other questions go on
                error = f"{type(exc).__name__}: {exc}"
        return Answer(question, route, text, trace_id, time.perf_counter() - started, error)

    def _carry_out(self, question: Question, plan: Plan) -> str:
        if plan.kind != "plan":
            for stage in ("validate", "execute", "compose"):
                with ev.stage(stage) as skipped:
                    skipped.skip(_SKIPPED[plan.kind])
            return self._present_note(question, plan)
        found = self._run(question, plan, attempt=1)
        if plan.otherwise and not any(item.rows for item in found):
            found = self._run(question, self._route(question, attempt=2), attempt=2)
        return self._present_list(question, self._compose(question, found))

    def _run(self, question: Question, plan: Plan, attempt: int) -> list[_Found]:
        return self._execute(question, plan, self._validate(question, plan, attempt), attempt)

    def _loader(self, question: Question, step: str, attempt: int = 1) -> Callable[[str, str], Asset]:
        """What a step loads its assets with: kind and name."""
        return partial(self._registry.load, (question.id, step, attempt))

    def _route(self, question: Question, attempt: int) -> Plan:
        load = self._loader(question, "route_plan", attempt)
        with ev.stage("route_plan", attempt=attempt, input=question.text) as stage:
            reason = forbidden(question.text, load("policy", "scope"))
            prompt, names = load("prompt", "planner"), load("resolver", "names").pairs()
            plan = Plan("reject", reason) if reason else decide(question.text, prompt, names)
            if attempt > 1:
                plan = Plan("plan", steps=plan.otherwise)
            missing = unknown(plan, load("catalog", "stages"))
            if missing:
                plan = Plan("reject", missing)
            stage.record(output=f"{plan.kind}: {', '.join(step.query for step in plan.steps) or plan.text}")
            return plan

    def _validate(self, question: Question, plan: Plan, attempt: int) -> _Allowed:
        """The plan's queries, if the policy allows them.

        Raises:
            PlanRefused: it does not.
        """
        load = self._loader(question, "validate", attempt)
        with ev.stage("validate", attempt=attempt):
            limits = load("policy", "limits").pairs()
            tables = {name.strip() for line in load("schema", "store").lines() for name in line.split(",")}
            if len(plan.steps) > int(limits["most_queries"]):
                raise PlanRefused(f"{len(plan.steps)} queries, {limits['most_queries']} are allowed")
            queries = {step.query: load("query", step.query) for step in plan.steps}
            for name, asset in queries.items():
                read = set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", asset.text))
                if not asset.text.startswith(limits["begins_with"]) or not read <= tables:
                    raise PlanRefused(f"{name} does more than the schema allows")
            return _Allowed(queries, int(limits["most_rows"]))

    def _execute(self, question: Question, plan: Plan, allowed: _Allowed, attempt: int) -> list[_Found]:
        load = self._loader(question, "execute", attempt)
        with ev.stage("execute", attempt=attempt) as stage:
            load("source", "traces")
            found = []
            for step in plan.steps:
                sql = load("query", step.query)
                if sql != allowed.queries[step.query]:
                    raise PlanRefused(f"{step.query} changed since it was validated")
                rows = query(self._db, sql.text, {**step.params, "run": self._run_id})
                found.append(_Found(step, rows[: allowed.most_rows]))
            stage.record({"ops.rows": sum(len(item.rows) for item in found)})
            return found

    def _compose(self, question: Question, found: Sequence[_Found]) -> list[str]:
        load = self._loader(question, "compose")
        with ev.stage("compose") as stage:
            sentences, units = load("prompt", "answer").pairs(), load("mapping", "labels").pairs()
            lines = []
            for item in found:
                filled, _, nothing = sentences[item.step.query].partition(" | ")
                lines += [filled.format(**_shown(row, units)) for row in item.rows] or [nothing.strip()]
            stage.record(output="\n".join(lines))
            return lines

    def _present_list(self, question: Question, lines: Sequence[str]) -> str:
        with ev.stage("present") as stage:
            screen = self._loader(question, "present")("screen", "list")
            return _recorded(stage, screen.text.format(lines="\n".join(lines)))

    def _present_note(self, question: Question, plan: Plan) -> str:
        load = self._loader(question, "present")
        with ev.stage("present") as stage:
            screen, text = load("screen", "note"), plan.text
            if plan.kind == "reject":
                text = load("prompt", "tone").pairs()["rejected"].format(reason=text)
            return _recorded(stage, screen.text.format(text=text))


def _recorded(stage: ev.Stage, text: str) -> str:
    stage.record(answer=text)
    return text


def _shown(row: Row, units: Mapping[str, str]) -> dict[str, str]:
    """Values as people read them: numbers with the unit and the digits that the mapping gives their column."""
    shown = {}
    for name, value in row.items():
        unit, _, digits = units.get(name, "").partition(",")
        is_number = digits and value is not None
        text = f"{float(value):.{int(digits)}f} {unit}".strip() if is_number else str(value)
        shown[name] = text
    return shown
