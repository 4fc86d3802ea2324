"""Rules 1 to 3: which spans are stages, which collapse into one, and what hangs under what."""

from collections.abc import Sequence

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Span
from tests.support.traces import KIND, STAGE_TYPE, kind, sid, span, stage

# Stage number -> (type, number of the parent stage, numbers of the spans it stands for too).
Shape = dict[int, tuple[str, int, tuple[int, ...]]]


def _shape(*spans: Span) -> Shape:
    return {
        _number(item.stage_id): (
            item.stage_type,
            _number(item.parent_stage_id or "0"),
            tuple(map(_number, item.wrapped_span_ids)),
        )
        for item in assemble(spans).stages
        if not item.derived
    }


def _number(span_id: str) -> int:
    return int(span_id, 16)


def _codes(spans: Sequence[Span]) -> list[tuple[str, str | None]]:
    return [(item.code, item.span_id) for item in assemble(spans).findings]


# Rule 1: classify.


def test_a_span_that_no_rule_names_is_structural() -> None:
    spans = [span(1, name="retrieve documents"), span(2, 1, {"llm.model_name": "m", "http.route": "/"})]

    assert _shape(*spans) == {}
    assert _codes(spans) == [("no_stages", sid(1))]


@pytest.mark.parametrize(
    "attributes, stage_type, source",
    [
        ({STAGE_TYPE: "retrieval"}, "retrieval", "attribute:evalvault.stage.type"),
        ({STAGE_TYPE: "retrieval", KIND: "LLM"}, "retrieval", "attribute:evalvault.stage.type"),
        ({STAGE_TYPE: "no word!", KIND: "RETRIEVER"}, "retrieval", "attribute:openinference.span.kind"),
        ({KIND: "RETRIEVER"}, "retrieval", "attribute:openinference.span.kind"),
        ({KIND: "CHAIN"}, "workflow", "rule:root_chain:openinference.span.kind"),
    ],
)
def test_the_first_rule_that_fires_says_so(attributes: dict[str, str], stage_type: str, source: str) -> None:
    (found,) = assemble([span(1, 0, attributes)]).stages

    assert (found.stage_type, found.type_source) == (stage_type, source)


def test_conflicting_labels_are_a_finding() -> None:
    spans = [span(1, 0, {STAGE_TYPE: "tool", KIND: "LLM"})]

    assert _codes(spans) == [("convention_conflict", sid(1))]


# Rule 2: collapse.


def test_a_chain_of_wrappers_is_one_stage_with_identity_and_times_of_the_outermost() -> None:
    spans = [
        kind(1, 0, "RETRIEVER", {"tag.tags": ["outer"]}, name="outer", start=0, end=100),
        kind(2, 1, "RETRIEVER", {"tag.tags": ["inner"], "retrieval.documents.0.document.id": "d"}, start=5, end=90),
        kind(3, 2, "RETRIEVER", {"retrieval.documents.0.document.id": "x", "reranker.top_k": 4}, start=10, end=80),
    ]

    (found,) = assemble(spans).stages
    assert _shape(*spans) == {1: ("retrieval", 0, (2, 3))}
    assert (found.stage_name, found.duration_ms, found.self_ms) == ("outer", 100.0, 100.0)
    assert found.attributes == {"tags": ["outer"], "doc_ids": ["d"], "top_k": 4}


def test_wrappers_collapse_through_structural_spans() -> None:
    assert _shape(kind(1, 0, "LLM"), span(2, 1), span(3, 2), kind(4, 3, "LLM")) == {1: ("output", 0, (4,))}


def test_several_children_of_the_type_stay() -> None:
    fusion = [kind(1, 0, "RETRIEVER"), kind(2, 1, "RETRIEVER"), kind(3, 1, "RETRIEVER")]

    assert _shape(*fusion) == {1: ("retrieval", 0, ()), 2: ("retrieval", 1, ()), 3: ("retrieval", 1, ())}


