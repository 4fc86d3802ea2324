"""The `evalvault.*` registry: every attribute fills its field, and values of other types are read or kept."""

from collections.abc import Mapping
from dataclasses import fields

import pytest

from evalvault_otel.conventions import evalvault
from evalvault_otel.conventions.reading import DEFAULT, Reading
from evalvault_otel.conventions.rules import Part
from evalvault_otel.model import Value
from tests.support.traces import STAGE_TYPE, exact, span

# Attribute key, its value, the part of the reading and the name that it fills, the value found there.
TABLE: list[tuple[str, Value, Part, str, Value]] = [
    ("stage.type", "retrieval", Part.IDENTITY, "type", "retrieval"),
    ("stage.name", "bm25", Part.IDENTITY, "name", "bm25"),
    ("stage.id", "s-1", Part.IDENTITY, "id", "s-1"),
    ("stage.parent.id", "s-0", Part.IDENTITY, "parent_id", "s-0"),
    ("stage.attempt", 2, Part.IDENTITY, "attempt", 2),
    ("stage.status", "skipped", Part.IDENTITY, "status", "skipped"),
    ("stage.skip.reason", "direct_answer", Part.IDENTITY, "skip_reason", "direct_answer"),
    ("stage.index", 1, Part.IDENTITY, "index", 1),
    ("stage.input.uri", "s3://a/b?type=json", Part.IDENTITY, "input_uri", "s3://a/b?type=json"),
    ("stage.output.uri", "s3://a/c", Part.IDENTITY, "output_uri", "s3://a/c"),
    ("stage.input.value", {"k": 1}, Part.IDENTITY, "input", {"k": 1}),
    ("stage.output.value", "text", Part.IDENTITY, "output", "text"),
    ("content.hidden_keys", ["a.b"], Part.FIELD, "content_hidden", ["a.b"]),
    ("assets", [{"kind": "prompt"}], Part.IDENTITY, "assets", [{"kind": "prompt"}]),
    ("run.id", "nightly-42", Part.CONTEXT, "run_id", "nightly-42"),
    ("run_id", "nightly-42", Part.CONTEXT, "run_id", "nightly-42"),
    ("run.name", "nightly", Part.CONTEXT, "run_name", "nightly"),
    ("run.kind", "offline", Part.CONTEXT, "run_kind", "offline"),
    ("run.parent.id", "nightly-41", Part.CONTEXT, "run_parent_id", "nightly-41"),
    ("dataset.name", "insurance-qa", Part.CONTEXT, "dataset_name", "insurance-qa"),
    ("dataset.version", "1.2.0", Part.CONTEXT, "dataset_version", "1.2.0"),
    ("test_case.id", "tc-0012", Part.CONTEXT, "test_case_id", "tc-0012"),
    ("tenant.id", "acme", Part.CONTEXT, "tenant_id", "acme"),
    ("schema.version", "1.0", Part.CONTEXT, "schema_version", "1.0"),
    ("input.query", "why?", Part.FIELD, "query", "why?"),
    ("input.language", "ko", Part.FIELD, "language", "ko"),
    ("retrieval.query", "why", Part.FIELD, "query", "why"),
    ("retrieval.doc_ids", ["d1", "d2"], Part.FIELD, "doc_ids", ["d1", "d2"]),
    ("retrieval.scores", [0.9, 1], Part.FIELD, "scores", [0.9, 1]),
    ("retrieval.top_k", 5, Part.FIELD, "top_k", 5),
    ("retrieval.relevant_doc_ids", ["d1"], Part.FIELD, "relevant_doc_ids", ["d1"]),
    ("retrieval.cache_hit", True, Part.FIELD, "cache_hit", True),
    ("retrieval.searched.count", 1000, Part.FIELD, "total_docs_searched", 1000),
    ("retrieval.index.size", 5000, Part.FIELD, "index_size", 5000),
    ("rerank.input.count", 20, Part.FIELD, "input_count", 20),
    ("rerank.output.count", 5, Part.FIELD, "output_count", 5),
    ("rerank.doc_ids", ["d2"], Part.FIELD, "doc_ids", ["d2"]),
    ("rerank.scores", [0.7], Part.FIELD, "scores", [0.7]),
    ("output.answer", "because", Part.FIELD, "answer", "because"),
    ("output.citations", ["d1"], Part.FIELD, "citations", ["d1"]),
    ("usage.input_tokens", 900, Part.FIELD, "tokens_in", 900),
    ("usage.output_tokens", 210, Part.FIELD, "tokens_out", 210),
    ("usage.total_tokens", 1110, Part.FIELD, "tokens_used", 1110),
    ("cost.input", 0.25, Part.FIELD, "cost_in", 0.25),
    ("cost.output", 0.5, Part.FIELD, "cost_out", 0.5),
    ("cost.total", 0.75, Part.FIELD, "cost_total", 0.75),
    ("cost.currency", "EUR", Part.FIELD, "currency", "EUR"),
    ("safety.violation.count", 1, Part.FIELD, "violation_count", 1),
    ("safety.violations", ["pii"], Part.FIELD, "violations", ["pii"]),
    ("safety.blocked", True, Part.FIELD, "blocked", True),
    ("validation.passed", False, Part.FIELD, "passed", False),
    ("classification.label", "billing", Part.FIELD, "predicted_label", "billing"),
    ("classification.confidence", 0.8, Part.FIELD, "confidence", 0.8),
]


