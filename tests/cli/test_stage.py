"""`stage`: EvalVault's file workflow, in every database, as a process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.records import StageFilter
from tests.cli.test_cli import error_of, evalvault

GOLDEN = Path(__file__).parents[1] / "golden" / "evalvault" / "stage_events.jsonl"
RUN = "run_20260103_001"
_ANY = StageFilter()


def _json(*arguments: str) -> Any:
    said = evalvault(*arguments, "--json")
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


def _event(number: int, **more: Any) -> dict[str, Any]:
    at = f"2026-01-01T00:00:{number % 60:02d}Z"
    return {"run_id": "r", "stage_type": "retrieval", "started_at": at, "duration_ms": 5.0, **more}


def _case(case: str, docs: list[str], **more: Any) -> dict[str, Any]:
    return _event(1, stage_id=f"s-{case}", metadata={"test_case_id": case}, attributes={"doc_ids": docs, **more})


def _lines(path: Path, *events: Any) -> str:
    path.write_text("".join(f"{event if isinstance(event, str) else json.dumps(event)}\n" for event in events))
    return str(path)


def test_evalvaults_own_file_gives_evalvaults_own_figures(db_url: str) -> None:
    for there in (0, 5):  # twice the same is stored once
        said = _json("stage", "ingest", str(GOLDEN), "--db", db_url)
        assert (said["stored"], said["duplicates"]) == (5, there)
    summary = _json("stage", "summary", RUN, "--db", db_url)
    metrics = {
        item["metric_name"]: item["avg"]
        for item in _json("stage", "compute-metrics", RUN, "--db", db_url)["aggregates"]
    }

    assert summary["total_events"] == 5
    assert summary["stage_type_avg_durations"] == {
        "input": 6.0, "output": 1400.0, "rerank": 220.0, "retrieval": 120.0, "system_prompt": 18.0,
    }  # fmt: skip
    assert summary["missing_required_stage_types"] == []
    figures = {
        "retrieval.result_count": 3.0, "retrieval.avg_score": 0.693333, "retrieval.score_gap": 0.46,
        "rerank.keep_rate": 0.666667, "rerank.avg_score": 0.75, "rerank.score_gap": 0.26,
        "output.citation_count": 2.0, "output.token_ratio": 0.233333, "input.query_length": 32.0,
        "retrieval.latency_ms": 120.0, "output.latency_ms": 1400.0,
    }  # fmt: skip
    assert {name: round(metrics[name], 6) for name in figures} == figures


def test_files_of_every_shape(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    shapes: list[Any] = [{"stage_events": [_event(1), _event(2)]}, [_event(3)], _event(4)]
    for number, shape in enumerate(shapes):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(shape))
        assert _json("stage", "ingest", str(path), "--db", db)["failed"] == 0
    lines = _lines(tmp_path / "lines.jsonl", _event(5), "", _event(5))

    assert _json("stage", "ingest", lines, "--db", db)["stored"] == 2
    assert _json("stage", "list", "r", "--db", db)["total"] == 6  # two lines of the same content are two events


def test_a_wrong_event_stores_nothing_and_names_its_line(tmp_path: Path) -> None:
    db, failed = str(tmp_path / "a.db"), tmp_path / "failed.jsonl"
    wrong = _lines(tmp_path / "w.jsonl", _event(1), {"run_id": "r"})
    said = evalvault("stage", "ingest", wrong, "--db", db, "--failed-output", str(failed))

    assert said.returncode == 2
    assert "w.jsonl:2: stage_type is required; nothing was stored" in error_of(said)
    assert json.loads(failed.read_text()) == {
        "error": "stage_type is required",
        "kind": "invalid_stage_type",
        "index": 1,
        "line": 2,
        "payload": {"run_id": "r"},
    }
    assert not Path(db).exists()


def test_the_others_are_stored_where_that_is_wanted(tmp_path: Path) -> None:
    db, failed = str(tmp_path / "a.db"), tmp_path / "failed.jsonl"
    wrong = [
        {"run_id": None, "stage_type": "input"}, "{not json", _event(1, attempt=0), _event(1, duration_ms="long"),
        _event(1, metadata=[]), _event(1, started_at="yesterday"), _event(1, input_ref={"store": "s3"}), "7",
    ]  # fmt: skip
    mixed = _lines(tmp_path / "m.jsonl", _event(1), *wrong, _event(2))
    said = _json("stage", "ingest", mixed, "--db", db, "--skip-invalid", "--failed-output", str(failed))

    assert (said["stored"], said["failed"], said["runs"]) == (2, 8, {"r": 2})
    kinds = [json.loads(line)["kind"] for line in failed.read_text().splitlines()]
    assert kinds == [
        "missing_run_id", "invalid_json", "invalid_attempt", "invalid_duration", "invalid_metadata", "invalid_datetime",
        "invalid_payload_ref", "other",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name, text, named",
    [
        ("a.csv", "x", "neither .jsonl"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "7", "holds no events"),
        ("a.json", '{"stage_events": 3}', "holds no events"),
        ("missing.jsonl", None, "there is no file"),
    ],
)
def test_what_is_no_file_of_events_is_wrong_use(tmp_path: Path, name: str, text: str | None, named: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    said = evalvault("stage", "ingest", str(tmp_path / name), "--db", str(tmp_path / "a.db"))
    assert said.returncode == 2
    assert named in error_of(said)


def test_nothing_that_could_be_stored_is_1(tmp_path: Path) -> None:
    wrong = _lines(tmp_path / "w.jsonl", {"run_id": "r"})
    assert evalvault("stage", "ingest", wrong, "--db", str(tmp_path / "a.db"), "--skip-invalid").returncode == 1


def test_many_lines_need_no_more_memory_than_few(tmp_path: Path) -> None:
    def peak_mib(lines: int) -> float:
        path = tmp_path / f"{lines}.jsonl"
        with path.open("w") as file:
            for number in range(lines):
                event = _event(number, trace_id=f"{number + 1:032x}", attributes={"doc_ids": ["d"], "query": "q" * 200})
                file.write(json.dumps(event) + "\n")
        measured = (
            "import resource, sys\nfrom evalvault_otel.cli import main\n"
            "try:\n    main()\nexcept SystemExit as exc:\n    assert not exc.code, exc.code\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)"
        )
        words = ["stage", "ingest", str(path), "--db", str(tmp_path / f"{lines}.db")]
        done = subprocess.run([sys.executable, "-c", measured, *words], capture_output=True, text=True, check=True)
        assert f"{lines:,} events" in done.stdout
        return float(done.stderr.splitlines()[-1])

    few, many = peak_mib(1_000), peak_mib(20_000)
    assert many < few + 60


# Relevance.


@pytest.fixture
def judged_run(db_url: str, tmp_path: Path) -> str:
    """A run of three retrievals: two test cases that say nothing of relevance, one that does."""
    events = (_case("a", ["d1", "d2"]), _case("b", ["d9"]), _case("c", ["d1"], relevant_doc_ids=["d1"]))
    assert _json("stage", "ingest", _lines(tmp_path / "e.jsonl", *events), "--db", db_url)["stored"] == 3
    return db_url


def _recall(said: Any) -> tuple[int, float] | None:
    found = [item for item in said["aggregates"] if item["metric_name"] == "retrieval.recall_at_k"]
    return (found[0]["count"], found[0]["avg"]) if found else None


def test_a_relevance_map_is_stored_with_the_traces(judged_run: str, tmp_path: Path) -> None:
    path = tmp_path / "relevant.json"
    path.write_text(json.dumps({"a": ["d1"], "b": "d1", "c": ["d7"], "unknown": ["d1"]}))
    compute = ("stage", "compute-metrics", "r", "--db", judged_run)
    judgement = ("--relevance-json", str(path))

    assert _recall(_json(*compute)) == (1, 1.0)
    tried = _json(*compute, *judgement, "--no-save-metrics")
    assert _recall(tried) == (3, round(2 / 3, 6))  # c says itself what is relevant
    assert _recall(_json(*compute)) == (1, 1.0)
    assert _json(*compute, *judgement)["aggregates"] == tried["aggregates"]
    assert _json(*compute)["aggregates"] == tried["aggregates"]
    _holds_after_everything_is_made_again(open_store(judged_run))
    assert evalvault("remap", "--all", "--db", judged_run).returncode == 0
    assert _json(*compute)["aggregates"] == tried["aggregates"]


def _holds_after_everything_is_made_again(store: Store) -> None:
    """Stages follow from spans and log events alone."""
    trace_id = next(iter(store.stages("r", _ANY, 1).items)).trace_id
    again = assemble(store.spans(trace_id), store.logs(trace_id))
    stored = {stage.stage_id: dict(stage.metrics) for stage in store.trace_stages(trace_id)}
    assert {stage.stage_id: dict(stage.metrics) for stage in again.stages} == stored
    store.close()


@pytest.mark.parametrize("text", ["[]", "{}", '{"a": [{}]}', '{"a": true}', "{"])
def test_a_map_that_is_none_is_wrong_use(tmp_path: Path, text: str) -> None:
    db = str(tmp_path / "a.db")
    _json("stage", "ingest", _lines(tmp_path / "e.jsonl", _case("a", ["d1"])), "--db", db)
    (tmp_path / "r.json").write_text(text)
    said = evalvault("stage", "compute-metrics", "r", "--db", db, "--relevance-json", str(tmp_path / "r.json"))
    assert said.returncode == 2
    assert "relevance" in error_of(said)


def test_the_report_says_what_to_do(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    _json("stage", "ingest", _lines(tmp_path / "e.jsonl", _case("a", [])), "--db", db)
    thresholds = tmp_path / "t.json"
    thresholds.write_text('{"retrieval.result_count": 2}')
    said = _json("stage", "report", "r", "--db", db, "--thresholds-json", str(thresholds))

    assert [guide["metric_name"] for guide in said["recommendations"]] == ["retrieval.result_count"]
    shown = evalvault("stage", "report", "r", "--db", db, "--thresholds-json", str(thresholds)).stdout
    assert "retrieval.result_count" in shown.splitlines()[-1]
