"""Rule 4: which run a span belongs to, and what else spans have from each other."""

import pytest

from evalvault_otel.assembly import AssemblyOptions, assemble
from evalvault_otel.assembly.options import DEFAULT_OPTIONS
from evalvault_otel.model import Span, Value
from tests.support.traces import RUN_ID, TRACE_ID, asset, kind, resource, sid, span, stage

DAY = "rag-api@2026-01-01"


def _runs(*spans: Span) -> dict[str, str]:
    """Stage type -> run."""
    return {item.stage_type: item.run_id for item in assemble(spans).stages}


def _run(*spans: Span) -> str:
    return assemble(spans).run_id


def test_a_span_says_its_run() -> None:
    assert _run(stage(1, 0, "tool", {RUN_ID: "r"})) == "r"


def test_the_alias_is_accepted_and_weaker() -> None:
    assert _run(stage(1, 0, "tool", {"evalvault.run_id": "alias"})) == "alias"
    assert _run(stage(1, 0, "tool", {"evalvault.run_id": "alias", RUN_ID: "r"})) == "r"


def test_a_run_holds_for_what_is_below_it_and_an_own_run_wins() -> None:
    spans = [
        stage(1, 0, "workflow", {RUN_ID: "outer"}),
        span(2, 1),
        stage(3, 2, "retrieval"),
        stage(4, 1, "tool", {RUN_ID: "inner"}),
        stage(5, 4, "rerank"),
    ]

    assert _runs(*spans) == {
        "workflow": "outer",
        "retrieval": "outer",
        "tool": "inner",
        "rerank": "inner",
    }


def test_without_ancestors_any_span_of_the_trace_counts_if_all_agree() -> None:
    spans = [stage(1, 0, "workflow"), stage(2, 1, "tool", {RUN_ID: "r"}), stage(3, 1, "rerank", {RUN_ID: "r"})]

    assert set(_runs(*spans).values()) == {"r"}
    assert assemble(spans).findings == ()


def test_spans_that_disagree_are_a_finding_and_name_no_run_for_others() -> None:
    spans = [stage(1, 0, "workflow"), stage(2, 1, "tool", {RUN_ID: "a"}), stage(3, 1, "rerank", {RUN_ID: "b"})]

    assert _runs(*spans) == {"workflow": DAY, "tool": "a", "rerank": "b"}
    assert [item.code for item in assemble(spans).findings] == ["run_conflict"]


def test_agreement_comes_before_the_resource_and_the_resource_before_the_fallback() -> None:
    of_batch = resource(evalvault__run__id="batch")

    assert _run(stage(1, 0, "tool", resource=of_batch)) == "batch"
    assert _runs(stage(1, 0, "workflow", resource=of_batch), stage(2, 1, "tool", {RUN_ID: "r"})) == {
        "workflow": "r",
        "tool": "r",
    }


def test_each_resource_names_the_run_of_its_own_spans() -> None:
    spans = [
        stage(1, 0, "workflow", resource=resource(evalvault__run__id="a")),
        stage(2, 1, "tool", resource=resource(evalvault__run__id="b")),
    ]

    assert _runs(*spans) == {"workflow": "a", "tool": "b"}


def test_on_a_resource_too_the_alias_is_weaker() -> None:
    both = resource(evalvault__run__id="r", evalvault__run_id="alias")

    assert _run(stage(1, 0, "tool", resource=both)) == "r"


@pytest.mark.parametrize("on_resource", [True, False])
def test_a_number_names_a_run_wherever_it_stands(on_resource: bool) -> None:
    found = stage(1, 0, "tool", resource=resource(evalvault__run__id=42)) if on_resource else None

    assert _run(found or stage(1, 0, "tool", {RUN_ID: 42})) == "42"


def test_metadata_of_openinference_may_hold_the_run() -> None:
    spans = [kind(1, 0, "CHAIN", {"metadata": '{"run_id": "lc"}'}), kind(2, 1, "RETRIEVER")]

    assert set(_runs(*spans).values()) == {"lc"}


def test_metadata_of_a_span_below_does_not_hide_the_run_in_that_above() -> None:
    spans = [
        kind(1, 0, "CHAIN", {"metadata": '{"run_id": "lc"}'}),
        kind(2, 1, "RETRIEVER", {"metadata": '{"ls_retriever_name": "vectorstore"}'}),
    ]

    assert _runs(*spans) == {"workflow": "lc", "retrieval": "lc"}