def test_several_children_below_a_collapsed_wrapper_hang_under_the_outermost() -> None:
    spans = [kind(1, 0, "RETRIEVER"), kind(2, 1, "RETRIEVER"), kind(3, 2, "RETRIEVER"), kind(4, 2, "RETRIEVER")]

    assert _shape(*spans) == {1: ("retrieval", 0, (2,)), 3: ("retrieval", 1, ()), 4: ("retrieval", 1, ())}


def test_a_child_beside_other_types_still_collapses() -> None:
    spans = [kind(1, 0, "RETRIEVER"), kind(2, 1, "EMBEDDING"), kind(3, 1, "RETRIEVER")]

    assert _shape(*spans) == {1: ("retrieval", 0, (3,)), 2: ("embedding", 1, ())}


def test_a_step_of_another_type_in_between_parts_two_stages() -> None:
    spans = [kind(1, 0, "LLM"), kind(2, 1, "TOOL"), kind(3, 2, "LLM")]

    assert {number: found[2] for number, found in _shape(*spans).items()} == {1: (), 2: (), 3: ()}


@pytest.mark.parametrize("span_kind, stage_type", [("AGENT", "agent"), ("TOOL", "tool")])
def test_containers_are_not_collapsed(span_kind: str, stage_type: str) -> None:
    assert _shape(kind(1, 0, span_kind), kind(2, 1, span_kind)) == {1: (stage_type, 0, ()), 2: (stage_type, 1, ())}


def test_workflows_are_not_collapsed() -> None:
    assert _shape(kind(1, 0, "CHAIN"), stage(2, 1, "workflow")) == {1: ("workflow", 0, ()), 2: ("workflow", 1, ())}


def test_two_explicit_stages_are_not_collapsed() -> None:
    spans = [stage(1, 0, "retrieval"), stage(2, 1, "retrieval")]

    assert _shape(*spans) == {1: ("retrieval", 0, ()), 2: ("retrieval", 1, ())}


@pytest.mark.parametrize("outer_is_explicit", [True, False])
def test_an_explicit_stage_collapses_with_an_inferred_one(outer_is_explicit: bool) -> None:
    outer = stage(1, 0, "retrieval") if outer_is_explicit else kind(1, 0, "RETRIEVER")
    inner = kind(2, 1, "RETRIEVER") if outer_is_explicit else stage(2, 1, "retrieval")

    assert _shape(outer, inner) == {1: ("retrieval", 0, (2,))}


def test_two_explicit_stages_are_not_collapsed_over_an_inferred_one_between_them() -> None:
    spans = [stage(1, 0, "retrieval"), kind(2, 1, "RETRIEVER"), stage(3, 2, "retrieval")]

    assert _shape(*spans) == {1: ("retrieval", 0, (2,)), 3: ("retrieval", 1, ())}


# Rule 3: parents.


def test_the_parent_is_the_nearest_stage_above() -> None:
    spans = [stage(1, 0, "workflow"), span(2, 1), span(3, 2), stage(4, 3, "retrieval"), stage(5, 4, "rerank")]

    assert _shape(*spans) == {1: ("workflow", 0, ()), 4: ("retrieval", 1, ()), 5: ("rerank", 4, ())}


def test_a_child_of_a_collapsed_span_hangs_under_the_stage_that_stands_for_it() -> None:
    spans = [kind(1, 0, "RETRIEVER"), kind(2, 1, "RETRIEVER"), kind(3, 2, "EMBEDDING")]

    assert _shape(*spans) == {1: ("retrieval", 0, (2,)), 3: ("embedding", 1, ())}


def test_an_explicit_parent_wins_also_one_outside_the_trace() -> None:
    said = {"evalvault.stage.parent.id": "stage-of-another-trace"}
    (found,) = assemble([stage(1, 0, "retrieval", said)]).stages

    assert found.parent_stage_id == "stage-of-another-trace"


def test_an_explicit_id_names_the_stage_and_is_what_children_point_at() -> None:
    spans = [stage(1, 0, "workflow", {"evalvault.stage.id": "w"}), stage(2, 1, "tool")]

    assert [(item.stage_id, item.parent_stage_id) for item in assemble(spans).stages] == [("w", None), (sid(2), "w")]


