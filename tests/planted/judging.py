"""Planted runs through the real way in, and what the report says of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from evalvault_otel.analysis.report import debug_report
from evalvault_otel.analysis.report_model import DebugReport
from evalvault_otel.analysis.verdict import stands_out
from evalvault_otel.assembly import assemble
from evalvault_otel.ingest.grouping import group
from evalvault_otel.model import Span
from evalvault_otel.store import Store, open_store
from evalvault_otel.wire import protobuf
from tests.support.otlp import otlp_message
from tests.support.traces import T0_NS

from .app import RUN, Traffic, requests, spans_of
from .faults import FAULTS, HEALTHY, Fault, Healthy, Plant

SEEDS: Final = (1, 2, 3)
_LATER_NS: Final = 10**18


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a report made of a run.

    `rank` is the place of the planted fault among the findings, None if it is missing; `others` counts other findings
    that stand out.
    """

    name: str
    seed: int
    rank: int | None
    first: str
    others: int
    verdict: str


def spans(plant: Plant, traffic: Traffic, seed: int) -> Iterator[Span]:
    """The spans of a run in which a fault is planted."""
    for request in requests(seed, traffic):
        plant(request)
        yield from spans_of(request)


def store_run(store: Store, found: Iterable[Span]) -> None:
    """OTLP, decoded, assembled and written as requests are, and what is incomplete as the background does it."""
    store.write(group(protobuf.decode(otlp_message(found).SerializeToString()).spans).traces, [], T0_NS)
    while due := store.due_traces(T0_NS + _LATER_NS, 1000):
        for trace_id in due:
            store.reassemble(trace_id, assemble, T0_NS + _LATER_NS)


def report_of(db: str, plant: Plant, traffic: Traffic, seed: int) -> DebugReport:
    """The debug report of a planted run in an empty database."""
    store = open_store(db)
    try:
        store.migrate()
        store_run(store, spans(plant, traffic, seed))
        return debug_report(store, RUN)
    finally:
        store.close()


def judged(fault: Fault, seed: int, db: str | None = None) -> Verdict:
    """Whether the report names a fault, and where; in a database of its own unless one is given."""
    report = _report(fault.plant, fault.traffic, seed, db)
    ranks = [rank for rank, problem in enumerate(report.findings, 1) if _names(fault, problem.kind, problem.headline)]
    first = report.findings[0].headline if report.findings else ""
    return Verdict(fault.name, seed, ranks[0] if ranks else None, first, _others(report, ranks[:1]), report.verdict)


def judged_healthy(run: Healthy, db: str | None = None) -> Verdict:
    """What the report says of a run with nothing wrong."""
    report = _report(run.plant, run.traffic, run.seed, db)
    first = report.findings[0].headline if report.findings else ""
    return Verdict(run.name, run.seed, None, first, _others(report, []), report.verdict)


def _others(report: DebugReport, ranks: list[int]) -> int:
    return sum(stands_out(problem) for rank, problem in enumerate(report.findings, 1) if rank not in ranks)


def _names(fault: Fault, kind: str, headline: str) -> bool:
    return kind == fault.kind and all(word in headline for word in fault.words)


def _report(plant: Plant, traffic: Traffic, seed: int, db: str | None) -> DebugReport:
    if db is not None:
        return report_of(db, plant, traffic, seed)
    with TemporaryDirectory() as folder:
        return report_of(f"sqlite:///{Path(folder) / 'planted.db'}", plant, traffic, seed)


def all_judged() -> tuple[list[Verdict], list[Verdict]]:
    """Every fault with every seed, and every healthy run."""
    return [judged(fault, seed) for fault in FAULTS for seed in SEEDS], [judged_healthy(run) for run in HEALTHY]
