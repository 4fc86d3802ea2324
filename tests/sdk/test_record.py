"""What `stage.record` is told comes out of assembly as the stage's attributes."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalvault_otel as ev
from evalvault_otel.conventions.names import FILLS, STAGE_TYPE_VALUES
from evalvault_otel.conventions.stage_fields import FIELDS, attributes_of
from evalvault_otel.sdk import guard
from tests.support.recording import Recording, recording


def _recorded(recorded: Recording, stage_type: str, **fields: Any) -> dict[str, Any]:
    with ev.stage(stage_type) as stage:
        stage.record(**fields)
    return dict(recorded.stage(stage_type).attributes)


def test_a_retrieval_as_the_documentation_shows_it(recorded: Recording) -> None:
    with ev.run("nightly-42"), ev.stage("retrieval", name="bm25") as stage:
        stage.record(query="water damage", doc_ids=["d1", "d2"], scores=[0.9, 0.7], top_k=5, relevant_doc_ids=["d1"])

    event = recorded.stage("retrieval")
    assert (event.run_id, event.stage_name, event.status) == ("nightly-42", "bm25", "success")
    assert event.attributes == {
        "query": "water damage",
        "doc_ids": ["d1", "d2"],
        "scores": [0.9, 0.7],
        "top_k": 5,
        "relevant_doc_ids": ["d1"],
    }
    assert event.metrics["retrieval.precision_at_k"] == 0.5


@pytest.mark.parametrize(
    "stage_type, fields",
    [
        ("input", {"query": "is water damage covered?", "language": "en"}),
        ("rerank", {"doc_ids": ["d2"], "scores": [0.99], "input_count": 20, "output_count": 1}),
        ("generation", {"model_name": "m-1", "provider": "p", "temperature": 0.2, "max_tokens": 100, "tokens_in": 7}),
        ("output", {"answer": "Yes.", "citations": ["d1"], "cost_total": 0.5, "currency": "EUR"}),
        ("safety_check", {"violation_count": 1, "violations": ["pii"], "blocked": True}),
        ("answer_validation", {"passed": False}),
        ("intent", {"predicted_label": "billing", "confidence": 0.8}),
        ("embedding", {"dimension": 768, "model_name": "e", "batch_size": 4}),
        ("tool", {"tool_name": "search", "my_own": "kept", "hits": [1, 2]}),
    ],
)
def test_fields_come_back_under_their_names(stage_type: str, fields: dict[str, Any]) -> None:
    with recording(strict=False) as recorded, ev.stage("workflow"), ev.stage(stage_type) as stage:
        stage.record(**fields)
    found = recorded.stage(stage_type).attributes if stage_type != "generation" else recorded.stage("output").attributes
    assert {name: found.get(name) for name in fields} == fields


def test_every_field_of_the_registry_can_be_recorded() -> None:
    registry = {field for _, part, field, _ in FILLS if part == "field"}

    assert registry - {"content_hidden"} <= FIELDS.keys()
    assert {key for key, _ in FIELDS.values() if key.startswith("evalvault.")} <= {key for key, *_ in FILLS}


def test_the_page_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text()
    table = page[page.index("| Stage type | Fields |") : page.index("Fields are not bound to a type")]
    named = set(re.findall(r"`(\w+)`", table)) - set(STAGE_TYPE_VALUES)

    assert named | {"model", "input", "output"} == FIELDS.keys()


def test_status_attempt_and_payloads(recorded: Recording) -> None:
    with ev.stage("execute", attempt=2) as stage:
        stage.record(status="fallback", output_uri="s3://bucket/out-1", input={"k": 1})

    event = recorded.stage("execute")
    assert (event.status, event.attempt, str(event.output_ref)) == ("fallback", 2, "s3://bucket/out-1")
    assert event.input_ref is not None


def test_names_with_a_dot_are_attributes_as_they_are(recorded: Recording) -> None:
    with ev.stage("tool") as stage:
        stage.record({"my.app.tenant": "t-1"}, top_k=3)

    assert recorded.stage("tool").attributes == {"my.app.tenant": "t-1", "top_k": 3}


def test_an_unknown_name_is_kept_or_raises(recorded: Recording) -> None:
    with ev.stage("tool") as stage:
        with pytest.raises(ev.WrongUse, match="unknown fields of a stage: colour"):
            stage.record(colour="red")
        guard.strict(enabled=False)
        stage.record(colour="red")

    assert recorded.stage("tool").attributes == {"colour": "red"}


def test_a_long_result_is_one_attribute_and_whole(recorded: Recording) -> None:
    ids = [f"d{number}" for number in range(1000)]
    with ev.stage("retrieval") as stage:
        stage.record(doc_ids=ids, scores=[1 / (number + 1) for number in range(1000)])

    (span,) = recorded.sent()
    assert len(span.attributes or {}) == 3
    assert recorded.stage("retrieval").attributes["doc_ids"] == ids


def test_after_its_end_nothing_can_be_recorded_and_that_is_said(recorded: Recording) -> None:
    with ev.stage("tool") as stage:
        pass
    with pytest.raises(ev.WrongUse, match="has ended"):
        stage.record(top_k=1)
    guard.strict(enabled=False)
    stage.record(top_k=1)

    assert ev.problems() == {"record after the end": 1}


class _Colour(Enum):
    RED = "red"


class _Array:
    """As an array of a numeric library gives its values."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def tolist(self) -> Any:
        return self._values


