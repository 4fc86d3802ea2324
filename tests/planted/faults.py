"""The faults: each is what goes wrong with a request, and what a report must say first.

A fault sets only what an application sets, and says nothing of itself. What must be named is a kind of finding and
words of its headline; a report that says something else first, however true, has not found the fault.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from evalvault_otel.model import Value

from .app import RUN, SEARCHERS, USUAL, Request, Step, Traffic

Plant = Callable[[Request], None]
_LIMIT: Final = 128
_DAY_MS: Final = 86_400_000.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, how it shows in a request, and the kind and the words of the finding that must come first."""

    name: str
    plant: Plant
    kind: str
    words: tuple[str, ...]
    traffic: Traffic = USUAL


def _slow_tail(request: Request) -> None:
    if request.rng.random() < 0.08:
        request.steps["rerank"].ms += request.rng.uniform(2_000, 4_000)


def _empty(request: Request) -> None:
    step = request.steps["retrieval"]
    step.attributes |= {"evalvault.retrieval.doc_ids": [], "evalvault.retrieval.scores": []}
    del step.attributes["evalvault.retrieval.relevant_doc_ids"]
    del request.steps["rerank"]
    request.steps["output"].attributes["evalvault.output.citations"] = []


def _empty_for_one_tenant(request: Request) -> None:
    if request.tenant == "acme":
        _empty(request)


def _prompt_drops_citations(request: Request) -> None:
    if request.progress > 0.5:
        request.asset("output", "prompt", "answer", "v3")
        request.steps["output"].attributes["evalvault.output.citations"] = []


def _timeout_storm(request: Request) -> None:
    if 0.4 < request.progress < 0.6:
        request.steps["retrieval"].ms = 5_000
        request.fails(
            "retrieval", "TimeoutError", f"search index did not answer within 5.0 s (request {request.number})"
        )


def _duplicates(request: Request) -> None:
    said = request.steps["retrieval"].attributes
    docs = said["evalvault.retrieval.doc_ids"]
    said["evalvault.retrieval.doc_ids"] = [doc for doc in docs[:4] for _ in range(2)]


def _truncating_sdk(request: Request) -> None:
    """OpenInference spreads 40 documents over 160 keys; the SDK keeps the last 128 that were set."""
    step, rng = request.steps["retrieval"], request.rng
    scores = sorted((round(rng.uniform(0.4, 0.95), 4) for _ in range(40)), reverse=True)
    flat: dict[str, Value] = {"openinference.span.kind": "RETRIEVER", "input.value": "a question"}
    for n, score in enumerate(scores):
        said = {"id": f"doc-{rng.randint(0, 400)}-{n}", "score": score, "content": f"text {n}", "metadata": "{}"}
        flat |= {f"retrieval.documents.{n}.document.{key}": value for key, value in said.items()}
    step.dropped = len(flat) + 1 - _LIMIT
    kept = list(flat.items())[-(_LIMIT - 1) :]
    step.attributes = dict(kept) | {"openinference.span.kind": "RETRIEVER"}


def _wrong_parent(request: Request) -> None:
    """The header with the context is lost between two services: another one's span id arrives."""
    if request.rng.random() < 0.5:
        request.steps["served"].hangs = f"{request.rng.getrandbits(64) | 1:016x}"


def _parent_circle(request: Request) -> None:
    """Parent ids are set by hand, and wrongly: one span hangs under another that is below it."""
    if request.rng.random() < 0.4:
        request.steps["served"].hangs = "retrieval"


def _late_child(request: Request) -> None:
    """The context of the rewriting is never detached: the answer hangs under it, though it has long ended."""
    request.steps["output"].hangs = "query_rewrite"


def _retry_loop(request: Request) -> None:
    if request.rng.random() > 0.12:
        return
    steps = request.steps
    validation, output = steps.pop("answer_validation"), steps.pop("output")
    for n in range(request.rng.randint(6, 9)):
        steps[f"answer_validation{n}"] = replace(
            validation,
            name=f"answer_validation{n}",
            attributes={**validation.attributes, "evalvault.validation.passed": False},
        )
        steps[f"query_rewrite{n}"] = replace(steps["query_rewrite"], name=f"query_rewrite{n}")
    steps |= {"output": output, "answer_validation": validation}


def _failing_retry_loop(request: Request) -> None:
    if request.rng.random() > 0.15:
        return
    steps = request.steps
    late = {name: steps.pop(name) for name in ("safety_check", "output", "answer_validation")}
    raised = ("exception", {"exception.type": "ToolError", "exception.message": "upstream is busy"})
    for n in range(request.rng.randint(6, 10)):
        steps[f"lookup{n}"] = Step(f"lookup{n}", "tool", "root", 120.0, {"evalvault.stage.type": "tool"}, [raised])
        steps[f"lookup{n}"].error = "upstream is busy"
    steps["lookup"] = Step("lookup", "tool", "root", 120.0, {"evalvault.stage.type": "tool"})
    steps |= late


