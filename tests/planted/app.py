"""A RAG application of two services, as it looks in OTLP: the healthy runs that faults are planted in.

Everything that a fault does not touch is drawn from a seeded generator: times with a tail, questions, documents,
scores, answers and token counts differ from request to request as those of a real application do.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from evalvault_otel.model import STATUS_ERROR, Resource, Span, SpanEvent, Value
from tests.support.traces import MS, SCOPE, T0_NS, resource

RUN: Final = "nightly"
TENANTS: Final = ("acme", "birch", "cedar", "delta")
API: Final = resource(service__version="4.2.0", host__name="api-1")
# One of two machines answers a search.
SEARCHERS: Final = tuple(
    resource(service__name="search", service__version="2.9.1", host__name=f"search-{n}") for n in (1, 2)
)
_TOPICS: Final = ("water damage", "theft abroad", "a broken phone", "flight delay", "hail", "a lost key", "tooth care")
_WORDS: Final = ("claim", "policy", "cover", "amount", "limit", "period", "damage", "insured", "report", "notice")


@dataclass(slots=True)
class Step:
    """One span of a request. `ms` is what it takes itself; the steps below it come on top.

    `hangs` is the step, or the span id, that the span names as its parent where this is not the one that called it.
    """

    name: str
    stage_type: str | None
    parent: str
    ms: float
    attributes: dict[str, Value] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Value]]] = field(default_factory=list)
    service: Resource = API
    error: str = ""
    shift_ms: float = 0.0
    dropped: int = 0
    kind: int = 1
    hangs: str = ""


@dataclass(slots=True)
class Request:
    """One question and the steps that answer it, in the order in which they run."""

    number: int
    of: int
    rng: random.Random
    tenant: str
    start_ms: float
    steps: dict[str, Step]

    @property
    def progress(self) -> float:
        """How much of the run came before, from 0 to 1."""
        return self.number / max(self.of - 1, 1)

    def fails(self, name: str, error_type: str, message: str) -> None:
        """A step raises, and the request with it: what comes after never runs."""
        step = self.steps[name]
        step.error = message
        step.events.append(("exception", {"exception.type": error_type, "exception.message": message}))
        names = list(self.steps)
        for later in names[names.index(name) + 1 :]:
            if not self.below(later, name):
                del self.steps[later]
        root = self.steps["root"]
        root.error, root.attributes["http.response.status_code"] = message, 500
        above = step.parent
        while above and above != "root":
            self.steps[above].error = message
            above = self.steps[above].parent

    def below(self, name: str, above: str) -> bool:
        """Whether a step is anywhere under another."""
        while name:
            name = self.steps[name].parent if name in self.steps else ""
            if name == above:
                return True
        return False

    def asset(self, step: str, kind: str, name: str, version: str) -> None:
        """The step used this version of an asset, whatever was said before."""
        events = self.steps[step].events
        key = {"evalvault.asset.kind": kind, "evalvault.asset.name": name}
        events[:] = [event for event in events if not key.items() <= event[1].items()]
        events.append(("evalvault.asset.used", {**key, "evalvault.asset.version": version}))


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much happens, how fast, and how uneven it is (`tail`: the sigma of a log-normal)."""

    requests: int = 60
    every_ms: float = 4_000.0
    tail: float = 0.25


USUAL: Final = Traffic()


