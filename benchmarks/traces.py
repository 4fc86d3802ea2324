"""RAG traces as OTLP export requests: the load of all benchmarks.

One trace has 8 spans: the root (an OpenInference CHAIN), and input, query rewriting, retrieval, rerank, prompt,
generation (an OpenInference LLM) and output, each with two `evalvault.asset.used` events; 2.4 KB of protobuf per span
on average. The same seed gives the same requests, ids included; within one generator no id is used twice.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from .prose import Prose
from .story import Story, make_story, root_attributes, stage_attributes

SPANS_PER_TRACE = 8
STAGES_PER_TRACE = 7
ASSETS_PER_TRACE = 14
TRACES_PER_EXPORT = 64
SPANS_PER_EXPORT = SPANS_PER_TRACE * TRACES_PER_EXPORT

_TEMPLATES = 6
_TRACE_SPACING_NS = 7_000_000
_MS = 1_000_000

_RESOURCE: dict[str, Any] = {
    "service.name": "benchmark-rag",
    "service.version": "2.4.1",
    "service.instance.id": "627cc493-f310-47de-96bd-71410b7dec09",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.language": "python",
    "telemetry.sdk.version": "1.45.0",
    "deployment.environment.name": "production",
    "host.name": "rag-7f9c5d-x2k4p",
}

# Two assets per stage: (kind, name).
_ASSETS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "input": (("schema", "ask/request"), ("policy", "privacy/pii_masking")),
    "query_rewrite": (("prompt", "ops/query_rewrite"), ("model", "small-instruct-8b")),
    "retrieval": (("index", "policies-bm25"), ("query", "find_policies")),
    "rerank": (("model", "cross-encoder-base"), ("policy", "rerank/cutoff")),
    "prompt": (("prompt", "ops/answer_compose"), ("schema", "answer/contract")),
    "generation": (("model", "large-instruct-70b"), ("tool", "policy_lookup")),
    "output": (("screen", "answer_card"), ("policy", "safety/answer_filter")),
}
_NAMES = {
    "input": "accept_question",
    "query_rewrite": "rewrite_query",
    "retrieval": "bm25-top5",
    "rerank": "cross-encoder-top3",
    "prompt": "compose_prompt",
    "generation": "ChatCompletion",
    "output": "present_answer",
}
# Usual duration of a stage in milliseconds; each trace varies it.
_DURATIONS = {
    "input": 3,
    "query_rewrite": 140,
    "retrieval": 60,
    "rerank": 90,
    "prompt": 2,
    "generation": 900,
    "output": 8,
}


class Generator:
    """Makes export requests of 64 whole traces each.

    `runs` run ids share the traces in turn: `run_id` itself when there is one, else `run_id-0`, `run_id-1`, …
    """

    def __init__(self, seed: int, run_id: str = "benchmark", runs: int = 1, start_ns: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a reproducible load, no secret
        self._prose = Prose(seed)
        self._run_ids = [run_id] if runs == 1 else [f"{run_id}-{number}" for number in range(runs)]
        self._clock_ns = start_ns
        self._templates = [self._template() for _ in range(_TEMPLATES)]
        self._made = 0

    def exports(self, count: int) -> Iterator[ExportTraceServiceRequest]:
        """Further requests; no id is ever used twice."""
        for _ in range(count):
            request = ExportTraceServiceRequest()
            request.CopyFrom(self._templates[self._made % _TEMPLATES])
            self._stamp(request)
            self._made += 1
            yield request

    def payloads(self, count: int) -> list[bytes]:
        """Further requests as bytes."""
        return [request.SerializeToString() for request in self.exports(count)]

    def _template(self) -> ExportTraceServiceRequest:
        spans = [span for _ in range(TRACES_PER_EXPORT) for span in trace_spans(make_story(self._random, self._prose))]
        scope = ScopeSpans(scope=InstrumentationScope(name="benchmark.rag", version="2.4.1"), spans=spans)
        resource = Resource(attributes=pairs(_RESOURCE))
        return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope])])

    def _stamp(self, request: ExportTraceServiceRequest) -> None:
        """Fresh ids, times of this moment of the load, and the run id on each root."""
        spans = request.resource_spans[0].scope_spans[0].spans
        for first in range(0, len(spans), SPANS_PER_TRACE):
            trace = spans[first : first + SPANS_PER_TRACE]
            self._stamp_trace(trace)
            run_id = self._run_ids[(first // SPANS_PER_TRACE) % len(self._run_ids)]
            trace[-1].attributes.append(pair("evalvault.run.id", run_id))
            self._clock_ns += _TRACE_SPACING_NS

    def _stamp_trace(self, trace: list[Span]) -> None:
        trace_id = self._random.randbytes(16)
        root_id = self._random.randbytes(8)
        for span in trace:
            span.trace_id = trace_id
            span.span_id = self._random.randbytes(8)
            span.parent_span_id = root_id
            span.start_time_unix_nano += self._clock_ns
            span.end_time_unix_nano += self._clock_ns
            for event in span.events:
                event.time_unix_nano += self._clock_ns
        trace[-1].span_id, trace[-1].parent_span_id = root_id, b""


def trace_spans(story: Story) -> list[Span]:
    """The spans of one trace as they end: stages, then the root. Times count from 0, ids are still empty."""
    spans, clock = [], _MS
    for stage, attributes in stage_attributes(story).items():
        duration = int(_DURATIONS[stage] * story.slowness * _MS)
        spans.append(_stage_span(stage, attributes, story, clock, clock + duration))
        clock += duration + _MS
    root = Span(name="POST /ask", kind=Span.SPAN_KIND_SERVER, end_time_unix_nano=clock, flags=0x101)
    root.attributes.extend(pairs(root_attributes(story)))
    return [*spans, root]


def _stage_span(stage: str, attributes: Mapping[str, Any], story: Story, start_ns: int, end_ns: int) -> Span:
    span = Span(
        name=_NAMES[stage],
        kind=Span.SPAN_KIND_CLIENT if stage == "generation" else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=start_ns,
        end_time_unix_nano=end_ns,
        attributes=pairs({"evalvault.stage.name": _NAMES[stage], **attributes}),
        events=[_asset_event(kind, name, story, start_ns) for kind, name in _ASSETS[stage]],
        flags=0x101,
    )
    if story.failing == stage:
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=f"{stage} failed"))
        span.events.append(_exception_event(stage, end_ns))
    return span


def _asset_event(kind: str, name: str, story: Story, time_ns: int) -> Span.Event:
    version = story.version if kind == "prompt" else "3"
    fields = {
        "evalvault.asset.kind": kind,
        "evalvault.asset.name": name,
        "evalvault.asset.version": version,
        "evalvault.asset.digest": "sha256:" + hashlib.sha256(f"{name}@{version}".encode()).hexdigest(),
        "evalvault.asset.origin": "registry",
        "evalvault.asset.load.duration": 0.0004,
    }
    return Span.Event(name="evalvault.asset.used", time_unix_nano=time_ns, attributes=pairs(fields))


def _exception_event(stage: str, time_ns: int) -> Span.Event:
    frames = "".join(f'  File "/app/rag/{stage}.py", line {line}, in step_{line}\n' for line in range(40, 440, 40))
    fields = {
        "exception.type": "rag.errors.UpstreamError",
        "exception.message": f"upstream answered 503 in {stage}",
        "exception.stacktrace": f"Traceback (most recent call last):\n{frames}rag.errors.UpstreamError: 503",
        "exception.escaped": "True",
    }
    return Span.Event(name="exception", time_unix_nano=time_ns, attributes=pairs(fields))


def pairs(fields: Mapping[str, Any]) -> list[KeyValue]:
    """A mapping as OTLP attributes."""
    return [pair(key, value) for key, value in fields.items()]


def pair(key: str, value: Any) -> KeyValue:
    """One OTLP attribute."""
    return KeyValue(key=key, value=_any_value(value))


def _any_value(value: Any) -> AnyValue:
    if isinstance(value, list | tuple):
        return AnyValue(array_value=ArrayValue(values=[_any_value(item) for item in value]))
    return AnyValue(**{_FIELD[type(value)]: value})


_FIELD = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}
