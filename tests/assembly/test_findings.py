"""Findings: what happened, in words that name what is gone and the setting that helps; few of them, however large."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalvault_otel.assembly import assemble
from evalvault_otel.assembly.finding_codes import CODES
from evalvault_otel.model import Finding, Span, SpanEvent
from tests.support.traces import at, kind, resource, sid, span, stage


def found(spans: Sequence[Span]) -> dict[str, Finding]:
    """Findings by code; each code once."""
    findings = assemble(spans).findings
    assert len({item.code for item in findings}) == len(findings)
    return {item.code: item for item in findings}


def documents(first: int, last: int, **fields_said: Any) -> dict[str, Any]:
    """Flattened documents as OpenInference sends them, each with an id and a score."""
    said: dict[str, Any] = {}
    for rank in range(first, last):
        said[f"retrieval.documents.{rank}.document.id"] = f"d{rank}"
        said[f"retrieval.documents.{rank}.document.score"] = 1 - rank / 100
    return {**said, **fields_said}


# What an SDK's limits took.


def test_lost_ranks_are_named_with_the_setting() -> None:
    spans = [kind(1, 0, "RETRIEVER", documents(18, 80), dropped_attributes=37)]

    said = found(spans)["attributes_dropped"].detail

    assert "Ranks 0-17 and the query were dropped by the SDK's limit of 125 attributes" in said
    assert "37 attributes in all" in said
    assert "set OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=10000" in said


def test_a_rank_that_lost_some_of_its_fields_says_which() -> None:
    attributes = documents(3, 9, **{"input.value": "why?"})
    del attributes["retrieval.documents.3.document.id"]

    said = found([kind(1, 0, "RETRIEVER", attributes, dropped_attributes=7)])["attributes_dropped"].detail

    assert said.startswith("Ranks 0-2 and id of rank 3 were dropped")


def test_lost_messages_are_named_too() -> None:
    messages = {f"llm.input_messages.{n}.message.content": f"turn {n}" for n in range(4, 9)}

    said = found([kind(1, 0, "LLM", messages, dropped_attributes=8)])["attributes_dropped"].detail

    assert said.startswith("llm.input_messages items 0-3 were dropped")


def test_missing_ranks_without_a_count_are_lost_all_the_same() -> None:
    findings = found([kind(1, 0, "RETRIEVER", documents(1, 5, **{"input.value": "why?"}))])

    assert findings["documents_truncated"].detail.startswith("Rank 0 was lost (span ")
    assert "attributes_dropped" not in findings


def test_what_was_lost_may_be_unknown() -> None:
    said = found([stage(1, 0, "tool", {"a": 1, "b": 2}, dropped_attributes=5)])["attributes_dropped"].detail

    assert said.startswith("The oldest attributes were dropped")


def test_exactly_the_default_limit_is_a_hint() -> None:
    full = {f"key{n}": n for n in range(127)}

    assert "attribute_limit_reached" in found([stage(1, 0, "tool", full)])
    assert "attribute_limit_reached" not in found([stage(1, 0, "tool", {**full, "one more": 1})])


def test_dropped_events_links_and_attributes_of_events_are_counted() -> None:
    event = SpanEvent(at(1), "e", {}, dropped_attributes=3)
    findings = found(
        [
            stage(1, 0, "tool", dropped_events=2, dropped_links=4, events=(event, event)),
            stage(2, 1, "tool", dropped_events=5),
        ]
    )

    assert "dropped 7 events of spans 0000000000000001 and 0000000000000002" in findings["events_dropped"].detail
    assert "dropped 4 links" in findings["links_dropped"].detail
    assert "dropped 6 attributes of events" in findings["event_attributes_dropped"].detail


# Texts that were cut.


def test_texts_of_one_length_were_cut() -> None:
    spans = [
        kind(1, 0, "CHAIN", {"input.value": ("a question " * 99)[:500], "output.value": ("an answer " * 99)[:500]}),
        kind(2, 1, "LLM", {"input.value": "short"}),
    ]

    said = found(spans)["values_truncated"].detail

    assert "Values end after 500 characters (input.value and output.value; span 0000000000000001)" in said


def test_json_that_ends_in_its_middle_was_cut() -> None:
    whole = '{"query": "why is the sky blue", "k": 4}'

    assert "values_truncated" in found([kind(1, 0, "CHAIN", {"input.value": whole[:-3]})])
    assert found([kind(1, 0, "CHAIN", {"input.value": whole})]) == {}


@pytest.mark.parametrize(
    "values",
    [
        ("the same text of forty characters, twice", "the same text of forty characters, twice"),
        ("b1946ac92492d2347c6235b8d2611184" * 2, "591785b794601e212b260e25925636fd" * 2),
        ("a text of forty-one characters, just so!!", "a text of forty-one characters, by chance"),
    ],
    ids=["repeated", "digests", "two by chance"],
)
def test_equal_lengths_that_mean_nothing(values: tuple[str, str]) -> None:
    assert found([kind(1, 0, "CHAIN", {"input.value": values[0], "output.value": values[1]})]) == {}


# Content.


@pytest.mark.parametrize(
    "attributes, setting",
    [
        ({"gen_ai.provider.name": "openai"}, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY"),
        ({"gen_ai.provider.name": "openai", "llm.is_streaming": False}, "TRACELOOP_TRACE_CONTENT=true"),
        (
            {"gen_ai.usage.input_tokens": 1, "langsmith.span.kind": "llm"},
            "LANGSMITH_HIDE_INPUTS=false and LANGSMITH_HIDE_OUTPUTS=false",
        ),
    ],
)
def test_calls_without_messages_name_the_setting_of_their_convention(
    attributes: Mapping[str, Any], setting: str
) -> None:
    assert f"set {setting}." in found([stage(1, 0, "generation", attributes)])["content_off"].detail


@pytest.mark.parametrize(
    "content", [{"gen_ai.input.messages": "[]"}, {"evalvault.output.answer": "yes"}, {"ai.response.text": "a"}]
)
def test_calls_with_content_and_calls_of_nobody_knows_what_are_fine(content: Mapping[str, Any]) -> None:
    assert found([stage(1, 0, "generation", {"gen_ai.provider.name": "openai", **content})]) == {}
    assert found([stage(1, 0, "generation", {"model": "m"})]) == {}


def test_hidden_values_are_counted_and_named() -> None:
    hidden = {"input.value": "__REDACTED__", "output.value": "__REDACTED__"}

    said = found([kind(1, 0, "CHAIN", hidden), kind(2, 1, "LLM", hidden)])["redacted"].detail

    assert said.startswith("4 values were hidden before they were sent (input.value and output.value;")


def test_documents_without_ids_or_scores() -> None:
    contents = {f"retrieval.documents.{rank}.document.content": f"text {rank}" for rank in range(3)}

    findings = found([kind(1, 0, "RETRIEVER", {"input.value": "why?", **contents})])

    assert set(findings) == {"documents_without_ids", "documents_without_scores"}
    assert found([kind(1, 0, "RETRIEVER", documents(0, 3, **{"input.value": "why?"}))]) == {}


def test_names_that_were_replaced_are_listed_once() -> None:
    old = {"gen_ai.system": "openai", "gen_ai.usage.prompt_tokens": 3, "evalvault.output.answer": "yes"}

    said = found([stage(1, 0, "generation", old), stage(2, 1, "generation", old)])["deprecated_names"].detail

    assert "gen_ai.system (now gen_ai.provider.name)" in said
    assert said.count("gen_ai.usage.prompt_tokens") == 1


def test_a_disagreement_on_many_spans_is_one_finding() -> None:
    spans = [stage(1, 0, "agent")] + [
        stage(n, 1, "rerank", {"evalvault.rerank.input.count": n, "reranker.top_k": 3, "evalvault.retrieval.top_k": n})
        for n in range(4, 60)
    ]

    said = found(spans)["convention_conflict"].detail

    assert "evalvault.retrieval.top_k says 4, reranker.top_k says 3 for top_k" in said
    assert "and 51 more" in said


# Times and calls.


@pytest.mark.parametrize(
    "start, end, service, skewed",
    [
        (-1, 50, "rag-api", False),  # rounding
        (-10, 50, "rag-api", True),
        (-10, 50, "other", True),
        (150, 160, "other", False),  # work that goes on
        (250, 260, "other", True),
        (250, 260, "rag-api", False),  # same clock: it did start later
    ],
)
def test_clocks_that_differ(start: int, end: int, service: str, skewed: bool) -> None:
    child = stage(2, 1, "tool", start=start, end=end, resource=resource(service__name=service))

    findings = found([stage(1, 0, "agent"), child])

    assert ("clock_skew" in findings) is skewed


def test_requests_that_were_sent_again_inside_a_call() -> None:
    def request(number: int, status: int) -> Span:
        return span(number, 1, {"http.request.method": "POST", "http.response.status_code": status}, start=number)

    call = stage(1, 0, "generation", {"evalvault.output.answer": "yes"})

    assert "3 requests" in found([call, request(2, 429), request(3, 503), request(4, 200)])["retries_inside"].detail
    assert found([call, request(2, 200), request(3, 200)]) == {}
    assert found([call, request(2, 429)]) == {}


@pytest.mark.parametrize(
    "trace_state, said",
    [
        ("ot=th:8", "a probability of 0.5: it stands for about 2"),
        ("vendor=x,ot=rv:abc;th:e", "a probability of 0.125: it stands for about 8"),
        ("ot=th:0", None),
        ("ot=th:nonsense", None),
        ("vendor=ot=th:8", None),
    ],
)
def test_sampled_traces_say_for_how_many_they_stand(trace_state: str, said: str | None) -> None:
    findings = found([stage(1, 0, "tool", trace_state=trace_state)])

    assert (said in findings["sampled"].detail) if said else (findings == {})


# Bounds.


def test_a_large_trace_has_few_findings() -> None:
    spans = [stage(1, 0, "agent")] + [
        stage(n, n + 100_000, "retrieval", {"evalvault.retrieval.scores": f"bad {n}"}, dropped_events=1)
        for n in range(2, 5000)
    ]

    findings = assemble(spans).findings

    assert len(findings) < 30
    (dropped,) = [item for item in findings if item.code == "events_dropped"]
    assert dropped.detail.startswith("The SDK dropped 4998 events of spans 0000000000000002, ")
    assert "and 4,993 more" in dropped.detail
    assert all(len(item.detail) <= 1000 for item in findings)


def test_findings_of_two_runs_are_told_apart() -> None:
    spans = [
        stage(1, 0, "agent"),
        stage(2, 1, "tool", {"evalvault.run.id": "a"}, dropped_events=1),
        stage(3, 1, "tool", {"evalvault.run.id": "b"}, dropped_events=1),
    ]

    dropped = [(item.run_id, item.span_id) for item in assemble(spans).findings if item.code == "events_dropped"]

    assert dropped == [("a", sid(2)), ("b", sid(3))]


@given(
    st.lists(
        st.sampled_from(
            [
                kind(0, 0, "RETRIEVER", documents(2, 5), dropped_attributes=9),
                kind(0, 0, "LLM", {"input.value": "__REDACTED__", "gen_ai.system": "x"}),
                span(0, 0, {"http.method": "GET", "input.value": '{"a'}),
                stage(0, 0, "generation", {"gen_ai.request.model": "m"}, dropped_links=1),
                stage(0, 0, "tool", start=90, end=10, trace_state="ot=th:c"),
            ]
        ),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_order_changes_no_finding_and_every_sentence_can_be_said(chosen: list[Span], random: Any) -> None:
    spans = [
        replace(item, span_id=sid(number), parent_span_id=sid(number // 2)) for number, item in enumerate(chosen, 1)
    ]
    expected = assemble(spans).findings
    random.shuffle(spans)

    assert assemble(spans).findings == expected
    assert all("{" not in item.detail.replace('{"a', "") for item in expected)
    assert {item.severity for item in expected} <= {meaning.severity for meaning in CODES.values()}


# Types and errors that would be lost in silence.


@pytest.mark.parametrize(
    "said, detail",
    [
        ("retrieval!", "says 'retrieval!', which is no word: nothing follows from it"),
        (7, "says '7', which is no word: nothing follows from it"),
        ("retreival", "is 'retreival': did you mean retrieval?"),
    ],
)
def test_a_stage_type_that_is_a_slip_is_named(said: Any, detail: str) -> None:
    assert detail in found([span(1, 0, {"evalvault.stage.type": said})])["odd_stage_type"].detail


@pytest.mark.parametrize("said", ["retrieval", "Query Rewrite", "query-rewrite", "custom.retreival", "my_own_step"])
def test_a_stage_type_that_was_meant_is_not(said: str) -> None:
    assert "odd_stage_type" not in found([span(1, 0, {"evalvault.stage.type": said})])


def test_an_error_that_the_outer_span_of_a_step_hides_is_told() -> None:
    outer, inner = kind(1, 0, "RETRIEVER"), kind(2, 1, "RETRIEVER", status_code=2, status_message="db down")

    (event,) = assemble([outer, inner]).stages
    said = found([outer, inner])["error_inside"]

    assert (event.status, event.wrapped_span_ids) == ("success", (sid(2),))
    assert (said.span_id, said.stage_id) == (sid(2), sid(1))
    assert "error_inside" not in found([replace(outer, status_code=2), inner])


def test_scores_that_are_fewer_than_the_documents_are_told() -> None:
    attributes = {"evalvault.retrieval.doc_ids": ["a", "b", "c"], "evalvault.retrieval.scores": [0.5, 0.4]}

    (event,) = assemble([stage(1, 0, "retrieval", attributes)]).stages

    assert event.attributes["scores"] == [0.5, 0.4, None]
    assert "1 of 3 scores are missing" in found([stage(1, 0, "retrieval", attributes)])["bad_value"].detail