def _usage_twice(request: Request) -> None:
    """A wrapper of another library reports the tokens of the call below it once more."""
    output = request.steps["output"]
    said = {key: output.attributes[f"gen_ai.usage.{key}"] for key in ("input_tokens", "output_tokens")}
    texts = {"evalvault.stage.input.value": "a question", "evalvault.stage.output.value": "an answer"}
    chain = {
        "evalvault.stage.type": "generation",
        **texts,
        **{f"gen_ai.usage.{key}": value for key, value in said.items()},
    }
    request.steps = {
        name: step for name, step in request.steps.items() if name not in {"output", "answer_validation"}
    } | {
        "chain": Step("chain", "generation", "root", 2.0, chain),
        "output": replace(output, parent="chain"),
        "answer_validation": request.steps["answer_validation"],
    }


def _clock(request: Request) -> None:
    for step in request.steps.values():
        if step.service is SEARCHERS[0] or step.service is SEARCHERS[1]:
            step.shift_ms = -5_000.0


def _slower_every_day(request: Request) -> None:
    request.steps["retrieval"].ms *= 1 + 3 * request.progress


def _score_falls(request: Request) -> None:
    """The documents age: the retriever finds less and less that fits."""
    said = request.steps["retrieval"].attributes
    fade = 1 - 0.45 * request.progress
    said["evalvault.retrieval.scores"] = [round(score * fade, 4) for score in said["evalvault.retrieval.scores"]]


def _model_switched(request: Request) -> None:
    if request.progress > 0.5:
        output = request.steps["output"]
        output.attributes["gen_ai.request.model"] = "small-8b"
        output.attributes["gen_ai.usage.output_tokens"] = 12
        output.attributes["evalvault.output.citations"] = output.attributes["evalvault.output.citations"][:1]


def _context_truncated(request: Request) -> None:
    """The prompt is cut to a budget: what was retrieved does not reach the model."""
    if request.progress > 0.5:
        output = request.steps["output"].attributes
        output["gen_ai.usage.input_tokens"] = 240 + request.rng.randint(-10, 10)


def _recall_after_index(request: Request) -> None:
    if request.progress > 0.5:
        request.asset("retrieval", "index", "policies", "2026-02")
        said = request.steps["retrieval"].attributes
        said["evalvault.retrieval.relevant_doc_ids"] = [f"doc-{n}" for n in range(500, 504)] + said[
            "evalvault.retrieval.doc_ids"
        ][:1]


def _rate_limit(request: Request) -> None:
    if 0.55 < request.progress < 0.75:
        request.fails("output", "RateLimitError", "429 Too Many Requests: limit of 60000 tokens per minute reached")


def _slow_tenant(request: Request) -> None:
    if request.tenant == "birch":
        request.steps["retrieval"].ms *= 25


def _slow_host(request: Request) -> None:
    for name in ("embedding", "retrieval", "rerank"):
        if request.steps[name].service is SEARCHERS[1]:
            request.steps[name].ms *= 1.0 if name != "retrieval" else 30.0


def _no_content(request: Request) -> None:
    output = request.steps["output"].attributes
    del output["evalvault.stage.input.value"], output["evalvault.output.answer"]


def _no_root(request: Request) -> None:
    if request.rng.random() < 0.3:
        del request.steps["root"]
        for step in request.steps.values():
            if step.parent == "root":
                step.hangs = "00f067aa0ba902b7"
            step.attributes["evalvault.run.id"] = RUN


def _lost_batch(request: Request) -> None:
    """The exporter of the search service gave up on a batch."""
    if 0.3 < request.progress < 0.5:
        for name in ("served", "embedding", "retrieval", "rerank"):
            del request.steps[name]


def _safety_blocks_one(request: Request) -> None:
    if request.tenant == "cedar":
        check = request.steps["safety_check"].attributes
        check |= {"evalvault.safety.blocked": True, "evalvault.safety.violations": ["pii"]}
        request.steps["output"].attributes |= {
            "evalvault.output.answer": "I cannot help with that.",
            "gen_ai.usage.output_tokens": 9,
        }


def _embedding_cache_lost(request: Request) -> None:
    if request.progress > 0.4:
        request.steps["embedding"].ms *= 40


def _cites_others(request: Request) -> None:
    if request.rng.random() < 0.25:
        request.steps["output"].attributes["evalvault.output.citations"] = [f"kb-{request.rng.randint(1, 99)}", "kb-0"]


def _twice_the_tokens(request: Request) -> None:
    if request.progress > 0.5:
        output = request.steps["output"].attributes
        output["gen_ai.usage.input_tokens"] *= 3
        output["evalvault.cost.total"] = round(output["evalvault.cost.total"] * 2.6, 9)


def _answers_empty(request: Request) -> None:
    if request.rng.random() < 0.2:
        output = request.steps["output"].attributes
        output |= {"evalvault.output.answer": "", "gen_ai.usage.output_tokens": 0}


def _schema_fails(request: Request) -> None:
    if request.rng.random() < 0.2:
        request.steps["answer_validation"].attributes["evalvault.validation.passed"] = False


