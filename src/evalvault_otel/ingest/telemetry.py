"""The product's own figures, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class IngestTelemetry:
    """Counters of the way from request to commit. `sent = stored + duplicate + rejected` holds over `spans`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        outcomes = ("stored", "duplicate", "rejected")
        self.spans = _counter(registry, "spans", "Spans by what became of them", "outcome", *outcomes)
        self.log_events = _counter(
            registry, "log_events", "Log records by what became of them", "outcome", *outcomes, "other"
        )
        self.rejects = _counter(
            registry, "rejects", "Spans and log records that can never be stored, by signal", "signal", "traces", "logs"
        )
        self.conflicts = Counter(
            "evalvault_span_conflicts", "Duplicates whose content differs from the stored span", registry=registry
        )
        self.requests = Counter(
            "evalvault_requests", "Export requests by transport and result", ["transport", "result"], registry=registry
        )
        self.waiting_bytes = Gauge(
            "evalvault_waiting_bytes",
            "Bytes of requests that wait for their commit",
            registry=registry,
            multiprocess_mode="livesum",
        )
        # With several workers a replacement finds what its predecessor left: counters go on, nothing waits.
        self.waiting_bytes.set(0)
        self.commit_seconds = Histogram(
            "evalvault_commit_seconds", "Time to store one group of requests", registry=registry
        )
        self.commit_requests = Histogram(
            "evalvault_commit_requests",
            "Requests that shared one transaction",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.spool_bytes = Gauge("evalvault_spool_bytes", "Bytes in the files of the spool", registry=registry)
        self.spool_requests = Gauge(
            "evalvault_spool_requests", "Requests that wait in the spool for the database", registry=registry
        )
        self.spooled_requests = Counter(
            "evalvault_spooled_requests", "Requests acknowledged from the spool", registry=registry
        )
        self.replayed_requests = Counter(
            "evalvault_replayed_requests", "Requests taken from the spool into the database", registry=registry
        )
        self.assembled = Counter("evalvault_traces_assembled", "Traces assembled", ["path"], registry=registry)
        self.assembly_errors = Counter(
            "evalvault_assembly_errors", "Traces that could not be assembled (a defect: see the log)", registry=registry
        )


def _counter(registry: CollectorRegistry, name: str, about: str, label: str, *values: str) -> Counter:
    """A counter that shows 0 for each value of its label from the start."""
    made = Counter(f"evalvault_{name}", about, [label], registry=registry)
    for value in values:
        made.labels(value)
    return made