def _read(**attributes: Value) -> Reading:
    return DEFAULT.read(
        span(1, attributes={f"evalvault.{key}": value for key, value in attributes.items()}), is_root=True
    )


def _part(reading: Reading, part: Part) -> Mapping[str, Value]:
    return {Part.IDENTITY: reading.identity, Part.CONTEXT: reading.context, Part.FIELD: reading.fields}[part]


@pytest.mark.parametrize("key, value, part, name, expected", TABLE, ids=[row[0] for row in TABLE])
def test_the_attribute_fills_its_field(key: str, value: Value, part: Part, name: str, expected: Value) -> None:
    reading = _read(**{key: value})

    assert exact({part: _part(reading, part) for part in Part}) == exact(
        {each: {name: expected} if each is part else {} for each in Part}
    )
    assert reading.others == {}


def test_the_table_above_is_the_whole_registry() -> None:
    assert [f"evalvault.{key}" for key, *_ in TABLE] == [rule.key for rule in evalvault.DIALECT.rules]
    assert {field.name for field in fields(Reading)} >= {"identity", "context", "fields", "others"}


@pytest.mark.parametrize(
    "key, value, name, expected",
    [
        ("retrieval.top_k", "5", "top_k", 5),
        ("retrieval.top_k", 5.0, "top_k", 5),
        ("retrieval.doc_ids", '["a", 7]', "doc_ids", ["a", "7"]),
        ("retrieval.doc_ids", "only-one", "doc_ids", ["only-one"]),
        ("retrieval.doc_ids", [1, None, "c"], "doc_ids", ["1", None, "c"]),
        ("retrieval.scores", '[0.5, "x"]', "scores", [0.5, None]),
        ("retrieval.scores", 0.5, "scores", [0.5]),
        ("retrieval.cache_hit", "false", "cache_hit", False),
        ("retrieval.cache_hit", 1, "cache_hit", True),
        ("output.citations", '{"doc_ids": ["d1"]}', "citations", {"doc_ids": ["d1"]}),
        ("output.citations", "see page 5", "citations", "see page 5"),
        ("input.query", '{"question": "why?", "k": 3}', "query", "why?"),
        ("usage.input_tokens", 900.0, "tokens_in", 900),
    ],
)
def test_values_of_other_types_are_read(key: str, value: Value, name: str, expected: Value) -> None:
    assert exact(_read(**{key: value}).fields) == exact({name: expected})


@pytest.mark.parametrize("value", ["many", 2.5, True, float("nan")])
def test_a_field_that_cannot_be_read_keeps_what_was_sent(value: Value) -> None:
    assert exact(_read(**{"retrieval.top_k": value}).fields) == exact({"top_k": value})


@pytest.mark.parametrize("value", [0.0, [], {}, True, None, ""])
def test_an_identity_that_cannot_be_read_counts_as_absent(value: Value) -> None:
    read_number = {"run_id": "0.0"} if value == 0.0 and isinstance(value, float) else {}
    assert _read(**{"run.id": value}).context == read_number


def test_of_two_keys_for_one_field_the_registered_first_wins_in_any_order() -> None:
    one, other = {"run.id": "a"}, {"run_id": "b"}

    assert _read(**one, **other).context == _read(**other, **one).context == {"run_id": "a"}


@pytest.mark.parametrize(
    "said, stage_type",
    [
        ("retrieval", "retrieval"),
        (" Retrieval ", "retrieval"),
        ("custom.ranker-2", "custom.ranker-2"),
        ("route_plan", "route_plan"),
        ("", None),
        ("two words", None),
        ("1st", None),
        ("x" * 65, None),
        ("retrieval\n", "retrieval"),
        ("보험", None),
        (7, None),
        (None, None),
        (["retrieval"], None),
    ],
)
def test_a_stage_type_is_a_word(said: Value, stage_type: str | None) -> None:
    reading = DEFAULT.read(span(1, attributes={STAGE_TYPE: said}), is_root=True)

    assert reading.stage_type == stage_type
    assert reading.type_source == ("attribute:evalvault.stage.type" if stage_type else "")
