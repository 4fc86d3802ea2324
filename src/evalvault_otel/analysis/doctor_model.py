"""The parts of a diagnosis: plain records, per service and instrumentation scope."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """What was looked at: the traces that came last. `complete` is false when there are more. Times are ISO 8601."""

    traces: int
    spans: int
    complete: bool
    oldest: str | None
    newest: str | None


@dataclass(frozen=True, slots=True)
class Counted:
    """Something, on how many spans or stages it was, and what helps or replaces it."""

    name: str
    count: int
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ScopePart:
    """An instrumentation scope: what names the spans it makes carry.

    `unknown` are attributes that no convention claims (numbers of lists are written `N`), the most frequent first.
    """

    name: str
    version: str
    language: str
    schema_urls: list[str]
    spans: int
    conventions: list[Counted]
    generation: str | None
    deprecated: list[Counted]
    unknown: list[Counted]
    conflicts: list[Counted]


@dataclass(frozen=True, slots=True)
class StagePart:
    """A stage type, and in how many of its stages a field is missing that its metrics need."""

    stage_type: str
    count: int
    missing: list[Counted]


@dataclass(frozen=True, slots=True)
class FindingPart:
    """A code of findings, in how many traces, with one of its sentences."""

    code: str
    severity: str
    traces: int
    detail: str
    unknown: str
    fix: str


@dataclass(frozen=True, slots=True)
class ServicePart:
    """One service of the sample."""

    service: str
    traces: int
    spans: int
    scopes: list[ScopePart]
    stages: list[StagePart]
    findings: list[FindingPart]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something to mend: where, what, how."""

    service: str
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """A diagnosis. `troubles` are what makes figures wrong or missing, the rest is for knowing."""

    sample: Sample
    troubles: list[Trouble] = field(default_factory=list)
    services: list[ServicePart] = field(default_factory=list)
    rejects: list[Counted] = field(default_factory=list)
