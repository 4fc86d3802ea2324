"""Diagnosis: what arrives, per service and instrumentation scope, what it lacks, and what helps.

Reads the traces that came last, bounded in traces and spans, so that it takes seconds on a database of any size.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..assembly.finding_codes import WARNING
from ..assembly.span_findings import parties
from ..conventions.deprecated import DEPRECATED
from ..conventions.reading import DEFAULT, Conventions
from ..conventions.user_rules import UserRules
from ..model import Finding, Scope, Span, StageEvent
from ..store import Store
from ..store.diagnosis import RecentTrace
from ..store.records import RejectFilter
from .doctor_fields import stage_parts
from .doctor_model import Counted, Diagnosed, FindingPart, Sample, ScopePart, ServicePart, Trouble
from .doctor_names import convention_of, general, generation, is_unknown, meant
from .figures import iso
from .finding_meanings import meaning_of

MOST_TRACES: Final = 200
MOST_SPANS: Final = 5_000
PROBE_SERVICE: Final = "evalvault-otel-doctor"
_SHOWN: Final = 20
_REJECTS: Final = 1_000
# A field that some stages lack is a fact about these stages; one that most lack is a fact about the instrumentation.
_MOSTLY: Final = 0.5
_DIGITS: Final = re.compile(r"\d+")


def diagnose(
    store: Store,
    since_ns: int | None = None,
    most_traces: int = MOST_TRACES,
    most_spans: int = MOST_SPANS,
    conventions: Conventions = DEFAULT,
) -> Diagnosed:
    """The diagnosis of the traces received last, of those received since `since_ns` if that is given.

    Raises:
        Unavailable: the database cannot be reached.
    """
    recent = store.recent_traces(most_traces + 1, since_ns)
    seen: dict[str, _Service] = {}
    spans_left, complete = most_spans, len(recent) <= most_traces
    looked_at: list[RecentTrace] = []
    for trace in recent[:most_traces]:
        if trace.span_count > spans_left:
            complete = False
            continue
        spans = _look_at(store, trace.trace_id, seen, conventions, spans_left)
        if spans:
            spans_left -= spans
            looked_at.append(trace)
    while not looked_at and recent:  # all too large: a part of one tells more than nothing
        trace = recent.pop(0)
        spans = _look_at(store, trace.trace_id, seen, conventions, most_spans)
        if spans:
            spans_left -= spans
            looked_at.append(trace)
    services = [service.part(conventions.rules) for _, service in sorted(seen.items())]
    sample = Sample(
        traces=len(looked_at),
        spans=most_spans - spans_left,
        complete=complete,
        oldest=iso(looked_at[-1].received_ns) if looked_at else None,
        newest=iso(looked_at[0].received_ns) if looked_at else None,
    )
    rejects = _rejects(store, since_ns)
    return Diagnosed(sample, [*_troubles(services), *_of_rejects(rejects)], services, rejects)


@dataclass(slots=True)
class _Scope:
    """What is known of a scope so far."""

    scope: Scope
    languages: set[str] = field(default_factory=set)
    schema_urls: set[str] = field(default_factory=set)
    spans: int = 0
    keys: Counter[str] = field(default_factory=Counter)
    conventions: Counter[str] = field(default_factory=Counter)
    conflicts: dict[str, list[str]] = field(default_factory=dict)

    def add(self, span: Span, conventions: Conventions) -> None:
        """Count a span."""
        self.spans += 1
        resource = span.resource
        self.languages.add(str(resource.attributes.get("telemetry.sdk.language", "")))
        self.schema_urls |= {url for url in (span.scope.schema_url, resource.schema_url) if url}
        self.keys.update(span.attributes.keys())
        self.conventions.update({name for name in map(convention_of, span.attributes) if name})
        for conflict in conventions.read(span, is_root=not span.parent_span_id).conflicts:
            self.conflicts.setdefault(parties(conflict), []).append(conflict)

    def part(self, rules: UserRules | None) -> ScopePart:
        """What is told of it."""
        unknown: Counter[str] = Counter()
        for key, count in self.keys.items():
            if is_unknown(key) and not (rules and rules.reads(key)):
                unknown[general(key)] = max(unknown[general(key)], count)
        old = Counter({key: self.keys[key] for key in DEPRECATED if key in self.keys})
        return ScopePart(
            name=self.scope.name,
            version=self.scope.version,
            language=", ".join(sorted(filter(None, self.languages))),
            schema_urls=sorted(self.schema_urls),
            spans=self.spans,
            conventions=_most(self.conventions),
            generation=generation(self.keys),
            deprecated=[Counted(key, count, DEPRECATED[key]) for key, count in _ordered(old)],
            unknown=[Counted(key, count, meant(key)) for key, count in _ordered(unknown)[:_SHOWN]],
            conflicts=[Counted(said[0], len(said)) for said in self.conflicts.values()][:_SHOWN],
        )


@dataclass(slots=True)
class _Service:
    """What is known of a service so far."""

    name: str
    traces: set[str] = field(default_factory=set)
    scopes: dict[tuple[str, str], _Scope] = field(default_factory=dict)
    stages: list[StageEvent] = field(default_factory=list)
    findings: dict[str, list[Finding]] = field(default_factory=dict)

    def part(self, rules: UserRules | None) -> ServicePart:
        """What is told of it."""
        scopes = [scope.part(rules) for _, scope in sorted(self.scopes.items())]
        spans = sum(scope.spans for scope in scopes)
        found = [_finding_part(members) for _, members in sorted(self.findings.items())]
        found.sort(key=lambda part: (part.severity != WARNING, -part.traces, part.code))
        return ServicePart(self.name, len(self.traces), spans, scopes, stage_parts(self.stages), found)


def _look_at(store: Store, trace_id: str, seen: dict[str, _Service], conventions: Conventions, most: int) -> int:
    """Take in the spans of a trace, the first `most`, but those of our own probe; how many that were."""
    spans = [span for span in store.spans(trace_id) if span.resource.service != PROBE_SERVICE][:most]
    if not spans:
        return 0
    by_id = {span.span_id: _service(seen, span) for span in spans}
    entry = by_id[next((span for span in spans if not span.parent_span_id), spans[0]).span_id]
    for span in spans:
        service = by_id[span.span_id]
        service.traces.add(trace_id)
        key = (span.scope.name, span.scope.version)
        service.scopes.setdefault(key, _Scope(span.scope)).add(span, conventions)
    for stage in store.trace_stages(trace_id):
        by_id.get(stage.span_id or "", entry).stages.append(stage)
    for finding in store.findings(trace_id):
        by_id.get(finding.span_id or "", entry).findings.setdefault(finding.code, []).append(finding)
    return len(spans)


def _service(seen: dict[str, _Service], span: Span) -> _Service:
    return seen.setdefault(span.resource.service, _Service(span.resource.service))


def _finding_part(members: Sequence[Finding]) -> FindingPart:
    first = members[0]
    traces = len({finding.trace_id for finding in members})
    return FindingPart(first.code, first.severity, traces, first.detail, *meaning_of(first.code))


def _ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _most(counts: Counter[str]) -> list[Counted]:
    return [Counted(name, count) for name, count in _ordered(counts)[:_SHOWN]]


def _rejects(store: Store, since_ns: int | None) -> list[Counted]:
    reasons: Counter[str] = Counter()
    for reject in store.rejects(RejectFilter(since_ns), _REJECTS).items:
        reasons[_DIGITS.sub("N", reject.reason)] += reject.count
    return _most(reasons)


# What has to be mended.


def _troubles(services: Sequence[ServicePart]) -> Iterator[Trouble]:
    if services and not any(service.stages for service in services):
        yield Trouble("", "no span of the sample is a stage", meaning_of("no_stages")[1])
    for service in services:
        for finding in service.findings:
            if finding.severity == WARNING:
                yield Trouble(service.service, f"{finding.code} in {_of(finding.traces, 'trace')}", finding.fix)
        for stage in service.stages:
            for item in stage.missing:
                if item.count >= stage.count * _MOSTLY:
                    what = (
                        f"{item.name} is missing in {item.count:,} of {_of(stage.count, f'{stage.stage_type} stage')}"
                    )
                    yield Trouble(service.service, what, item.remedy)
        for scope in service.scopes:
            for item in scope.conflicts:
                fix = meaning_of("convention_conflict")[1]
                yield Trouble(service.service, f"{item.name} (on {_of(item.count, 'span')} of {scope.name})", fix)


def _of_rejects(rejects: Iterable[Counted]) -> Iterator[Trouble]:
    for item in rejects:
        signal = "wrong_signal, " if "request sent to" in item.name else ""
        what = f"{signal}{_of(item.count, 'reject')}: {item.name}"
        yield Trouble("", what, "`evalvault-otel rejects` shows who sent them")


def _of(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
