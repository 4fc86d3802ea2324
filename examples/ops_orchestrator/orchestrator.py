"""Five stages, one trace per question: route_plan, validate, execute, compose, present.

route_plan decides: an answer at once (DIRECT), a refusal (REJECT), or queries to run (PLAN). Where no work is left to
do, validate, execute and compose are recorded as skipped, with the reason. Where the queries of a plan find nothing and
the planner knows others, route_plan, validate and execute run again: further attempts of the same stages.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from database import Row, query
from opentelemetry import trace
from planner import Plan, Step, decide, forbidden
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
            plan = self._route(question, attempt=2)
            found = self._run(question, plan, attempt=2)
        return self._present_list(question, self._compose(question, found))

    def _run(self, question: Question, plan: Plan, attempt: int) -> list[_Found]:
        texts = self._validate(question, plan, attempt)
        return self._execute(question, plan, texts, attempt)

    def _load(self, question: Question, step: str, kind: str, name: str) -> Asset:
        return self._registry.load(question.id, step, kind, name)

    def _route(self, question: Question, attempt: int) -> Plan:
        with ev.stage("route_plan", attempt=attempt) as stage:
            policy = self._load(question, "route_plan", "policy", "scope")
            reason = forbidden(question.text, policy)
            prompt = self._load(question, "route_plan", "prompt", "planner")
            names = self._load(question, "route_plan", "resolver", "names")
            self._load(question, "route_plan", "schema", "store")
            plan = Plan("reject", reason) if reason else decide(question.text, prompt, names.pairs())
            if attempt > 1:
                plan = Plan("plan", steps=plan.otherwise)
            stage.record(input=question.text, output=f"{plan.kind}: {', '.join(step.query for step in plan.steps)}")
            return plan

    def _validate(self, question: Question, plan: Plan, attempt: int) -> Mapping[str, Asset]:
        """The texts of all queries, after the policy has allowed them."""
        with ev.stage("validate", attempt=attempt):
            policy = self._load(question, "validate", "policy", "limits").pairs()
            schema = self._load(question, "validate", "schema", "store")
            if len(plan.steps) > int(policy["most_queries"]):
                raise PlanRefused(f"{len(plan.steps)} queries, {policy['most_queries']} are allowed")
            tables = {name.strip() for line in schema.lines() for name in line.split(",")}
            texts = {step.query: self._load(question, "validate", "query", step.query) for step in plan.steps}
            for name, asset in texts.items():
                read = set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", asset.text))
                if not asset.text.startswith(policy["begins_with"]) or not read <= tables:
                    raise PlanRefused(f"{name} does more than the schema allows")
            return texts

    def _execute(self, question: Question, plan: Plan, texts: Mapping[str, Asset], attempt: int) -> list[_Found]:
        with ev.stage("execute", attempt=attempt) as stage:
            self._load(question, "execute", "source", "traces")
            found = []
            for step in plan.steps:
                sql = self._load(question, "execute", "query", step.query)
                if sql != texts[step.query]:
                    raise PlanRefused(f"{step.query} changed since it was validated")
                found.append(_Found(step, query(self._db, sql.text, {**step.params, "run": self._run_id})))
            stage.record({"ops.rows": sum(len(item.rows) for item in found)})
            return found

    def _compose(self, question: Question, found: Sequence[_Found]) -> list[str]:
        with ev.stage("compose") as stage:
            sentences = self._load(question, "compose", "prompt", "answer").pairs()
            units = self._load(question, "compose", "mapping", "labels").pairs()
            lines = []
            for item in found:
                filled, _, nothing = sentences[item.step.query].partition(" | ")
                lines += [filled.format(**_shown(row, units)) for row in item.rows] or [nothing.strip()]
            stage.record(output="\n".join(lines))
            return lines

    def _present_list(self, question: Question, lines: Sequence[str]) -> str:
        with ev.stage("present") as stage:
            screen = self._load(question, "present", "screen", "list")
            return _recorded(stage, screen.text.format(lines="\n".join(lines)))

    def _present_note(self, question: Question, plan: Plan) -> str:
        with ev.stage("present") as stage:
            screen = self._load(question, "present", "screen", "note")
            text = plan.text
            if plan.kind == "reject":
                tone = self._load(question, "present", "prompt", "tone").pairs()
                text = tone["rejected"].format(reason=text)
            return _recorded(stage, screen.text.format(text=text))


def _recorded(stage: Any, text: str) -> str:
    stage.record(output=text)
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
