"""What a comparison asks of a store: the promises, and how SQL keeps them (`sql/compare.sql`)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Part:
    """A run, or the traces of it that began from `since_ns` on and before `until_ns`."""

    run_id: str
    since_ns: int | None = None
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """A test case: its traces, how many of them failed, and one of them."""

    test_case: str
    traces: int
    failed: int
    trace_id: str


@dataclass(frozen=True, slots=True)
class UsedAsset:
    """An asset in a version, used by stages of a type (None: by no stage)."""

    stage_type: str | None
    kind: str
    name: str
    version: str | None
    digest: str | None


Values = dict[str, dict[str, float]]
"""Metric -> unit (a trace, or a test case) -> the mean of its scores."""


class Comparing(Protocol):
    """The part of `Queries` that a comparison needs besides."""

    def compared_values(self, part: Part, most: int, *, by_case: bool) -> Values:
        """Every metric of the stages, `{type}.error_rate`, and `trace.latency_ms`, `.error_rate`, `.tokens`, `.cost`.

        At most `most` units of each metric, those with the smallest ids: these are random, so they are a sample.
        """

    def compared_types(self, part: Part) -> dict[str, int]:
        """Stage types, and in how many traces each is."""

    def compared_cases(self, part: Part, most: int) -> list[CaseOutcome]:
        """Test cases by id, at most `most`."""

    def compared_traces(self, part: Part) -> int:
        """How many traces there are."""

    def compared_assets(self, part: Part) -> list[UsedAsset]:
        """What its traces used, each once, by kind, name, version and digest."""


class SqlComparing(ABC):
    """`Comparing` over SQL."""

    @abstractmethod
    def _read_of_run(self, name: str, run_id: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named statement that adds up a run."""

    def compared_values(self, part: Part, most: int, *, by_case: bool) -> Values:
        """See `Comparing.compared_values`."""
        unit = {"by_case": 1} if by_case else {"by_trace": 1}
        found: Values = {}
        for row in self._of_part("compared_values", part, most=most, **unit):
            found.setdefault(row["metric_name"], {})[row["unit"]] = row["x"]
        return found

    def compared_types(self, part: Part) -> dict[str, int]:
        """See `Comparing.compared_types`."""
        return {row["stage_type"]: row["traces"] for row in self._of_part("compared_types", part, by_trace=1)}

    def compared_cases(self, part: Part, most: int) -> list[CaseOutcome]:
        """See `Comparing.compared_cases`."""
        return [CaseOutcome(**row) for row in self._of_part("compared_cases", part, most=most, by_case=1)]

    def compared_traces(self, part: Part) -> int:
        """See `Comparing.compared_traces`."""
        (found,) = self._of_part("compared_traces", part, by_trace=1)
        return int(found["traces"])

    def compared_assets(self, part: Part) -> list[UsedAsset]:
        """See `Comparing.compared_assets`."""
        found = [UsedAsset(**row) for row in self._of_part("compared_assets", part, by_trace=1)]
        return sorted(found, key=lambda use: (use.kind, use.name, use.version or "", use.digest or ""))

    def _of_part(self, name: str, part: Part, **params: Any) -> list[dict[str, Any]]:
        return self._read_of_run(name, part.run_id, part_from_ns=part.since_ns, part_to_ns=part.until_ns, **params)