def _made() -> Iterator[str]:
    yield from ("a", "b")


@pytest.mark.parametrize(
    "field, said, attribute",
    [
        ("doc_ids", (1, "b", None), [("evalvault.retrieval.doc_ids", ["1", "b", None])]),
        ("doc_ids", _made(), [("evalvault.retrieval.doc_ids", ["a", "b"])]),
        ("doc_ids", "d1", [("evalvault.retrieval.doc_ids", ["d1"])]),
        ("doc_ids", _Array(["x"]), [("evalvault.retrieval.doc_ids", ["x"])]),
        ("scores", _Array([1, 0.5]), [("evalvault.retrieval.scores", [1.0, 0.5])]),
        ("scores", [1, None, True], [("evalvault.retrieval.scores", [1.0, None, 1.0])]),
        ("scores", ["high"], [("evalvault.retrieval.scores", ["high"])]),
        ("top_k", "5", [("evalvault.retrieval.top_k", 5)]),
        ("top_k", _Array(5), [("evalvault.retrieval.top_k", 5)]),
        ("top_k", 5.5, [("evalvault.retrieval.top_k", 5.5)]),
        ("top_k", "many", [("evalvault.retrieval.top_k", "many")]),
        ("top_k", None, []),
        ("query", {"text": "q", "k": 1}, [("evalvault.retrieval.query", '{"text": "q", "k": 1}')]),
        ("query", 12, [("evalvault.retrieval.query", "12")]),
        ("confidence", "0.5", [("evalvault.classification.confidence", 0.5)]),
        ("extra", _Colour.RED, [("extra", "red")]),
        ("extra", [{"a": (1, 2)}, _Colour.RED], [("extra", '[{"a": [1, 2]}, "red"]')]),
        ("extra", datetime(2026, 1, 1, tzinfo=UTC), [("extra", "2026-01-01 00:00:00+00:00")]),
        ("extra", {1: {2}}, [("extra", '{"1": [2]}')]),
        ("extra", b"raw", [("extra", "b'raw'")]),
        ("extra", [1, 2.5], [("extra", [1.0, 2.5])]),
        ("extra", [], [("extra", [])]),
        ("extra", 2**63, [("extra", "9223372036854775808")]),
        ("extra", [1, -(2**64)], [("extra", "[1, -18446744073709551616]")]),
        ("extra", "a\ud800b", [("extra", "a\ufffdb")]),
    ],
)
def test_values_are_written_as_every_sdk_takes_them(field: str, said: Any, attribute: list[tuple[str, Any]]) -> None:
    assert list(attributes_of("retrieval", {field: said}).items()) == attribute


# Lone surrogates among them: an encoder that meets one gives up on the whole batch.
_ANY_TEXT = st.text() | st.text(st.characters(codec=None, categories=["Cs", "Lu"]), min_size=1)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _ANY_TEXT | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(fields=st.dictionaries(st.sampled_from(sorted(FIELDS)) | _ANY_TEXT, _VALUES, max_size=5))
def test_whatever_is_recorded_nothing_raises_and_it_can_be_sent(fields: dict[str, Any]) -> None:
    with recording(strict=False) as recorded:
        with ev.stage("retrieval") as stage:
            stage.record(fields)
        assert [stage.stage_type for stage in recorded.assembly().stages if not stage.derived] == ["retrieval"]
        assert ev.problems() == {}


@given(ids=st.lists(st.text(min_size=1)), scores=st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_ids_and_scores_come_back_as_they_were(ids: list[str], scores: list[float]) -> None:
    attributes = attributes_of("retrieval", {"doc_ids": ids, "scores": scores})

    assert attributes == {"evalvault.retrieval.doc_ids": ids, "evalvault.retrieval.scores": scores}


def test_values_that_no_json_has_do_not_raise(recorded: Recording) -> None:
    loop: list[Any] = []
    loop.append(loop)
    guard.strict(enabled=False)
    with ev.stage("tool") as stage:
        stage.record(loop=loop)
        stage.record(top_k=3, confidence=math.nan)

    assert recorded.stage("tool").attributes["top_k"] == 3
    assert list(ev.problems()) == ["Stage.record: ValueError"]
