"""What the report made of the planted runs, as the page docs/debug-faults.md."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from .faults import FAULTS, HEALTHY
from .judging import SEEDS, Verdict

PAGE: Final = Path(__file__).parents[2] / "docs" / "debug-faults.md"
_HEAD: Final = """\
# Planted faults

<!-- Made by `python -m tests.planted`: change the faults or the report, not this page. -->

Does the debug report name what is wrong? A generator (`tests/planted`) makes runs of a RAG application with one known
fault each, and runs with none. Their spans go the usual way: OTLP, decoded, assembled, stored. Then comes the report.
A fault counts as named when the *first* finding has the right kind and says the right words: the stage, the cause, the
tenant. [ADR 0027](adr/0027-findings-that-stand-out.md) tells how the report decides.

Each fault is planted with {seeds} seeds. "Named first" counts the seeds in which it was; "Place" is the worst place
among the findings. "Others" counts other findings that stand out, over all seeds: most follow from the fault (a search
that returns everything twice also recalls less), and come below it.

"""
_EXAMPLE: Final = """
## What it says

The first finding of each fault, for the first seed.

"""
_HEALTHY: Final = """
## Nothing wrong

Healthy runs differ in size, seed and how uneven their times are. In none may anything stand out.

| Run | Stands out | Verdict |
|---|---|---|
"""


def recall(planted: Sequence[Verdict]) -> float:
    """The share of planted runs whose fault is the first finding."""
    return sum(verdict.rank == 1 for verdict in planted) / len(planted)


def precision(planted: Sequence[Verdict], healthy: Sequence[Verdict]) -> float:
    """Of the runs in which something is said to be looked at first, the share in which it is the planted fault."""
    alarms = [verdict for verdict in (*planted, *healthy) if "Look at this first" in verdict.verdict]
    return sum(verdict.rank == 1 for verdict in alarms) / len(alarms)


def page(planted: Sequence[Verdict], healthy: Sequence[Verdict]) -> str:
    """The page, in Markdown."""
    figures = (
        f"**{len(FAULTS)} faults, {len(planted)} runs: recall {recall(planted):.2f}. "
        f"{len(HEALTHY)} healthy runs: {sum(v.others > 0 for v in healthy)} false alarms; "
        f"precision {precision(planted, healthy):.2f}.**\n\n"
    )
    head = _HEAD.format(seeds=len(SEEDS)) + figures
    return head + _table(planted) + _EXAMPLE + _examples(planted) + _HEALTHY + _healthy(healthy)


def _table(planted: Iterable[Verdict]) -> str:
    rows = ["| Fault | Named first | Place | Others |", "|---|---|---|---|"]
    for name, members in groupby(planted, key=lambda verdict: verdict.name):
        found = list(members)
        ranks = [verdict.rank for verdict in found]
        worst = "missing" if None in ranks else max(rank for rank in ranks if rank is not None)
        first = sum(rank == 1 for rank in ranks)
        rows.append(f"| {name} | {first} of {len(found)} | {worst} | {sum(v.others for v in found)} |")
    return "\n".join(rows) + "\n"


def _examples(planted: Iterable[Verdict]) -> str:
    return "".join(f"* **{v.name}**: {_cell(v.first)}\n" for v in planted if v.seed == SEEDS[0])


def _healthy(healthy: Iterable[Verdict]) -> str:
    return "".join(f"| {v.name} | {v.others} | {_cell(v.verdict)} |\n" for v in healthy)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
