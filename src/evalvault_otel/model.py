"""The records that travel from the wire to the answers.

Every record is frozen; what must hold is checked in the constructor. Times are integers in nanoseconds since the
Unix epoch, durations are floats in milliseconds, ids are lower-case hex text. Nothing here knows protobuf, SQL or HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .text import clean_text

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool, slots: bool) -> Any:  # noqa: ARG001 - as `dataclass` is called
        """A data class that is frozen for the type checker only.

        At run time each field of a frozen one is set by a call, which would cost a tenth of all ingest.
        """
        return dataclass(slots=slots, unsafe_hash=True)


# An OTLP AnyValue as a plain Python value: None (the empty value), bool, int, float, str, bytes,
# list (array) or dict (kvlist), nested at will. Source: opentelemetry-proto common.proto, AnyValue.
Value = Any
Attributes = Mapping[str, Value]

STATUS_UNSET: Final = 0
STATUS_OK: Final = 1
STATUS_ERROR: Final = 2


@record(frozen=True, slots=True)
class Resource:
    """What produced the spans. `id` is a hash of the content, so equal resources are one row."""

    id: str
    attributes: Attributes
    dropped_attributes: int = 0
    schema_url: str = ""

    @property
    def service(self) -> str:
        """`service.name`, or `unknown_service` as the OpenTelemetry specification names a missing one."""
        name = self.attributes.get("service.name")
        return clean_text(name) if isinstance(name, str) and name else "unknown_service"


@record(frozen=True, slots=True)
class Scope:
    """The instrumentation scope that made the spans. `id` is a hash of the content."""

    id: str
    name: str = ""
    version: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0
    schema_url: str = ""


@record(frozen=True, slots=True)
class SpanEvent:
    """A span event: something that happened at `time_ns`."""

    time_ns: int
    name: str
    attributes: Attributes
    dropped_attributes: int = 0


@record(frozen=True, slots=True)
class SpanLink:
    """A link to a span, often of another trace. Ids are kept as received, valid or not."""

    trace_id: str
    span_id: str
    trace_state: str
    attributes: Attributes
    dropped_attributes: int = 0
    flags: int = 0


@record(frozen=True, slots=True)
class Span:
    """One received span, complete: what `wire` read is what `wire` can write again.

    `trace_id` has 32 hex digits, `span_id` 16, neither all zero (the border rejects others; trace.proto).
    `parent_span_id` is empty for a root.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status_code: int
    status_message: str
    attributes: Attributes
    events: tuple[SpanEvent, ...]
    links: tuple[SpanLink, ...]
    dropped_attributes: int
    dropped_events: int
    dropped_links: int
    flags: int
    trace_state: str
    resource: Resource
    scope: Scope


@record(frozen=True, slots=True)
class LogEvent:
    """A log record that is an event of a span: a GenAI or `evalvault.*` event sent as a log, complete.

    `name` is its event name; the ids name the span it belongs to, and obey the rules of `Span`. `time_ns` is when it
    happened, `observed_ns` when it was seen. Source: opentelemetry-proto logs.proto, `LogRecord`.
    """

    trace_id: str
    span_id: str
    name: str
    time_ns: int
    observed_ns: int
    severity: int
    severity_text: str
    body: Value
    attributes: Attributes
    dropped_attributes: int
    flags: int
    resource: Resource
    scope: Scope


_USUAL_TYPE: Final = {"span": "text"}


@record(frozen=True, slots=True)
class PayloadRef:
    """Where the body of an input or output is kept; as text `store://id?type=`, without the type where it is the usual.

    The store `span` is the archive: `span://input` is what the stage's own span, or an event of it, says of its input,
    usually text.
    Elsewhere bodies are usually JSON.
    """

    store: str
    id: str
    type: str = "json"

    def __str__(self) -> str:
        usual = self.type == _USUAL_TYPE.get(self.store, "json")
        return f"{self.store}://{self.id}" + ("" if usual else f"?type={self.type}")

    @classmethod
    def parse(cls, uri: str) -> "PayloadRef":
        """The reference that `str` wrote; an address of another form is kept whole, in the store `uri`."""
        store, separator, rest = uri.partition("://")
        identifier, _, kind = rest.partition("?type=")
        if not (separator and store and identifier):
            return cls("uri", uri, "text")
        return cls(store, identifier, kind or _USUAL_TYPE.get(store, "json"))