def test_metadata_that_differs_otherwise_still_agrees_on_the_run() -> None:
    spans = [
        kind(1, 0, "CHAIN"),
        kind(2, 1, "RETRIEVER", {"metadata": '{"run_id": "lc", "step": 1}'}),
        kind(3, 1, "RERANKER", {"metadata": '{"run_id": "lc", "step": 2}'}),
    ]

    assert set(_runs(*spans).values()) == {"lc"}


def test_our_own_run_comes_before_metadata() -> None:
    spans = [
        stage(1, 0, "workflow", {"metadata": '{"run_id": "lc"}'}, resource=resource(evalvault__run__id="batch")),
        stage(2, 1, "tool", {"metadata": '{"run_id": "lc"}', RUN_ID: "r"}),
    ]

    assert _runs(*spans)["tool"] == "r"


@pytest.mark.parametrize(
    "said, run_id",
    [
        ("x" * 200, "x" * 128),
        ("a\nb\x7f", "a\ufffdb\ufffd"),
        ("a\0b", "a\ufffdb"),
        (" ", " "),
        ("", DAY),
        ([], DAY),
        (True, DAY),
    ],
)
def test_run_ids_are_bounded_and_printable(said: Value, run_id: str) -> None:
    assert _run(stage(1, 0, "tool", {RUN_ID: said})) == run_id


# The fallback.


def test_without_any_the_run_is_service_and_utc_day_of_the_first_start() -> None:
    late_evening = 1_767_311_999_999_000_000  # 2026-01-01T23:59:59.999Z
    spans = [
        stage(1, 0, "workflow", start_ns=late_evening + 10**9, end_ns=late_evening + 2 * 10**9),
        stage(2, 1, "tool", start_ns=late_evening, end_ns=late_evening + 10**9),
    ]

    assert set(_runs(*spans).values()) == {"rag-api@2026-01-01"}
    assert _run(spans[0]) == "rag-api@2026-01-02"


def test_the_fallback_names_the_service_of_the_root() -> None:
    spans = [
        stage(1, 0, "workflow", resource=resource(service__name="front"), start=5),
        stage(2, 1, "tool", resource=resource(service__name="back"), start=0),
    ]

    assert set(_runs(*spans).values()) == {"front@2026-01-01"}
    assert _run(spans[1]) == "back@2026-01-01"


@pytest.mark.parametrize(
    "start_ns, day", [(0, "1970-01-01"), (1, "1970-01-01"), (2**63 - 1, "2262-04-11"), (2**64 - 1, "1970-01-01")]
)
def test_any_clock_has_a_day(start_ns: int, day: str) -> None:
    assert _run(stage(1, 0, "tool", start_ns=start_ns)) == f"rag-api@{day}"


def test_a_nameless_service_has_a_name() -> None:
    for service in ("", None, 5):
        assert _run(stage(1, 0, "tool", resource=resource(service__name=service))) == "unknown_service@2026-01-01"


# Where the run came from, and what a user can choose.

FROM_SESSION = AssemblyOptions(run_from_session=True)


def _sources(*spans: Span, options: AssemblyOptions = DEFAULT_OPTIONS) -> dict[str, tuple[str, str]]:
    """Stage type -> run and where it came from."""
    found = assemble(spans, options=options).stages
    return {item.stage_type: (item.run_id, str(item.metadata.get("run_id_source", "span"))) for item in found}


@pytest.mark.parametrize(
    "said, source",
    [
        ({RUN_ID: "r"}, "span"),
        ({"metadata": '{"run_id": "r"}'}, "association"),
        ({"traceloop.association.properties.run_id": "r"}, "association"),
        ({"ai.telemetry.metadata.run_id": "r"}, "association"),
    ],
)
def test_the_source_of_the_run_is_kept(said: dict[str, Value], source: str) -> None:
    assert _sources(stage(1, 0, "workflow", said), stage(2, 1, "tool")) == {
        "workflow": ("r", source),
        "tool": ("r", source),
    }


def test_each_source_has_a_word() -> None:
    of_batch = resource(evalvault__run__id="batch")
    beside = [stage(1, 0, "workflow"), stage(2, 1, "tool", {RUN_ID: "r"})]

    assert _sources(*beside) == {"workflow": ("r", "trace"), "tool": ("r", "span")}
    assert _sources(stage(1, 0, "tool", resource=of_batch)) == {"tool": ("batch", "resource")}
    assert _sources(stage(1, 0, "tool")) == {"tool": (DAY, "service_day")}


