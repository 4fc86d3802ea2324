"""How expected stages are written down, and how what the spans became is brought into the same form.

A table is written by hand from what a pipeline does. Where the spans of an instrumentation cannot show that, a
`Difference` says what comes out instead, why, and which finding of ours tells the user.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Assembly, StageEvent, Value
from evalvault_otel.wire import otlp_json


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage as a pipeline has it.

    `parent` is the type of the parent stage, `text` what was asked of the stage or what it answered, `documents` their
    ids in the order of rank, `scores` how many of them have one. None of tokens: the call uses none such.
    """

    type: str
    parent: str | None = None
    text: str | None = None
    documents: tuple[str | None, ...] | None = None
    scores: int = 0
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    status: str = "success"
    error: str | None = None


Table = tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Stage number `stage` of trace number `trace` shows `becomes` instead; without that, it does not show at all.

    Of an `extra` stage the spans tell and the pipeline knows nothing: it stands before the stage of that number.
    """

    trace: int
    stage: int
    because: str
    becomes: Mapping[str, Any] | None = None
    extra: Stage | None = None
    finding: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A program, the environment it runs in, a table for each of its traces, and who traces it how differently."""

    name: str
    environment: str
    module: str
    tables: Sequence[Table]
    instrumentations: Mapping[str, Sequence[Difference]]


def assemblies(lines: bytes) -> list[Assembly]:
    """Each line of OTLP/JSON, which holds one trace, as our own code decodes and assembles it."""
    decoded = [otlp_json.decode(line) for line in lines.splitlines()]
    assert not any(found.rejects or found.repaired for found in decoded)
    return [assemble(found.spans) for found in decoded]


def recorded(path: Path) -> list[Assembly]:
    """The assemblies of a recording."""
    return assemblies(path.read_bytes())


def shown(assembly: Assembly) -> Table:
    """The stages of an assembly as a table."""
    types = {stage.stage_id: stage.stage_type for stage in assembly.stages}
    return tuple(_shown(stage, types.get(stage.parent_stage_id or "")) for stage in assembly.stages)


def _shown(stage: StageEvent, parent: str | None) -> Stage:
    said = stage.attributes
    ids = said.get("doc_ids")
    return Stage(
        type=stage.stage_type,
        parent=parent,
        text=_text(said),
        documents=None if ids is None else tuple(ids),
        scores=sum(score is not None for score in said.get("scores", ())),
        model=said.get("model_name"),
        tokens_in=stage.tokens_in,
        tokens_out=stage.tokens_out or None,
        # Some say 0 where others say nothing.
        cached=said.get("tokens_cached_read") or None,
        reasoning=said.get("tokens_reasoning") or None,
        status=stage.status,
        error=stage.error_type,
    )


def _text(said: Mapping[str, Value]) -> Value:
    return next((said[name] for name in ("answer", "query", "text") if name in said), None)


def expected(pipeline: Pipeline, instrumentation: str) -> list[Table]:
    """The tables of a pipeline, with what the instrumentation shows otherwise."""
    differences = pipeline.instrumentations[instrumentation]
    return [
        _changed(table, [said for said in differences if said.trace == number])
        for number, table in enumerate(pipeline.tables)
    ]


def _changed(table: Table, differences: Sequence[Difference]) -> Table:
    rows: list[list[Stage]] = [[row] for row in table] + [[]]
    for said in differences:
        place = rows[said.stage]
        if said.extra is not None:
            place.insert(0, said.extra)
        elif said.becomes is None:
            place.pop()
        else:
            place[-1] = replace(place[-1], **said.becomes)
    return tuple(row for place in rows for row in place)


def unannounced(pipeline: Pipeline, instrumentation: str, found: Sequence[Assembly]) -> list[Difference]:
    """Differences whose finding is not among those of the trace."""
    codes = [{finding.code for finding in assembly.findings} for assembly in found]
    differences = pipeline.instrumentations[instrumentation]
    return [said for said in differences if said.finding is not None and said.finding not in codes[said.trace]]