@record(frozen=True, slots=True)
class StageEvent:
    """One logical step of a RAG answer.

    `type_source` says which rule and which attribute gave the type (`attribute:openinference.span.kind`,
    `rule:answering_generation`, …). `derived` stages have no duration and never count as work.
    `self_ms` is the duration without that of child stages; `critical_ms` the part of the trace's critical path spent
    in this stage itself. `tokens_*` and `cost_total` are set only where usage counts (once per call).

    Raises:
        ValueError: an empty run id, stage id or type, an attempt below 1, or an end before the start.
    """

    trace_id: str
    stage_id: str
    run_id: str
    stage_type: str
    stage_name: str | None = None
    parent_stage_id: str | None = None
    status: str = "success"
    attempt: int = 1
    started_ns: int | None = None
    finished_ns: int | None = None
    duration_ms: float | None = None
    self_ms: float | None = None
    critical_ms: float | None = None
    input_ref: PayloadRef | None = None
    output_ref: PayloadRef | None = None
    attributes: Attributes = field(default_factory=dict)
    metadata: Attributes = field(default_factory=dict)
    span_id: str | None = None
    derived: bool = False
    type_source: str = ""
    wrapped_span_ids: tuple[str, ...] = ()
    error_type: str | None = None
    error_message: str | None = None
    error_fingerprint: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_total: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.run_id and self.stage_id and self.stage_type):
            raise ValueError("run_id, stage_id and stage_type are required")
        if self.attempt < 1:
            raise ValueError(f"attempt must be at least 1, not {self.attempt}")
        if self.started_ns is not None and self.finished_ns is not None and self.finished_ns < self.started_ns:
            raise ValueError("finished before it started")


@record(frozen=True, slots=True)
class AssetUse:
    """A stage used an asset in a version. `stage_id` is empty when no stage encloses the span that recorded it.

    `used_ns` is when it was used; where nobody said, when the span that names it began, or the last use before it.
    `load_ms` is what loading it took, `cache_hit` whether it came from a cache; None where nobody said.
    """

    trace_id: str
    stage_id: str
    ordinal: int
    run_id: str
    kind: str
    name: str
    asset_id: str | None = None
    version: str | None = None
    digest: str | None = None
    origin: str | None = None
    fallback: bool = False
    subtype: str | None = None
    role: str | None = None
    used_ns: int | None = None
    load_ms: float | None = None
    cache_hit: bool | None = None


@record(frozen=True, slots=True)
class StageLink:
    """A stage names another span, often of another trace, and says what it is to it.

    `link_type` is `retry_of`, `follows_from`, `batch`, `replay_of`, `evaluates`, another word, or `link` where the link
    does not say. `stage_id` is empty when no stage encloses the linking span. An evaluation that names a response has
    an empty `linked_trace_id` and the response's id as `linked_span_id`. Ids are kept as received, in small letters.
    """

    trace_id: str
    stage_id: str
    ordinal: int
    run_id: str
    link_type: str
    linked_trace_id: str
    linked_span_id: str
    attributes: Attributes = field(default_factory=dict)


@record(frozen=True, slots=True)
class Finding:
    """Something a person should know about a trace: evidence lost, labels in conflict, usage reported twice."""

    trace_id: str
    ordinal: int
    run_id: str
    code: str
    severity: str
    detail: str
    stage_id: str | None = None
    span_id: str | None = None


@record(frozen=True, slots=True)
class RunTrace:
    """What one trace adds to one run. A trace has one of these for every run that its stages name."""

    trace_id: str
    run_id: str
    service: str
    name: str
    started_ns: int
    finished_ns: int
    stages: int
    errors: int
    stage_types: tuple[str, ...]
    tokens_in: int = 0
    tokens_out: int = 0
    cost_total: float = 0.0
    run_name: str | None = None
    run_kind: str | None = None
    dataset: str | None = None
    dataset_version: str | None = None


@record(frozen=True, slots=True)
class Assembly:
    """All that follows from one trace's spans and log events, and from nothing else (no clock, no order of arrival).

    `mapping_version` names the mapping that made it: `3`, or with rules of a user `3+rules:` and their digest,
    then `+run:` and the choices about runs that are not the default.
    """

    trace_id: str
    run_id: str
    root_span_id: str
    first_ns: int
    last_ns: int
    stages: tuple[StageEvent, ...]
    asset_uses: tuple[AssetUse, ...]
    findings: tuple[Finding, ...]
    runs: tuple[RunTrace, ...]
    mapping_version: str | None = None
    links: tuple[StageLink, ...] = ()


@record(frozen=True, slots=True)
class Reject:
    """What can never be stored, with the reason and what came, for a person to read.

    `count` spans or log records are lost with it. `payload` is text or bytes in `encoding`: `json`, or `protobuf` of an
    `ExportTraceServiceRequest` or `ExportLogsServiceRequest` with this one record, or `bytes` that are neither.
    """

    reason: str
    payload: bytes
    transport: str = ""
    peer: str = ""
    signal: str = "traces"
    encoding: str = "bytes"
    count: int = 1