def requests(seed: int, traffic: Traffic) -> Iterator[Request]:
    """The requests of a healthy run."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, no secret
    for number in range(traffic.requests):
        tenant = rng.choice(TENANTS)
        start = number * traffic.every_ms + rng.uniform(0, traffic.every_ms / 3)
        request = Request(number, traffic.requests, rng, tenant, start, {})
        _fill(request, traffic.tail)
        yield request


def _fill(request: Request, tail: float) -> None:
    rng = request.rng

    def took(typical: float) -> float:
        return typical * math.exp(rng.gauss(0, tail))

    topic = rng.choice(_TOPICS)
    question = f"is {topic} covered in case {rng.randint(1, 999)}?"
    found = rng.sample(range(400), 8)
    docs = [f"doc-{number}" for number in found]
    scores = sorted((round(rng.uniform(0.45, 0.95), 4) for _ in docs), reverse=True)
    kept = rng.sample(docs, 4)
    best = sorted((round(rng.uniform(0.5, 0.99), 4) for _ in kept), reverse=True)
    relevant = [*rng.sample(docs, 4), f"doc-{rng.randint(400, 500)}"]
    words = rng.randint(25, 60)
    answer = " ".join(rng.choices(_WORDS, k=words)) + "."
    tokens_in = 900 + rng.randint(-120, 120)
    searcher = rng.choice(SEARCHERS)
    tenant, case = {"evalvault.tenant.id": request.tenant}, {"evalvault.test_case.id": f"tc-{request.number:04}"}

    def add(name: str, stage_type: str | None, parent: str, ms: float, said: dict[str, Any], **more: Any) -> None:
        typed = {"evalvault.stage.type": stage_type} if stage_type else {}
        request.steps[name] = Step(name, stage_type, parent, ms, {**typed, **said}, **more)

    route = {"http.request.method": "POST", "http.route": "/ask", "http.response.status_code": 200}
    add("root", None, "", took(3), {**route, "evalvault.run.id": RUN, **tenant, **case}, kind=2)
    add("input", "input", "root", took(0.6), {"evalvault.input.query": question, "evalvault.input.language": "en"})
    add("query_rewrite", "query_rewrite", "root", took(40), {})
    add("search", None, "root", took(2), {"http.request.method": "POST", "url.path": "/search"}, kind=3)
    add("served", None, "search", took(2), {"http.route": "/search"}, kind=2, service=searcher)
    embedded = {"gen_ai.request.model": "embed-small", "gen_ai.usage.input_tokens": rng.randint(8, 16)}
    add("embedding", "embedding", "served", took(8), embedded, service=searcher)
    retrieved = {"query": topic, "doc_ids": docs, "scores": scores, "top_k": 8, "relevant_doc_ids": relevant}
    said = {f"evalvault.retrieval.{key}": value for key, value in retrieved.items()}
    add("retrieval", "retrieval", "served", took(30), said, service=searcher)
    kept_said = {"input.count": 8, "output.count": 4, "doc_ids": kept, "scores": best}
    said = {f"evalvault.rerank.{key}": value for key, value in kept_said.items()}
    add("rerank", "rerank", "served", took(60), said, service=searcher)
    add("safety_check", "safety_check", "root", took(6), {"evalvault.safety.blocked": False})
    add("output", "output", "root", took(500), _output(question, answer, kept[:2], tokens_in, words))
    add("answer_validation", "answer_validation", "root", took(4), {"evalvault.validation.passed": True})
    for kind, name, version, step in _ASSETS:
        request.asset(step, kind, name, version)


_ASSETS: Final = (
    ("index", "policies", "2026-01", "retrieval"),
    ("prompt", "answer", "v2", "output"),
    ("policy", "safety", "7", "safety_check"),
)


def _output(question: str, answer: str, cited: list[str], tokens_in: int, words: int) -> dict[str, Value]:
    tokens_out = round(words * 1.4)
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "large-70b",
        "gen_ai.usage.input_tokens": tokens_in,
        "gen_ai.usage.output_tokens": tokens_out,
        "evalvault.cost.total": round(tokens_in * 4e-7 + tokens_out * 1.6e-6, 9),
        "evalvault.stage.input.value": question,
        "evalvault.output.answer": answer,
        "evalvault.output.citations": cited,
    }


_ROUTES: Final = {"root": "POST /ask", "search": "POST /search", "served": "POST /search"}


def spans_of(request: Request) -> list[Span]:
    """The request as spans: steps of one parent run one after the other, each parent as long as what is below it."""
    trace_id = f"{request.rng.getrandbits(128):032x}"
    ids = {name: f"{request.rng.getrandbits(64) | 1:016x}" for name in request.steps}
    found: list[Span] = []

    def lay(name: str, start: float) -> float:
        step = request.steps[name]
        end = start + step.ms / 2
        for child in [other for other, below in request.steps.items() if below.parent == name]:
            end = lay(child, end)
        end += step.ms / 2
        found.append(_span(step, trace_id, ids, start, end))
        return end

    for top in [name for name, step in request.steps.items() if step.parent not in request.steps]:
        lay(top, request.start_ms)
    return found


def _span(step: Step, trace_id: str, ids: dict[str, str], start: float, end: float) -> Span:
    begin, finish = (T0_NS + round((ms + step.shift_ms) * MS) for ms in (start, end))
    above = step.hangs or step.parent
    return Span(
        trace_id=trace_id,
        span_id=ids[step.name],
        parent_span_id=ids.get(above, step.hangs),
        name=step.name.rstrip("0123456789")
        if step.stage_type
        else {"root": "POST /ask"}.get(step.name, "POST /search"),
        kind=step.kind,
        start_ns=begin,
        end_ns=finish,
        status_code=STATUS_ERROR if step.error else 0,
        status_message=step.error,
        attributes=step.attributes,
        events=tuple(SpanEvent(begin + 1000, name, said) for name, said in step.events),
        links=(),
        dropped_attributes=step.dropped,
        dropped_events=0,
        dropped_links=0,
        flags=1,
        trace_state="",
        resource=step.service,
        scope=SCOPE,
    )
