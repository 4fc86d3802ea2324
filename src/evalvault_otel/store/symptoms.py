"""What a debug report asks of a store about symptoms: the promises, and how SQL keeps them (`sql/symptoms.sql`)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Final, Protocol

from . import read_rows as rows
from .records import Place

WINDOWS: Final = 8
# Stages read of each half of a comparison, stages of each window, traces whose parents are looked at.
_MOST_COMPARED: Final = 1_000
_MOST_IN_WINDOW: Final = 2_000
_MOST_TRACES: Final = 1_000
_MOST_LOOPING: Final = 300
_LONGEST_WORD: Final = 64
_SLACK_NS: Final = 2_000_000
_LATEST_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Symptom:
    """Stages of a type that show something, said by the parameters that are set; each set one must hold.

    Failed with this `fingerprint`; succeeded and themselves took more than `above_ms`; began at `from_ns` or later; or
    one of `empty`, `duplicates`, `citation`, `empty_answer`, `blocked` and `invalid` in `shows`.
    """

    stage_type: str
    shows: str = ""
    fingerprint: str | None = None
    above_ms: float | None = None
    from_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """How many stages with and without a symptom say `word` for `key`, of how many of each that were compared.

    `complete` when no stage was left out.
    """

    key: str
    word: str
    hits: int
    others: int
    all_hits: int
    all_others: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """`traces` of the `of` traces with stages of a type have one that is `blocked`, `invalid` or an `empty_answer`."""

    problem: str
    stage_type: str
    traces: int
    of: int
    examples: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The scores of a metric in one of `WINDOWS` equal parts of the time of a run, from 0; one score per trace."""

    metric_name: str
    part: int
    count: int
    avg: float
    variance: float


@dataclass(frozen=True, slots=True)
class Loop:
    """A trace that has `n` stages of one type and name; `usual` is the median over the traces that have any."""

    stage_type: str
    name: str
    trace_id: str
    n: int
    failures: int
    error_type: str | None
    error_message: str | None
    usual: float


@dataclass(frozen=True, slots=True)
class LateChildren:
    """Stages that began after their parent had ended, in `traces` of the `of` traces that were looked at."""

    stage_type: str
    parent_type: str
    traces: int
    of: int
    examples: tuple[Place, ...]


class SymptomQueries(Protocol):
    """The part of `Queries` about symptoms. Whole attributes are read of samples of a few thousand stages only."""

    def segments(self, run_id: str, symptom: Symptom) -> list[Segment]:
        """What at least half of the stages with a symptom, and at least three, say of themselves: by key and word.

        Words are texts and truth values in the attributes of the stage, the metadata of its trace and its resource.
        """

    def checks(self, run_id: str, examples: int) -> list[Check]:
        """Answers without text, and stages that a safety check blocked or a validation failed, by problem."""

    def windows(self, run_id: str, first_ns: int, last_ns: int) -> list[Window]:
        """Metrics of successful stages, latency, input tokens and cost included, in equal parts of a time.

        A trace counts with its average. By stage type, name and part; parts without a score are left out.
        """

    def loops(self, run_id: str, least: int, least_failures: int) -> list[Loop]:
        """Traces with at least so many stages of one type and name, or so many failed ones; those with most first.

        Of a long run the few hundred traces with most stages and most errors are looked at, and the first ones.
        """

    def late_children(self, run_id: str, examples: int) -> list[LateChildren]:
        """Stages that began after the stage above them had ended, the most frequent kind first."""


class SqlSymptomQueries(ABC):
    """`SymptomQueries` over SQL."""

    @abstractmethod
    def _read_of_run(self, name: str, run_id: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named statement that adds up a run."""

    def segments(self, run_id: str, symptom: Symptom) -> list[Segment]:
        """See `SymptomQueries.segments`."""
        said = asdict(symptom)
        shows = said.pop("shows")
        given = {**said, **({shows: True} if shows else {})}
        found = self._read_of_run("segments", run_id, most=_MOST_COMPARED, longest=_LONGEST_WORD, **given)
        return [Segment(**row, complete=max(row["all_hits"], row["all_others"]) < _MOST_COMPARED) for row in found]

    def checks(self, run_id: str, examples: int) -> list[Check]:
        """See `SymptomQueries.checks`."""
        found = self._read_of_run("checks", run_id, examples=examples)
        return [
            Check(problem, some[0]["stage_type"], some[0]["count"], some[0]["of_all"], _places(some))
            for (problem,), some in _grouped(found, "problem")
        ]

    def windows(self, run_id: str, first_ns: int, last_ns: int) -> list[Window]:
        """See `SymptomQueries.windows`."""
        # The end of the last part is a number of 64 bits, too.
        step = min((last_ns - first_ns) // WINDOWS + 1, (_LATEST_NS - first_ns) // WINDOWS)
        found = self._read_of_run("windows", run_id, first_ns=first_ns, step_ns=step, most=_MOST_IN_WINDOW)
        return [
            Window(
                f"{row['stage_type']}.{row['name']}",
                *(row["part"], row["count"], row["avg"]),
                variance=max(row["avg_square"] - row["avg"] ** 2, 0.0),
            )
            for row in found
        ]

    def loops(self, run_id: str, least: int, least_failures: int) -> list[Loop]:
        """See `SymptomQueries.loops`."""
        found = self._read_of_run("repeats", run_id, least=least, least_failures=least_failures, most=_MOST_LOOPING)
        return [Loop(**_without(row, "percentiles"), usual=_usual(row["percentiles"])) for row in found]

    def late_children(self, run_id: str, examples: int) -> list[LateChildren]:
        """See `SymptomQueries.late_children`."""
        found = self._read_of_run("late_children", run_id, examples=examples, most=_MOST_TRACES, slack_ns=_SLACK_NS)
        return [
            LateChildren(stage_type, parent_type, some[0]["traces"], some[0]["of_traces"], _places(some))
            for (stage_type, parent_type), some in _grouped(found, "stage_type", "parent_type")
        ]


def _usual(percentiles: Any) -> float:
    """The median; 0 where none of the first traces has such a stage."""
    return float(rows.document(percentiles)[0]) if percentiles else 0.0


def _grouped(found: Iterable[Mapping[str, Any]], *names: str) -> list[tuple[tuple[Any, ...], list[Mapping[str, Any]]]]:
    """Rows that follow each other with the same values of these columns."""
    grouped = groupby(found, key=lambda row: tuple(row[name] for name in names))
    return [(key, list(some)) for key, some in grouped]


def _places(found: Sequence[Mapping[str, Any]]) -> tuple[Place, ...]:
    return tuple(map(rows.place_of, found))


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
