"""StageTracer: EvalVault's SDK, whose stages arrive once, by the API or straight in a database."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import evalvault_otel as ev
from benchmarks.database import of_url
from evalvault_otel.sdk import guard
from evalvault_otel.store import open_store
from evalvault_otel.store.records import StageFilter
from tests.support.relays import free_address
from tests.support.server import Server


@pytest.fixture(autouse=True)
def _not_strict() -> Iterator[None]:
    before = guard.strict(enabled=False)
    guard.forget()
    yield
    guard.strict(enabled=before)


@pytest.fixture(params=["api", "db"])
def way(request: pytest.FixtureRequest, db_url: str, serve: Callable[..., Server]) -> dict[str, Any]:
    """How a tracer gets its events into the database of the test."""
    return {"api_url": f"http://{serve(db_url).api}"} if request.param == "api" else {"db": db_url}


def stored(url: str, run_id: str) -> list[Any]:
    """Stages of a run that are no derived ones, in the order of their start, once all is assembled."""
    deadline = time.monotonic() + 15
    while of_url(url).unassembled():
        assert time.monotonic() < deadline, "not assembled in time"
        time.sleep(0.05)
    store = open_store(url)
    try:
        return [stage for stage in store.stages(run_id, StageFilter(), 1000).items if not stage.derived]
    finally:
        store.close()


def test_stages_of_every_kind_of_call_arrive(way: dict[str, Any], db_url: str) -> None:
    tracer = ev.StageTracer(run_id="rag-001", **way)
    rewritten = tracer.record_stage(stage_type="query_rewrite", attributes={"query": "q"}, duration_ms=45.2)
    with tracer.stage("retrieval", parent_stage_id=rewritten) as stage:
        stage.attributes = {"doc_ids": ["a", "b"], "scores": [0.9, 0.5]}
        with tracer.stage("rerank") as inner:
            inner.attributes["doc_ids"] = ["b"]
    ids = tracer.record_batch([{"stage_type": "output", "attributes": {"answer": "42"}, "status": "success"}])
    assert tracer.flush()
    tracer.shutdown()

    found = {item.stage_type: item for item in stored(db_url, "rag-001")}
    assert set(found) == {"query_rewrite", "retrieval", "rerank", "output"}
    assert found["query_rewrite"].stage_id == rewritten
    assert found["query_rewrite"].duration_ms == pytest.approx(45.2, abs=0.01)
    assert found["retrieval"].parent_stage_id == rewritten
    assert found["rerank"].parent_stage_id == found["retrieval"].stage_id
    assert found["retrieval"].attributes["doc_ids"] == ["a", "b"]
    assert found["rerank"].attributes["doc_ids"] == ["b"]
    assert found["output"].stage_id == ids[0]
    assert len({item.trace_id for item in found.values()}) == 1


def test_an_exception_makes_an_error_and_goes_on_up(way: dict[str, Any], db_url: str) -> None:
    tracer = ev.StageTracer(run_id="rag-001", **way)
    with pytest.raises(ZeroDivisionError), tracer.stage("output") as stage:
        stage.attributes["answer"] = 1 / 0
    tracer.shutdown()

    assert (stage.status, stage.finished_at is not None) == ("error", True)
    assert stage.duration_ms is not None
    (found,) = stored(db_url, "rag-001")
    assert (found.status, found.error_message) == ("error", "ZeroDivisionError: division by zero")


def test_times_may_be_given(way: dict[str, Any], db_url: str) -> None:
    tracer = ev.StageTracer(run_id="rag-001", **way)
    began = datetime(2026, 1, 31, 12, tzinfo=UTC)
    tracer.record_stage("retrieval", started_at=began, duration_ms=1500, attempt=2, metadata={"test_case_id": "tc"})
    tracer.shutdown()

    (found,) = stored(db_url, "rag-001")
    assert (found.started_ns, found.duration_ms, found.attempt) == (int(began.timestamp()) * 10**9, 1500, 2)
    assert found.metadata["test_case_id"] == "tc"


def test_the_builder_says_only_what_is_known(way: dict[str, Any], db_url: str) -> None:
    tracer = ev.StageTracer(run_id="rag-001", **way)
    builder = ev.StageEventBuilder("rag-001", dataset_name="d").system_prompt({"p": "text"})
    builder.case("tc-1", "q?", doc_ids=["a"], scores=[1.0], retrieval_ms=12.5, answer="42")
    builder.case("tc-2", "q2?")
    tracer.record_batch(builder.build())
    tracer.shutdown()

    found = stored(db_url, "rag-001")
    assert sorted(item.stage_type for item in found) == ["input", "input", "output", "retrieval", "system_prompt"]
    (output,) = [item for item in found if item.stage_type == "output"]
    assert "citations" not in output.attributes
    (retrieval,) = [item for item in found if item.stage_type == "retrieval"]
    assert retrieval.duration_ms == 12.5
    assert output.parent_stage_id == retrieval.stage_id
    assert retrieval.metadata["test_case_id"] == "tc-1"


def test_what_a_server_did_not_answer_is_sent_again_and_stored_once(db_url: str, serve: Callable[..., Server]) -> None:
    address = free_address()
    tracer = ev.StageTracer(run_id="rag-001", api_url=f"http://{address}")
    tracer.record_stage("retrieval", stage_id="s1")
    assert not tracer.flush(500)
    serve(db_url, "--api", address)
    assert tracer.flush()
    tracer.record_stage("retrieval", stage_id="s1")
    assert tracer.flush()
    tracer.shutdown()
    assert [item.stage_id for item in stored(db_url, "rag-001")] == ["s1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage_type": ""},
        {"stage_type": None},
        {"stage_type": "x", "duration_ms": float("nan")},
        {"stage_type": "x", "duration_ms": -1},
        {"stage_type": "x", "attributes": [1]},
    ],
)
def test_a_wrong_event_costs_no_other_and_does_not_raise(wrong: dict[str, Any], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    tracer = ev.StageTracer(run_id="rag-001", db=url)
    tracer.record_batch([{"stage_type": "input"}, wrong, {"stage_type": "output"}])
    tracer.shutdown()
    assert sorted(item.stage_type for item in stored(url, "rag-001")) == ["input", "output"]
    assert guard.problems()


def test_events_that_only_the_server_finds_wrong_cost_no_others(server: Server) -> None:
    tracer = ev.StageTracer(run_id="rag-001", api_url=f"http://{server.api}")
    tracer.record_batch([{"stage_type": "input"}, {"stage_type": "x", "attempt": "many"}, {"stage_type": "output"}])
    assert not tracer.flush(), "one was refused"
    tracer.shutdown()
    assert sorted(item.stage_type for item in stored(server.db, "rag-001")) == ["input", "output"]


class Odd:
    """A value that JSON does not know."""

    def __repr__(self) -> str:
        return "odd"


def test_what_the_program_changes_later_changes_nothing_and_odd_values_are_text(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    tracer = ev.StageTracer(run_id="rag-001", db=url)
    attributes: dict[str, Any] = {"doc_ids": ["a"], "mine": Odd(), "tags": {"x"}, "nan": float("nan"), "bad": "\ud800"}
    tracer.record_stage("retrieval", attributes=attributes)
    attributes["doc_ids"].append("b")
    tracer.shutdown()
    (found,) = stored(url, "rag-001")
    assert found.attributes["doc_ids"] == ["a"]
    assert found.attributes["mine"] == "odd"


def test_the_buffer_is_bounded_and_a_program_is_not_kept() -> None:
    tracer = ev.StageTracer(run_id="rag-001", api_url=f"http://{free_address()}", max_queue_size=10)
    began = time.monotonic()
    for _ in range(1000):
        tracer.record_stage("retrieval", {"text": "x" * 1000})
    assert tracer.counts().dropped == 990
    tracer.shutdown()
    tracer.shutdown()
    assert time.monotonic() - began < 3.0


def test_stages_of_threads_and_ends_of_programs(db_url: str) -> None:
    program = (
        "import threading, evalvault_otel as ev\n"
        f"tracer = ev.StageTracer(run_id='rag-001', db={db_url!r})\n"
        "def work(n):\n"
        "    with tracer.stage('retrieval', stage_name=str(n)):\n"
        "        pass\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    found = stored(db_url, "rag-001")
    assert sorted(int(item.stage_name) for item in found) == list(range(20))
    assert all(item.parent_stage_id is None for item in found)
