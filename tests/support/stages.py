"""Stages for tests, made by hand and written into a store: what `assemble` would return, without spans.

Numbers name things: trace 1 has the id `00…01`, stage 2 of it the id `t1-s2`. Times are in milliseconds after `T0_NS`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from evalvault_otel.assembly.metrics import stage_metrics
from evalvault_otel.model import Assembly, AssetUse, Finding, RunTrace, StageEvent
from evalvault_otel.store import Store, TraceBatch
from tests.support.traces import T0_NS, at

RUN = "run-1"


def tid(number: int) -> str:
    """The id of trace `number`."""
    return f"{number:032x}"


def stage(trace: int, number: int, stage_type: str, start: float = 0, ms: float | None = 10, **said: Any) -> StageEvent:
    """Stage `number` of a trace. Its self and critical time are its duration, its metrics those of its attributes."""
    attributes = said.pop("attributes", {})
    fields: dict[str, Any] = {
        "trace_id": tid(trace),
        "stage_id": f"t{trace}-s{number}",
        "run_id": RUN,
        "stage_type": stage_type,
        "started_ns": at(start),
        "finished_ns": None if ms is None else at(start + ms),
        "duration_ms": ms,
        "self_ms": ms,
        "critical_ms": ms,
        "attributes": attributes,
        "span_id": f"{trace:08x}{number:08x}",
        "type_source": "attribute:evalvault.stage.type",
        "metrics": stage_metrics(stage_type, attributes, {}).scores,
    }
    return StageEvent(**{**fields, **said})


def use(trace: int, number: int, kind: str, name: str, version: str | None = None, **said: Any) -> AssetUse:
    """Stage `number` of a trace used an asset."""
    fields: dict[str, Any] = {"ordinal": 0, "run_id": RUN, "version": version, "used_ns": at(trace * 1000)}
    return AssetUse(tid(trace), f"t{trace}-s{number}", kind=kind, name=name, **{**fields, **said})


def assembly(
    stages: Sequence[StageEvent], uses: Iterable[AssetUse] = (), findings: Iterable[Finding] = (), **said: Any
) -> Assembly:
    """The assembly of one trace from its stages; `said` goes into its part of each run."""
    first = min(item.started_ns for item in stages if item.started_ns is not None)
    last = max(item.finished_ns or item.started_ns or 0 for item in stages)
    trace_id = stages[0].trace_id
    runs = sorted({item.run_id for item in stages})
    parts = tuple(
        _part(run_id, [item for item in stages if item.run_id == run_id], first, last, said) for run_id in runs
    )
    root = stages[0].span_id or ""
    return Assembly(trace_id, runs[0], root, first, last, tuple(stages), tuple(uses), tuple(findings), parts)


def _part(run_id: str, stages: Sequence[StageEvent], first: int, last: int, said: dict[str, Any]) -> RunTrace:
    fields: dict[str, Any] = {
        "service": "rag-api",
        "name": "POST /ask",
        "started_ns": first,
        "finished_ns": last,
        "stages": len(stages),
        "errors": sum(item.status in {"error", "timeout"} for item in stages),
        "stage_types": tuple(sorted({item.stage_type for item in stages})),
        "tokens_in": sum(item.tokens_in or 0 for item in stages),
        "tokens_out": sum(item.tokens_out or 0 for item in stages),
        "cost_total": sum(item.cost_total or 0.0 for item in stages),
    }
    return RunTrace(stages[0].trace_id, run_id, **{**fields, **said})


def save(store: Store, *assemblies: Assembly) -> None:
    """Write assemblies of different traces into a store."""
    batches = [TraceBatch(found.trace_id, (), found, missing_root=False, missing_parent=False) for found in assemblies]
    store.write(sorted(batches, key=lambda batch: batch.trace_id), [], T0_NS)


# What `planted_run` holds, by trace number.
PLANTED_TRACES = 40
SLOW, FAILED, EMPTY, CHANGED_FROM = (7, 19, 33), (5, 15, 25, 35), (9, 29), 21


def planted_run() -> list[Assembly]:
    """A run of 40 traces in which a report must find four things, each in the traces named above.

    `rerank` is sometimes slow, `query_rewrite` sometimes fails, `retrieval` sometimes finds nothing, and the prompt
    `answer` changes from version 1 to 2 and halves the citations.
    """
    return [_planted(trace) for trace in range(1, PLANTED_TRACES + 1)]


def _planted(trace: int) -> Assembly:
    begin = trace * 1000.0
    docs = [] if trace in EMPTY else [f"doc-{trace}", f"doc-{trace + 1}", f"doc-{trace + 2}"]
    version = "1" if trace < CHANGED_FROM else "2"
    citations = (docs or ["doc-0"])[: 2 if version == "1" else 1]
    failure = {
        "status": "error",
        "error_type": "ValueError",
        "error_message": "no closing quote",
        "error_fingerprint": "f1",
    }
    rerank_ms = 400.0 if trace in SLOW else 5.0 + trace % 2
    stages = [
        stage(trace, 5, "input", begin, None, derived=True),
        stage(trace, 1, "query_rewrite", begin, 2.0, **(failure if trace in FAILED else {})),
        stage(
            trace,
            2,
            "retrieval",
            begin + 2,
            8.0 + trace % 3,
            attributes={"query": f"question {trace}", "doc_ids": docs},
        ),
        stage(trace, 3, "rerank", begin + 15, rerank_ms, stage_name="cross-encoder"),
        stage(trace, 4, "output", begin + 15 + rerank_ms, 30.0, attributes={"citations": citations}),
    ]
    uses = [use(trace, 4, "prompt", "answer", version), use(trace, 2, "index", "docs", "7")]
    return assembly(stages, uses, run_name="nightly", run_kind="offline", dataset="qa", dataset_version="1")
