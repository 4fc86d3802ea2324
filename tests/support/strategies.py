"""Hypothesis strategies: all that OTLP can say, and attributes that mean something with values that nobody expects."""

import math
from dataclasses import replace

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from evalvault_otel.conventions.reading import DIALECTS
from evalvault_otel.model import LogEvent, Span, SpanEvent, SpanLink
from evalvault_otel.wire import identity

from .traces import KIND, RESOURCE, STAGE_TYPE, T0_NS, TRACE_ID, distinct, resource, sid, span

# Bounded, and without a clock: two cores shared with others make any deadline a matter of luck.
bounded = settings(
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

_ODD_TEXTS = (
    "",
    "\0",
    "a\0b",
    "null",
    '{"$',
    '{"$bytes":"AA=="}',
    "\\u0000",
    "보험금",
    "\U0001f600",
    "\ufffd",
    "\u2028",
    "'\"%s;--",
)
_ODD_KEYS = ("$bytes", "$map", "$double", "$text", "$", "", "a\0b", "key", "time_ns")
_TAGGED = st.sampled_from(_ODD_KEYS[:5]).flatmap(lambda key: st.fixed_dictionaries({key: st.text(max_size=4)}))

texts = st.sampled_from(_ODD_TEXTS) | st.text(max_size=12)
keys = st.sampled_from(_ODD_KEYS) | st.text(max_size=6)
int64s = st.sampled_from((0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63))) | st.integers(-(2**63), 2**63 - 1)
doubles = st.sampled_from((0.0, -0.0, 1.0, 1e16, 1e300, 5e-324, math.nan, math.inf)) | st.floats(allow_nan=False)
scalars = st.none() | st.booleans() | int64s | doubles | texts | st.binary(max_size=6)
any_values = st.recursive(
    scalars | _TAGGED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(keys, any_values, max_size=4)
times = st.sampled_from((0, 1, T0_NS, 2**63 - 1, 2**63, 2**64 - 1)) | st.integers(0, 2**64 - 1)
counts = st.sampled_from((0, 1, 2**32 - 1)) | st.integers(0, 2**32 - 1)
enums = st.sampled_from((0, 1, 2, 3, 5, 99, 2**31 - 1, -1, -(2**31)))
any_ids = st.binary(max_size=20).map(bytes.hex)
resources = st.builds(identity.resource, attributes, counts, texts)
scopes = st.builds(identity.scope, texts, texts, attributes, counts, texts)
span_events = st.builds(SpanEvent, times, texts, attributes, counts)
span_links = st.builds(SpanLink, any_ids, any_ids, texts, attributes, counts, counts)
spans = st.builds(
    Span,
    trace_id=st.just(TRACE_ID) | st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex),
    span_id=st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex),
    parent_span_id=st.just("") | st.just("0" * 16) | any_ids,
    name=texts,
    kind=enums,
    start_ns=times,
    end_ns=times,
    status_code=enums,
    status_message=texts,
    attributes=attributes,
    events=st.lists(span_events, max_size=2).map(tuple),
    links=st.lists(span_links, max_size=2).map(tuple),
    dropped_attributes=counts,
    dropped_events=counts,
    dropped_links=counts,
    flags=counts,
    trace_state=texts,
    resource=resources,
    scope=scopes,
)
log_events = st.builds(
    LogEvent,
    trace_id=st.just(TRACE_ID),
    span_id=st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex),
    name=texts,
    time_ns=times,
    observed_ns=times,
    severity=st.integers(-(2**31), 2**31 - 1),
    severity_text=texts,
    body=any_values,
    attributes=attributes,
    dropped_attributes=counts,
    flags=counts,
    resource=resources,
    scope=scopes,
)

# Attribute soup: known keys with values that nobody would expect there.

_FLAT_KEYS = tuple(
    f"{prefix}{index}.{rest}"
    for prefix in ("retrieval.documents.", "reranker.input_documents.", "llm.input_messages.", "embedding.embeddings.")
    for index in ("0", "11", "007", "99999999999", "x", "")
    for rest in (
        "document.id",
        "document.score",
        "document.metadata",
        "message.role",
        "message.content",
        "embedding.vector",
    )
)
_KNOWN_KEYS = tuple(rule.key for dialect in DIALECTS for rule in dialect.rules)
_PLAUSIBLE = (
    *("retrieval", "output", "GENERATION ", "custom.x", "LLM", "retriever", "CHAIN", "system", "user", "__REDACTED__"),
    *("timeout", "skipped", "1e300", "-5", "nan", "true", '["a", 1, null]', '{"query": {"text": "q"}}', "{", "[]"),
    *(
        '{"run_id": "r"}',
        '[{"kind": "prompt", "name": "p", "version": 1}]',
        "[" * 300 + "]" * 300,
        "0" * 16,
        sid(1),
        "r-1",
    ),
)
soup_keys = st.sampled_from(_KNOWN_KEYS) | st.sampled_from(_FLAT_KEYS) | keys
soup_values = st.sampled_from(_PLAUSIBLE) | any_values
_TYPED = ({}, *({STAGE_TYPE: name} for name in ("retrieval", "output", "rerank")), {KIND: "LLM"}, {KIND: "RETRIEVER"})
soup_attributes = st.builds(
    lambda soup, typed: soup | typed, st.dictionaries(soup_keys, soup_values, max_size=8), st.sampled_from(_TYPED)
)
_ASSET_KEYS = tuple(f"evalvault.asset.{key}" for key in ("kind", "name", "id", "version", "origin", "fallback", "role"))
_EVENT_NAMES = (
    *("evalvault.asset.used", "evalvault.asset", "exception", "log", "gen_ai.user.message", "gen_ai.choice"),
    *("gen_ai.evaluation.result", "gen_ai.client.inference.operation.details"),
)
_EVENT_KEYS = (
    *_ASSET_KEYS,
    *("exception.type", "exception.escaped", "gen_ai.evaluation.name", "gen_ai.evaluation.score.value"),
    *("gen_ai.evaluation.explanation", "gen_ai.input.messages", "gen_ai.request.model", "content"),
)
_event_keys = st.sampled_from(_EVENT_KEYS) | keys
soup_events = st.builds(
    SpanEvent, times, st.sampled_from(_EVENT_NAMES), st.dictionaries(_event_keys, soup_values, max_size=6)
)
soup_logs = st.builds(
    replace,
    log_events,
    span_id=st.integers(1, 7).map(sid),
    name=st.sampled_from(_EVENT_NAMES),
    attributes=st.dictionaries(_event_keys, soup_values, max_size=6),
)
_numbers = st.integers(1, 6)
soup_spans = st.builds(
    replace,
    st.builds(span, _numbers, st.integers(0, 7), soup_attributes),
    name=texts,
    start_ns=times,
    end_ns=times,
    status_code=enums,
    status_message=texts,
    events=st.lists(soup_events, max_size=3).map(tuple),
    dropped_attributes=counts,
    resource=st.sampled_from((RESOURCE, resource(evalvault__run__id="from-resource"))) | resources,
)
soup_traces = st.lists(soup_spans, min_size=1, max_size=6).map(distinct)