def _one_version_fails(request: Request) -> None:
    """A canary on one machine in two breaks."""
    if request.steps["served"].service is SEARCHERS[1] and request.rng.random() < 0.7:
        request.fails("rerank", "ValueError", f"expected 8 scores, got 7 (batch {request.number})")


_DAYS: Final = Traffic(requests=80, every_ms=_DAY_MS / 16)

FAULTS: Final = (
    Fault("slow reranker, in the tail only", _slow_tail, "slow", ("`rerank`", "sometimes slow")),
    Fault("empty retrieval for one tenant", _empty_for_one_tenant, "empty_retrieval", ("found nothing", "`acme`")),
    Fault("prompt v3 drops citations", _prompt_drops_citations, "asset_change", ("`answer`", "v3", "citation")),
    Fault("timeout storm", _timeout_storm, "error", ("`retrieval`", "TimeoutError")),
    Fault("duplicate chunks", _duplicates, "duplicates", ("`retrieval`", "twice")),
    Fault("an SDK that drops attributes", _truncating_sdk, "evidence_lost", ("limit", "128")),
    Fault("wrong parent: it never arrives", _wrong_parent, "evidence_lost", ("parent", "never arrived")),
    Fault("wrong parent: a circle", _parent_circle, "evidence_lost", ("parent", "cut")),
    Fault("wrong parent: one that had ended", _late_child, "late_child", ("`output`", "ended")),
    Fault("retry loop, each try in vain", _retry_loop, "repeats", ("`query_rewrite`", "over and over", "1 is usual")),
    Fault("retry loop of a failing tool", _failing_retry_loop, "repeats", ("`tool`", "ToolError")),
    Fault("token count reported twice", _usage_twice, "evidence_lost", ("Token counts", "repeat")),
    Fault("the clock of one service 5 s off", _clock, "evidence_lost", ("clocks differ", "search under rag-api")),
    Fault("latency drifts up over days", _slower_every_day, "drift", ("`retrieval`", "slower"), _DAYS),
    Fault("scores drift down over days", _score_falls, "drift", ("`retrieval.avg_score`", "fell"), _DAYS),
    Fault("model switched without a version", _model_switched, "drift", ("`output`", "model `small-8b`")),
    Fault("context cut before the model", _context_truncated, "drift", ("`output`", "input tokens", "fell")),
    Fault("recall falls with a new index", _recall_after_index, "asset_change", ("`policies`", "2026-02", "recall")),
    Fault("burst of rate limits", _rate_limit, "error", ("`output`", "429")),
    Fault("one slow tenant", _slow_tenant, "slow", ("`retrieval`", "`birch`")),
    Fault("one slow host", _slow_host, "slow", ("`retrieval`", "`search-2`")),
    Fault("content capture off", _no_content, "evidence_lost", ("content capture is off",)),
    Fault("the root span is lost", _no_root, "evidence_lost", ("no root span",)),
    Fault("a batch of spans is lost", _lost_batch, "missing_stage", ("`retrieval`", "lack")),
    Fault("safety check blocks one tenant", _safety_blocks_one, "blocked", ("`safety_check`", "`cedar`")),
    Fault("embedding cache lost", _embedding_cache_lost, "drift", ("`embedding`", "slower")),
    Fault("citations of documents never retrieved", _cites_others, "citation", ("never retrieved",)),
    Fault("tokens and cost explode", _twice_the_tokens, "drift", ("`output`", "input tokens", "rose")),
    Fault("answers are empty", _answers_empty, "empty_answer", ("`output`", "empty")),
    Fault("answers fail validation", _schema_fails, "invalid", ("`answer_validation`",)),
    Fault("one host of two fails", _one_version_fails, "error", ("`rerank`", "ValueError", "`search-2`")),
)


def _nothing(_: Request) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Healthy:
    """A run with nothing wrong."""

    name: str
    traffic: Traffic
    seed: int
    plant: Plant = _nothing


def _bursty(request: Request) -> None:
    """Answers of very different length, which take as long as they are."""
    factor = math.exp(request.rng.gauss(0, 0.7))
    request.steps["output"].ms *= factor
    said = request.steps["output"].attributes
    said["gen_ai.usage.output_tokens"] = round(said["gen_ai.usage.output_tokens"] * factor) + 1


def _without_citations(request: Request) -> None:
    """An application that never cites."""
    del request.steps["output"].attributes["evalvault.output.citations"]


HEALTHY: Final = (
    *(Healthy(f"usual traffic, {n} traces", Traffic(n), seed) for n, seed in ((60, 11), (60, 12), (150, 13), (40, 14))),
    *(Healthy(f"{n} trace{'s' * (n > 1)}", Traffic(n), n) for n in (1, 2, 3, 5)),
    *(Healthy(f"heavy tails, {n} traces", Traffic(n, tail=0.6), seed) for n, seed in ((60, 21), (120, 22), (20, 23))),
    *(Healthy(f"answers of any length, {n} traces", Traffic(n), n, _bursty) for n in (60, 100)),
    Healthy("over five days", _DAYS, 31),
    Healthy("an application that never cites", Traffic(30), 41, _without_citations),
)
