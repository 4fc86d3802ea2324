"""The product's own figures, for Prometheus."""

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..settings import Settings
from .stage_figures import StageTelemetry


class IngestTelemetry:
    """Counters of the way from request to commit. `sent = stored + duplicate + rejected` holds over `spans`.

    `expected_assets` names the stage types that are expected to use assets.
    """

    def __init__(self, registry: CollectorRegistry, expected_assets: Collection[str] | None = None) -> None:
        outcomes = ("stored", "duplicate", "rejected")
        self.stages = StageTelemetry(
            registry, Settings().expected_kinds if expected_assets is None else expected_assets
        )
        self.traces = _counters(
            "evalvault_trace_parts",
            "What requests held of each trace, by whether it was stored",
            registry,
            outcome=("stored", "failed"),
        )
        self.spans = _counters("evalvault_spans", "Spans by what became of them", registry, outcome=outcomes)
        self.log_events = _counters(
            "evalvault_log_events", "Log records by what became of them", registry, outcome=(*outcomes, "other")
        )
        self.rejects = _counters(
            "evalvault_rejects",
            "Spans and log records that can never be stored, by signal",
            registry,
            signal=("traces", "logs"),
        )
        self.conflicts = Counter(
            "evalvault_span_conflicts", "Duplicates whose content differs from the stored span", registry=registry
        )
        self.requests = Counter(
            "evalvault_requests", "Export requests by transport and result", ["transport", "result"], registry=registry
        )
        self.waiting_bytes = _gauge("evalvault_waiting_bytes", "Bytes of requests that wait for their commit", registry)
        self.commit_seconds = Histogram(
            "evalvault_commit_seconds", "Time to store one group of requests", registry=registry
        )
        self.commit_requests = Histogram(
            "evalvault_commit_requests",
            "Requests that shared one transaction",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.spool = SpoolTelemetry(registry)
        self.assembled = Counter("evalvault_traces_assembled", "Traces assembled", ["path"], registry=registry)
        self.assembly_errors = Counter(
            "evalvault_assembly_errors", "Traces that could not be assembled (a defect: see the log)", registry=registry
        )


class SpoolTelemetry:
    """What waits in the spool of this process, and what went through it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.bytes = _gauge("evalvault_spool_bytes", "Bytes in the files of the spool", registry)
        self.requests = _gauge("evalvault_spool_requests", "Requests that wait in the spool for the database", registry)
        self.spooled = Counter("evalvault_spooled_requests", "Requests acknowledged from the spool", registry=registry)
        self.replayed = Counter(
            "evalvault_replayed_requests", "Requests taken from the spool into the database", registry=registry
        )

    def show(self, in_files: int, requests: int) -> None:
        """Say what waits now."""
        self.bytes.set(in_files)
        self.requests.set(requests)


def _counters(name: str, meaning: str, registry: CollectorRegistry, **label: tuple[str, ...]) -> Counter:
    """A counter for each value of a label, all there from the start."""
    ((key, values),) = label.items()
    counter = Counter(name, meaning, [key], registry=registry)
    for value in values:
        counter.labels(value)
    return counter


def _gauge(name: str, meaning: str, registry: CollectorRegistry) -> Gauge:
    """A gauge whose sum over several workers makes sense."""
    gauge = Gauge(name, meaning, registry=registry, multiprocess_mode="livesum")
    # A worker that replaces a dead one finds its figures: counters go on from there, gauges begin anew.
    gauge.set(0)
    return gauge