@pytest.mark.parametrize("key", ["session.id", "gen_ai.conversation.id"])
def test_a_session_is_a_run_only_for_those_who_want_it(key: str) -> None:
    spans = [stage(1, 0, "workflow", {key: "s-1"}), stage(2, 1, "tool")]

    assert _sources(*spans)["tool"] == (DAY, "service_day")
    assert _sources(*spans, options=FROM_SESSION)["tool"] == ("s-1", "session")
    assert assemble(spans).stages[1].metadata["session_id"] == "s-1"


def test_what_names_a_run_comes_before_the_session() -> None:
    said = {"session.id": "s-1", "metadata": '{"run_id": "lc"}'}

    assert _sources(stage(1, 0, "tool", said), options=FROM_SESSION) == {"tool": ("lc", "association")}


def test_every_trace_can_be_a_run_of_its_own() -> None:
    spans = [stage(1, 0, "workflow"), stage(2, 1, "tool", {RUN_ID: "a"}), stage(3, 1, "rerank", {RUN_ID: "b"})]

    found = _sources(*spans, options=AssemblyOptions(run_fallback="trace"))
    assert found == {"workflow": (TRACE_ID, "trace_id"), "tool": ("a", "span"), "rerank": ("b", "span")}


# What a trace adds to its runs.


def test_a_trace_adds_to_every_run_that_its_stages_name() -> None:
    said = {
        "evalvault.run.name": "nightly",
        "evalvault.run.kind": "offline",
        "evalvault.dataset.name": "qa",
        "evalvault.dataset.version": "1",
    }
    spans = [
        stage(1, 0, "workflow", {RUN_ID: "a", **said}, name="ask", start=0, end=50),
        stage(2, 1, "generation", {RUN_ID: "b", "evalvault.usage.input_tokens": 5}, name="call", start=10, end=70),
        stage(3, 2, "tool", name="x", status_code=2, start=20, end=30),
    ]

    first, second = assemble(spans).runs
    assert (first.run_id, first.name, first.stages, first.errors, first.tokens_in) == ("a", "ask", 1, 0, 0)
    assert (second.run_id, second.name, second.stages, second.errors, second.tokens_in) == ("b", "call", 2, 1, 5)
    assert (first.run_name, first.run_kind, first.dataset, first.dataset_version) == ("nightly", "offline", "qa", "1")
    assert (second.started_ns, second.finished_ns) == (spans[1].start_ns, spans[1].end_ns)
    assert (first.stage_types, second.stage_types) == (("workflow",), ("output", "tool"))


def test_a_trace_without_stages_still_shows_in_its_run() -> None:
    (part,) = assemble([span(1, name="GET /")]).runs

    assert (part.run_id, part.name, part.stages, part.stage_types) == (DAY, "GET /", 0, ())


# Other context.


def test_the_case_is_known_to_all_stages() -> None:
    said = {"evalvault.test_case.id": "tc-1", "evalvault.dataset.name": "qa", "session.id": "s"}
    spans = [span(1, 0, said), stage(2, 1, "tool"), stage(3, 1, "rerank", {"evalvault.test_case.id": "tc-2"})]

    known = {"service": "rag-api", "scope": "my.library", "dataset_name": "qa", "session_id": "s"}
    assert [dict(item.metadata) for item in assemble(spans).stages] == [
        {**known, "test_case_id": case, "run_id_source": "service_day"} for case in ("tc-1", "tc-2")
    ]
    assert assemble(spans).root_span_id == sid(1)


def test_what_a_span_without_a_stage_says_counts_for_the_run_of_its_stage_or_trace() -> None:
    used = (asset(kind="prompt", name="p", version="1"),)
    made = assemble(
        [
            stage(1, 0, "workflow", {RUN_ID: "outer"}),
            span(2, 1, {RUN_ID: "nobody's"}, events=used),
            span(3, 99, {RUN_ID: "nobody's either"}, events=used),
        ]
    )

    assert [part.run_id for part in made.runs] == ["outer"]
    assert {item.run_id for item in made.asset_uses} == {item.run_id for item in made.findings} == {"outer"}
    assert {item.code for item in made.findings} == {"run_conflict", "missing_parent"}
