"""What stages are linked to: every link once, on the stage it belongs to, the same in whatever order spans come."""

from typing import Any

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Span, SpanLink, StageLink, Value
from tests.support.traces import RUN_ID, kind, sid, span, stage

OTHER = "11111111111111111111111111111111"


def link(number: int, link_type: Value = None, trace_id: str = OTHER, **said: Value) -> SpanLink:
    """A link to span `number` of another trace."""
    named = {} if link_type is None else {"evalvault.link.type": link_type}
    return SpanLink(trace_id, sid(number), "", {**named, **said})


def _links(*spans: Span) -> list[StageLink]:
    return list(assemble(spans).links)


def _shape(*spans: Span) -> list[tuple[str, int, str, str]]:
    """Stage, ordinal, meaning and target of all links."""
    return [(found.stage_id, found.ordinal, found.link_type, found.linked_span_id) for found in _links(*spans)]


def test_a_link_belongs_to_the_stage_of_its_span() -> None:
    said = link(7, "replay_of", reason="again", big="x" * 1000, many=[1, 2])
    found = stage(1, 0, "workflow", {RUN_ID: "r"}, links=(said,))

    assert _links(found) == [StageLink(found.trace_id, sid(1), 0, "r", "replay_of", OTHER, sid(7), {"reason": "again"})]


@pytest.mark.parametrize(
    "said, meant",
    [
        ("retry_of", "retry_of"),
        (" Batch ", "batch"),
        ("of_my_own", "of_my_own"),
        (None, "link"),
        ("", "link"),
        (5, "link"),
        ([], "link"),
    ],
)
def test_what_a_link_means(said: Value, meant: str) -> None:
    assert _shape(stage(1, 0, "tool", links=(link(7, said),))) == [(sid(1), 0, meant, sid(7))]


def test_links_of_spans_that_are_no_stage_go_to_the_stage_above_or_to_none() -> None:
    spans = [
        span(1, links=(link(7),)),
        stage(2, 1, "tool", links=(link(8, "batch"), link(9, "batch"), link(8, "batch"))),
        span(3, 2, links=(link(9, "follows_from"),), start=1),
    ]

    expected = [
        ("", 0, "link", sid(7)),
        (sid(2), 0, "batch", sid(8)),
        (sid(2), 1, "batch", sid(9)),
        (sid(2), 2, "follows_from", sid(9)),
    ]
    assert _shape(*spans) == expected
    assert _shape(*reversed(spans)) == expected


def test_links_of_a_wrapped_span_belong_to_the_stage_that_stands_for_it() -> None:
    spans = [kind(1, 0, "RETRIEVER"), kind(2, 1, "RETRIEVER", links=(link(7, "batch"),))]

    assert _shape(*spans) == [(sid(1), 0, "batch", sid(7))]


def test_an_evaluates_link_holds_for_the_evaluations_below() -> None:
    spans = [
        span(1, links=(link(7, "evaluates"),)),
        stage(2, 1, "evaluation", start=1),
        stage(3, 1, "evaluation", links=(link(8, "evaluates"),), start=2),
        stage(4, 2, "generation", start=3),
    ]

    assert _shape(*spans) == [
        ("", 0, "evaluates", sid(7)),
        (sid(2), 0, "evaluates", sid(7)),
        (sid(3), 0, "evaluates", sid(8)),
    ]


def test_of_several_nobody_knows_which_one_is_meant_below() -> None:
    spans = [span(1, links=(link(7, "evaluates"), link(8, "evaluates"))), stage(2, 1, "evaluation")]

    assert [found[0] for found in _shape(*spans)] == ["", ""]


def test_an_evaluation_may_name_a_response() -> None:
    said = {"gen_ai.response.id": "resp-1"}

    (found,) = _links(stage(1, 0, "evaluation", said))
    assert (found.link_type, found.linked_trace_id, found.linked_span_id) == ("evaluates", "", "resp-1")
    assert [item.linked_span_id for item in _links(stage(1, 0, "evaluation", said, links=(link(7, "evaluates"),)))] == [
        sid(7)
    ]
    assert _links(stage(1, 0, "generation", said)) == []


@pytest.mark.parametrize("field", ["trace_id", "span_id"])
def test_any_ids_are_kept(field: str) -> None:
    said: dict[str, Any] = {"trace_id": OTHER, "span_id": sid(7), field: "NOT\0an id" * 100}

    (found,) = _links(stage(1, 0, "tool", links=(SpanLink(trace_state="", attributes={}, **said),)))
    assert len(found.linked_trace_id) <= 200
    assert "\0" not in found.linked_trace_id + found.linked_span_id
