"""The diagnosis: what arrives per service and scope, what it lacks, what helps; over a bounded sample."""

from dataclasses import replace

from evalvault_otel.analysis.doctor import diagnose
from evalvault_otel.analysis.doctor_model import Diagnosed, ScopePart
from evalvault_otel.analysis.doctor_names import general, generation, is_unknown, meant
from evalvault_otel.conventions.reading import DIALECTS, Conventions
from evalvault_otel.conventions.rules_file import parse
from evalvault_otel.conventions.user_rules import UserRules
from evalvault_otel.model import Reject, Span
from evalvault_otel.store import Store
from evalvault_otel.wire import identity
from tests.support.traces import batches, in_trace, kind, new_trace_id, resource, span, stage

_NS = 1_000_000_000
_OTHER = identity.scope("openinference.instrumentation.langchain", "0.1.50", {}, 0, "https://example.com/1.2.0")


def put(store: Store, spans: list[Span], at_s: int = 1000) -> None:
    store.write(batches(*in_trace(spans, new_trace_id())), [], at_s * _NS)


def scope_of(found: Diagnosed, name: str) -> ScopePart:
    (part,) = [scope for service in found.services for scope in service.scopes if scope.name == name]
    return part


def test_an_empty_database_has_nothing_to_mend(store: Store) -> None:
    found = diagnose(store)

    assert (found.sample.traces, found.sample.complete, found.troubles, found.services) == (0, True, [], [])


def test_a_healthy_service_has_nothing_to_mend(store: Store) -> None:
    said = {"query": "why?", "doc_ids": ["a"], "scores": [0.5], "top_k": 1}
    put(
        store,
        [
            span(1),
            stage(2, 1, "retrieval", {f"evalvault.retrieval.{key}": value for key, value in said.items()}),
            stage(3, 1, "output", {"evalvault.output.answer": "so"}),
        ],
    )

    found = diagnose(store)

    assert found.troubles == []
    (service,) = found.services
    assert (service.service, service.traces, service.spans) == ("rag-api", 1, 3)
    assert [(part.stage_type, part.count, part.missing) for part in service.stages] == [
        ("output", 1, []),
        ("retrieval", 1, []),
    ]


def test_names_and_versions_per_scope(store: Store) -> None:
    old = {"gen_ai.system": "openai", "gen_ai.usage.prompt_tokens": 5, "evalvault.retreival.query": "why?", "my.own": 1}
    put(
        store,
        [
            kind(1, 0, "CHAIN", {"input.value": "why?", "my.own.0.x": 1, "my.own.1.x": 2}, scope=_OTHER),
            stage(2, 1, "tool", old, resource=resource(telemetry__sdk__language="python")),
        ],
    )

    found = diagnose(store)

    chain = scope_of(found, _OTHER.name)
    assert (chain.version, chain.schema_urls, chain.spans) == ("0.1.50", ["https://example.com/1.2.0"], 1)
    assert [(item.name, item.count) for item in chain.conventions] == [("OpenInference", 1)]
    assert [item.name for item in chain.unknown] == ["my.own.N.x"]
    tool = scope_of(found, "my.library")
    assert (tool.language, tool.generation) == ("python", "v1.26 or older")
    assert [(item.name, item.remedy) for item in tool.deprecated] == [
        ("gen_ai.system", "gen_ai.provider.name"),
        ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"),
    ]
    assert [(item.name, item.remedy) for item in tool.unknown] == [
        ("evalvault.retreival.query", "did you mean evalvault.retrieval.query?"),
        ("my.own", ""),
    ]


def test_what_is_missing_conflicts_findings_and_rejects_are_to_be_mended(store: Store) -> None:
    for _ in range(2):
        put(store, [kind(1, 0, "RETRIEVER", {"evalvault.stage.type": "rerank"}, dropped_events=2)])
        put(store, [kind(1, 0, "LLM", {"output.value": "so", "llm.model_name": "m"})])
    wrong = "trace_id has 3 bytes instead of 16 (was this a metrics or logs request sent to /v1/traces?)"
    store.write([], [Reject(wrong, b"x")], 1000 * _NS)

    found = diagnose(store)

    said = {trouble.what: trouble.fix for trouble in found.troubles}
    assert "OTEL_SPAN_EVENT_COUNT_LIMIT" in said["events_dropped in 2 traces"]
    assert "stream_options" in said["tokens is missing in 2 of 2 output stages"]
    assert any(what.startswith("evalvault.stage.type says rerank, openinference.span.kind") for what in said)
    assert any(what.startswith("wrong_signal, 1 reject: trace_id has N bytes") for what in said)
    (service,) = found.services
    assert {part.code: part.traces for part in service.findings}["events_dropped"] == 2


def test_spans_that_are_no_stages_at_all_are_a_trouble(store: Store) -> None:
    put(store, [span(1, 0, {"http.request.method": "GET"})])

    assert [trouble.what for trouble in diagnose(store).troubles] == ["no span of the sample is a stage"]


def test_the_sample_is_bounded_and_the_latest(store: Store) -> None:
    for second in range(5):
        put(store, [replace(span(1), resource=resource(service__name=f"s{second}")), span(2, 1)], 1000 + second)
    put(store, [span(number, number // 2) for number in range(1, 31)], 2000)

    found = diagnose(store, None, 3, 20)

    # The largest trace alone would break the bound, so it is left out
    assert (found.sample.traces, found.sample.spans, found.sample.complete) == (2, 4, False)
    assert {service.service for service in found.services} == {"s4", "s3", "rag-api"}
    assert diagnose(store, 1003 * _NS).sample.traces == 3
    assert [item.received_ns for item in store.recent_traces(2)] == [2000 * _NS, 1004 * _NS]


def test_of_a_trace_that_is_too_large_a_part_is_looked_at(store: Store) -> None:
    put(store, [span(number, number // 2) for number in range(1, 31)])

    sample = diagnose(store, None, 3, 20).sample

    assert (sample.traces, sample.spans, sample.complete) == (1, 20, False)


def test_names_that_rules_read_are_somebodys(store: Store) -> None:
    put(store, [span(1, 0, {"app.step": "find", "my.docs.0": "a", "my.other": 1, "gen_ai.agent.name": "a"})])
    found, _ = parse(
        "rules: [{name: a, when: {attributes: {app.step: find}}, stage: retrieval, fields: {doc_ids: 'my.docs.*'}}]"
    )

    def unknown(rules: UserRules | None) -> list[str]:
        (service,) = diagnose(store, conventions=Conventions(DIALECTS, rules)).services
        return [item.name for scope in service.scopes for item in scope.unknown]

    assert unknown(None) == ["app.step", "my.docs.N", "my.other"]
    assert unknown(found) == ["my.other"]


def test_names() -> None:
    assert general("retrieval.documents.12.document.id") == "retrieval.documents.N.document.id"
    assert general("v1.2") == "v1.N"
    assert [is_unknown(key) for key in ("input.value", "http.route", "retrieval.documents.0.x", "my.key")] == [
        False,
        False,
        False,
        True,
    ]
    assert meant("my.key") == ""
    assert generation({"gen_ai.system", "gen_ai.operation.name"}) == "v1.27 to v1.36"
    assert generation({"gen_ai.system", "gen_ai.provider.name"}) == "v1.37 or newer"
    assert generation({"my.key"}) is None
