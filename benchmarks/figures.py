"""A measured figure beside its target, the table of all of them, and what is worth knowing about the machine."""

import os
import platform
import sqlite3
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .place import work_directory


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `reached` is None where there is no target, `detail` says what else was seen.

    `command` measures it again, `at` is the day of the measurement, `machine` where it was; the three are noted by
    `placed`.
    """

    name: str
    value: float | None
    unit: str
    target: str = ""
    reached: bool | None = None
    detail: str = ""
    command: str = ""
    at: str = ""
    machine: str = ""


def placed(figure: Figure, command: str, on: str) -> Figure:
    """A figure with its command, its machine and the day of today."""
    return replace(figure, command=command, at=time.strftime("%Y-%m-%d"), machine=on)


def at_least(name: str, value: float, limit: float, unit: str, detail: str = "") -> Figure:
    """A figure that should not be below `limit`."""
    return Figure(name, value, unit, f">= {limit:,g}", value >= limit, detail)


def at_most(name: str, value: float, limit: float, unit: str, detail: str = "") -> Figure:
    """A figure that should not be above `limit`."""
    return Figure(name, value, unit, f"<= {limit:,g}", value <= limit, detail)


def void(name: str, why: str) -> Figure:
    """A figure that could not be measured, or whose measurement is worth nothing."""
    return Figure(name, None, "", "", reached=False, detail=f"void: {why}")


def skipped(name: str, why: str) -> Figure:
    """A figure that this machine cannot measure now."""
    return Figure(name, None, "", "", reached=None, detail=f"skipped: {why}")


def table(figures: Sequence[Figure]) -> str:
    """Figures as text, a line each, details indented below."""
    rows = [("figure", "measured", "target", "reached")]
    rows += [(f.name, _measured(f), f.target, _YES_NO[f.reached]) for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"* {f.name}: {f.detail}" for f in figures if f.detail]
    return "\n".join([*lines, "", *notes])


def markdown(figures: Sequence[Figure]) -> str:
    """Figures as a Markdown table, with the machines and days below it."""
    head = ["| Figure | Measured | Target | Reached | Command |", "|---|---|---|---|---|"]
    rows = [
        f"| {f.name} | {_measured(f)} | {_SIGNS.get(f.target[:2], '')}{f.target[2:]} | {_YES_NO[f.reached]} "
        f"| `{f.command}` |"
        for f in figures
    ]
    # Without the time of an fsync, which is another each time.
    places = dict.fromkeys(f"{f.at}: {f.machine.rpartition(', ')[0]}" for f in figures)
    return "\n".join([*head, *rows, "", *(f"Measured on {place}." for place in places)])


_SIGNS = {">=": "≥", "<=": "≤"}
_YES_NO = {True: "yes", False: "NO", None: ""}


def _measured(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    value = figure.value
    text = f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.3g}"
    return f"{text} {figure.unit}".rstrip()


def machine() -> str:
    """One line about this machine, so that figures of two machines are not compared blindly."""
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {_sync_ms():.2f} ms for write + fsync of 8 KiB"
    )


def _sync_ms(tries: int = 50) -> float:
    times = []
    with work_directory() as directory, (directory / "sync").open("wb") as file:
        for _ in range(tries):
            started = time.perf_counter()
            file.write(b"x" * 8192)
            file.flush()
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)
