"""What `SymptomQueries` promises, on every store."""

from typing import Any

import pytest

from evalvault_otel.model import Span
from evalvault_otel.store import Store
from evalvault_otel.store.records import Place
from evalvault_otel.store.symptoms import Check, LateChildren, Loop, Segment, Symptom, Window
from tests.planted.judging import store_run
from tests.support.stages import RUN, assembly, save, stage, tid
from tests.support.traces import RUN_ID, at, in_trace, resource
from tests.support.traces import stage as stage_span


def place(trace: int, number: int) -> Place:
    return Place(tid(trace), f"t{trace}-s{number}", f"{trace:08x}{number:08x}", None)


class TestSegments:
    def test_words_of_stage_trace_and_resource_are_counted_by_symptom(self, store: Store) -> None:
        spans: list[Span] = []
        for n in range(8):
            attributes = {
                RUN_ID: RUN,
                "evalvault.tenant.id": "acme" if n < 4 else "birch",
                "evalvault.retrieval.doc_ids": [] if n < 4 else ["d"],
                "evalvault.retrieval.cache_hit": n < 4,
            }
            host = resource(host__name="one" if n < 4 else "two")
            spans += in_trace([stage_span(1, 0, "retrieval", attributes, resource=host)], f"{n + 1:032x}")
        store_run(store, spans)
        found = {(s.key, s.word): s for s in store.segments(RUN, Symptom("retrieval", "empty"))}
        expected = {("tenant_id", "acme"), ("host.name", "one"), ("cache_hit", "true")}
        for key, word in expected:
            assert found[key, word] == Segment(key, word, 4, 0, 4, 4)
        assert found["service.name", "rag-api"] == Segment("service.name", "rag-api", 4, 4, 4, 4)
        assert ("tenant_id", "birch") not in found, "none of the stages with the symptom says so"

    @pytest.mark.parametrize(
        "symptom, hits",
        [
            (Symptom("output", fingerprint="f"), 3),
            (Symptom("output", above_ms=15.0), 4),
            (Symptom("output", from_ns=at(7)), 4),
            (Symptom("output", "empty_answer"), 3),
            (Symptom("rerank", above_ms=1.0), 0),
        ],
        ids=["failed", "slow", "late", "empty", "none"],
    )
    def test_symptoms_choose_stages(self, store: Store, symptom: Symptom, hits: int) -> None:
        failed: dict[str, Any] = {"status": "error", "error_fingerprint": "f"}
        for n in range(1, 11):
            said = {"answer": "" if n > 7 else "yes", "who": "all"}
            ms = 20.0 if n <= 7 else 10.0
            save(store, assembly([stage(n, 1, "output", n, ms, attributes=said, **(failed if n <= 3 else {}))]))
        found = store.segments(RUN, symptom)
        assert [(s.key, s.word, s.hits, s.others) for s in found if s.key == "who"] == (
            [("who", "all", hits, 10 - hits)] if hits else []
        )


def test_checks_count_traces(store: Store) -> None:
    def answered(trace: int, text: str, *, blocked: bool, passed: tuple[bool, ...]) -> None:
        stages = [stage(trace, 1, "output", trace, attributes={"answer": text})]
        stages += [stage(trace, 2, "safety_check", trace, attributes={"blocked": blocked})]
        stages += [
            stage(trace, 3 + n, "answer_validation", trace, attributes={"passed": p}) for n, p in enumerate(passed)
        ]
        save(store, assembly(stages))

    answered(1, "yes", blocked=False, passed=(True,))
    answered(2, "", blocked=True, passed=(False, False, True))
    assert store.checks(RUN, 3) == [
        Check("blocked", "safety_check", 1, 2, (place(2, 2),)),
        Check("empty_answer", "output", 1, 2, (place(2, 1),)),
        Check("invalid", "answer_validation", 1, 2, (place(2, 3), place(2, 4))),
    ]


def test_an_answer_that_was_not_recorded_is_not_empty(store: Store) -> None:
    save(store, assembly([stage(1, 1, "output")]))
    assert store.checks(RUN, 3) == []


def test_windows_are_equal_parts_and_a_trace_counts_once(store: Store) -> None:
    for n in range(8):
        twice = [stage(n + 1, k, "rerank", n * 100.0, 10.0 + n, tokens_in=n) for k in (1, 2)]
        save(store, assembly([*twice, stage(n + 1, 3, "rerank", n * 100.0, 500.0, status="error")]))
    found = store.windows(RUN, at(0), at(799))
    assert [w for w in found if w.metric_name == "rerank.latency_ms"] == [
        Window("rerank.latency_ms", n, 1, 10.0 + n, 0.0) for n in range(8)
    ]
    assert [w.avg for w in found if w.metric_name == "rerank.tokens_in"] == list(range(8))


def test_loops_know_what_is_usual(store: Store) -> None:
    failed: dict[str, Any] = {"status": "error", "error_type": "E", "error_message": "m"}
    for n in range(1, 6):
        times = 6 if n == 2 else 1
        save(
            store,
            assembly([stage(n, k, "tool", k, **(failed if n == 2 and k < 4 else {})) for k in range(1, times + 1)]),
        )
    assert store.loops(RUN, 5, 9) == [Loop("tool", "", tid(2), 6, 3, "E", "m", 1.0)]
    assert store.loops(RUN, 7, 3) == [Loop("tool", "", tid(2), 6, 3, "E", "m", 1.0)]
    assert store.loops(RUN, 7, 4) == []


def test_children_that_begin_after_their_parent_ended(store: Store) -> None:
    for n, start in ((1, 50.0), (2, 5.0), (3, 11.0)):
        stages = [stage(n, 1, "query_rewrite", 0, 10.0), stage(n, 2, "output", start, 5.0, parent_stage_id=f"t{n}-s1")]
        save(store, assembly([*stages, stage(n, 3, "evaluation", 90.0, 1.0, parent_stage_id=f"t{n}-s1")]))
    assert store.late_children(RUN, 3) == [LateChildren("output", "query_rewrite", 1, 3, (place(1, 2),))]