def test_a_span_that_is_its_own_parent_is_cut() -> None:
    spans = [stage(1, 1, "tool"), stage(2, 1, "rerank")]

    assert _shape(*spans) == {1: ("tool", 0, ()), 2: ("rerank", 1, ())}
    assert _codes(spans) == [("no_root", sid(1)), ("cycle", sid(1))]


def test_a_cycle_is_cut_above_its_earliest_span() -> None:
    spans = [stage(1, 3, "a", start=3), stage(2, 1, "b", start=1), stage(3, 2, "c", start=2), stage(4, 0, "d", start=9)]

    assert _shape(*spans) == {2: ("b", 0, ()), 3: ("c", 2, ()), 1: ("a", 3, ()), 4: ("d", 0, ())}
    assert _codes(spans) == [("cycle", sid(2))]


def test_a_parent_that_never_came_is_a_finding() -> None:
    spans = [stage(1, 0, "workflow"), stage(2, 7, "tool")]

    assert _shape(*spans) == {1: ("workflow", 0, ()), 2: ("tool", 0, ())}
    assert _codes(spans) == [("missing_parent", sid(2))]


def test_sixteen_zeros_are_no_parent() -> None:
    assert _codes([stage(1, 0, "tool", parent_span_id="0" * 16)]) == []


def test_siblings_come_by_start_then_span_id_and_parents_before_children() -> None:
    spans = [
        stage(1, 0, "workflow", start=5),
        stage(9, 1, "tool", start=1),
        stage(8, 1, "tool", start=7),
        stage(7, 1, "tool", start=7),
        stage(6, 8, "tool", start=0),
    ]

    assert list(_shape(*spans)) == [1, 9, 7, 8, 6]


def test_explicit_parents_that_form_a_cycle_are_cut() -> None:
    spans = [
        stage(1, 0, "tool", {"evalvault.stage.parent.id": sid(2)}),
        stage(2, 1, "rerank", {"evalvault.stage.parent.id": sid(1)}, start=1),
    ]

    assert _shape(*spans) == {1: ("tool", 0, ()), 2: ("rerank", 1, ())}
    assert _codes(spans) == [("cycle", sid(1))]


def test_an_explicit_self_parent_is_cut() -> None:
    spans = [stage(1, 0, "workflow"), stage(2, 1, "tool", {"evalvault.stage.parent.id": sid(2)})]

    assert _shape(*spans) == {1: ("workflow", 0, ()), 2: ("tool", 1, ())}
    assert _codes(spans) == [("cycle", sid(2))]


# Stage ids are unique in a trace.


def test_two_spans_with_one_stage_id_both_stay() -> None:
    said = {"evalvault.stage.id": "X"}
    spans = [stage(1, 0, "tool", said), stage(2, 1, "rerank", said)]

    assert [item.stage_id for item in assemble(spans).stages] == ["X", f"X~{sid(2)}"]
    assert _codes(spans) == [("duplicate_stage_id", sid(2))]


def test_a_stage_id_that_is_the_span_id_of_another_stage() -> None:
    spans = [stage(1, 0, "tool", {"evalvault.stage.id": sid(2)}), stage(2, 1, "rerank")]

    assert [item.stage_id for item in assemble(spans).stages] == [sid(2), f"{sid(2)}~{sid(2)}"]


def test_not_even_a_hostile_stage_id_is_given_twice() -> None:
    spans = [
        stage(1, 0, "tool", {"evalvault.stage.id": "X"}),
        stage(3, 1, "rerank", {"evalvault.stage.id": f"X~{sid(2)}"}, start=1),
        stage(2, 1, "prompt", {"evalvault.stage.id": "X"}, start=2),
    ]

    ids = [item.stage_id for item in assemble(spans).stages]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("derived", ["input", "system_prompt"])
def test_a_stage_id_like_that_of_a_derived_stage_is_not_given_twice(derived: str) -> None:
    said = {
        "input.value": "question",
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "Be brief.",
    }
    spans = [kind(1, 0, "LLM", said), stage(2, 1, "tool", {"evalvault.stage.id": f"{sid(1)}:{derived}"}, start=1)]

    ids = [item.stage_id for item in assemble(spans).stages]
    assert len(ids) == len(set(ids)) == 4
