"""Why a stage is what it is: the attribute and value that decided, its run, its conflicts."""

import time

from evalvault_otel.analysis.why import Why, explain
from evalvault_otel.assembly import AssemblyOptions, assemble
from evalvault_otel.assembly.explain import reasons
from evalvault_otel.model import Span
from tests.support.traces import kind, resource, sid, span, stage


def why(spans: list[Span]) -> dict[str, Why]:
    return {item.stage_id: item for item in explain(assemble(spans).stages, spans)}


def test_the_attribute_and_value_that_decided() -> None:
    spans = [
        kind(1, 0, "CHAIN", {"input.value": "why?"}),
        kind(2, 1, "RETRIEVER"),
        kind(3, 1, "LLM", {"output.value": "so"}),
    ]

    found = why(spans)

    assert (found[sid(1)].attribute, found[sid(1)].value) == ("openinference.span.kind", '"CHAIN"')
    assert (found[sid(2)].attribute, found[sid(2)].value) == ("openinference.span.kind", '"RETRIEVER"')
    # The answering generation is promoted; its kind decided before
    assert found[sid(3)].type_source.startswith("rule:answering_generation")
    assert (found[sid(3)].attribute, found[sid(3)].value) == ("openinference.span.kind", '"LLM"')
    # What is derived has no attribute of its own
    assert (found[f"{sid(1)}:input"].attribute, found[f"{sid(1)}:input"].value) == (None, None)


def test_a_long_value_is_cut() -> None:
    (found,) = why([stage(1, 0, "custom." + "x" * 50)]).values()
    assert found.value == '"custom.' + "x" * 50 + '"'


def test_where_the_run_comes_from() -> None:
    run = "evalvault.run.id"
    own = why([stage(1, 0, "agent"), stage(2, 1, "tool", {run: "a"}), stage(3, 2, "tool", end=50), stage(4, 1, "tool")])
    assert own[sid(2)].run_source == f"{run} of this span"
    assert own[sid(3)].run_source == f"{run} of span {sid(2)} above"
    assert own[sid(4)].run_source == f"{run} of span {sid(2)}, on which the trace agrees"

    (by_resource,) = why([stage(1, 0, "tool", resource=resource(evalvault__run__id="r"))]).values()
    assert (by_resource.run_id, by_resource.run_source) == ("r", "the resource")

    (nobody,) = why([stage(1, 0, "tool")]).values()
    assert nobody.run_source == "no span names a run: service and UTC day of the trace"

    (associated,) = why([stage(1, 0, "tool", {"metadata": '{"run_id": "m"}'})]).values()
    assert (associated.run_id, associated.run_source) == ("m", "metadata of this span")


def test_a_guess_by_name_says_the_name_and_one_by_fields_no_attribute() -> None:
    task = {"traceloop.span.kind": "task", "traceloop.entity.name": "rerank_documents"}

    found = why([stage(1, 0, "agent"), span(2, 1, task, name="rerank_documents.task")])[sid(2)]

    assert found.type_source.startswith("heuristic:")
    assert (found.attribute, found.value) == ("traceloop.entity.name", '"rerank_documents"')

    (by_span,) = [
        item
        for item in why([kind(1, 0, "AGENT"), kind(2, 1, "CHAIN", name="rewrite_query")]).values()
        if item.stage_id == sid(2)
    ]
    assert (by_span.attribute, by_span.value) == ("name", '"rewrite_query"')


def test_a_row_that_other_settings_made_is_told_as_it_was_made() -> None:
    spans = [stage(1, 0, "tool", {"session.id": "s-1"})]
    made = assemble(spans, options=AssemblyOptions(run_from_session=True))

    (now,) = explain(made.stages, spans, options=AssemblyOptions(run_from_session=True))
    (otherwise,) = explain(made.stages, spans)

    assert now.run_source == "session.id of this span"
    assert otherwise.run_source is not None
    assert otherwise.run_source.startswith(
        "the session id when it was mapped; the settings of this command give rag-api@"
    )


def test_many_spans_are_explained_as_fast_as_few() -> None:
    def seconds(count: int) -> float:
        spans = [kind(n, n - 1, "AGENT") for n in range(1, count)] + [
            stage(count, 1, "tool", {"evalvault.run.id": "r"})
        ]
        began = time.thread_time()
        assert len(reasons(spans)) == count
        return (time.thread_time() - began) / count

    assert min(seconds(5_000) for _ in range(2)) < 4 * min(seconds(500) for _ in range(3))


def test_conflicts_and_wrapped_spans() -> None:
    spans = [kind(1, 0, "LLM", {"evalvault.stage.type": "rerank"}), kind(2, 1, "RERANKER")]

    (found,) = why(spans).values()

    assert "openinference.span.kind says generation" in found.conflicts[0]
    assert found.wrapped_span_ids == (sid(2),)


def test_without_the_archive_the_rule_is_still_told() -> None:
    spans = [span(1, 0, {"evalvault.stage.type": "tool"})]

    (found,) = explain(assemble(spans).stages, [])

    assert (found.attribute, found.value, found.run_source) == ("evalvault.stage.type", None, None)
