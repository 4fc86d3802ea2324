"""The quickstart application, run for real: its spans are what its README says."""

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PROJECT = Path(__file__).parents[2]
APP = PROJECT / "examples" / "quickstart"
STAGES = ["input", "query_rewrite", "retrieval", "rerank", "prompt", "output"]
EMPTY = {"q08", "q17", "q27", "q37"}
RAISING = {"q05", "q15", "q30"}


@dataclass(frozen=True)
class Recording:
    """What one run of the pipeline answered, and its spans by test case and stage type."""

    results: list[Any]
    roots: list[ReadableSpan]
    stages: dict[str, dict[str, ReadableSpan]]

    def of(self, stage_type: str) -> dict[str, ReadableSpan]:
        return {case: stages[stage_type] for case, stages in self.stages.items()}


@pytest.fixture(scope="module")
def quickstart() -> Iterator[dict[str, ModuleType]]:
    """The modules of the application, imported as the application imports them."""
    before = set(sys.modules)
    sys.path.insert(0, str(APP))
    yield {name: importlib.import_module(name) for name in ("corpus", "dataset", "pipeline", "words", "prompt")}
    sys.path.remove(str(APP))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(APP)):
            del sys.modules[name]


def record(quickstart: dict[str, ModuleType], seed: int) -> Recording:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    corpus = quickstart["corpus"].load([PROJECT / "docs", PROJECT / "README.md"])
    dataset = quickstart["dataset"].load(APP / "questions.json")
    results = list(quickstart["pipeline"].Pipeline(corpus, dataset, provider.get_tracer("test"), seed).run())
    spans = exporter.get_finished_spans()
    roots = [span for span in spans if span.parent is None]
    cases = {root.context.trace_id: attribute(root, "evalvault.test_case.id") for root in roots}
    stages: dict[str, dict[str, ReadableSpan]] = {case: {} for case in cases.values()}
    for span in spans:
        if span.parent is not None:
            stages[cases[span.context.trace_id]][attribute(span, "evalvault.stage.type")] = span
    return Recording(results, roots, stages)


@pytest.fixture(scope="module")
def runs(quickstart: dict[str, ModuleType]) -> dict[str, Recording]:
    """Three runs at the same time (they mostly sleep): two with one seed, one with another."""
    seeds = {"first": 7, "again": 7, "other": 8}
    with ThreadPoolExecutor(len(seeds)) as pool:
        pending: dict[str, Future[Recording]] = {
            name: pool.submit(record, quickstart, seed) for name, seed in seeds.items()
        }
        return {name: future.result() for name, future in pending.items()}


@pytest.fixture(scope="module")
def recording(runs: dict[str, Recording]) -> Recording:
    return runs["first"]


def attribute(span: ReadableSpan, key: str) -> Any:
    return (span.attributes or {}).get(key)


def milliseconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e6


def assets(span: ReadableSpan) -> list[tuple[Any, ...]]:
    keys = ("kind", "name", "version", "digest")
    return [
        tuple((event.attributes or {})[f"evalvault.asset.{key}"] for key in keys)
        for event in span.events
        if event.name == "evalvault.asset.used"
    ]


def test_every_question_is_one_trace_with_all_stages_in_order(recording: Recording) -> None:
    assert len(recording.results) == len(recording.roots) == 40
    for stages in recording.stages.values():
        by_start = sorted(stages.items(), key=lambda item: item[1].start_time or 0)
        assert [stage_type for stage_type, _ in by_start] == STAGES


def test_the_root_span_is_no_stage(recording: Recording) -> None:
    assert {root.name for root in recording.roots} == {"answer_question"}
    assert not any(attribute(root, "evalvault.stage.type") for root in recording.roots)


def test_ground_truth_names_sections_that_exist(quickstart: dict[str, ModuleType]) -> None:
    known = {section.id for section in quickstart["corpus"].load([PROJECT / "docs"]).sections}
    questions = quickstart["dataset"].load(APP / "questions.json").questions
    assert {id_ for question in questions for id_ in question.relevant} - known == set()


def test_retrieval_finds_most_of_the_ground_truth(recording: Recording) -> None:
    recalls = [
        len(set(result.retrieved) & set(result.question.relevant)) / len(result.question.relevant)
        for result in recording.results
        if result.question.relevant and result.question.id not in EMPTY
    ]
    assert len(recalls) == 36
    assert sum(recalls) / len(recalls) > 0.8


def test_retrieval_spans_carry_what_was_found_best_first(recording: Recording) -> None:
    for result in recording.results:
        span = recording.stages[result.question.id]["retrieval"]
        scores = list(attribute(span, "evalvault.retrieval.scores"))
        assert attribute(span, "evalvault.retrieval.doc_ids") == result.retrieved
        assert len(scores) == len(result.retrieved) <= attribute(span, "evalvault.retrieval.top_k")
        assert scores == sorted(scores, reverse=True)


def test_the_documented_questions_retrieve_nothing(recording: Recording) -> None:
    assert {result.question.id for result in recording.results if not result.retrieved} == EMPTY


def test_the_documented_questions_fail_in_query_rewriting_and_go_on(recording: Recording) -> None:
    failed = {case: span for case, span in recording.of("query_rewrite").items() if not span.status.is_ok}
    assert set(failed) == RAISING
    for case, span in failed.items():
        (error,) = [event for event in span.events if event.name == "exception"]
        assert error.attributes is not None
        assert error.attributes["exception.type"] == "ValueError"
        assert assets(span)[0][:2] == ("mapping", "synonyms")
        assert attribute(recording.stages[case]["retrieval"], "evalvault.retrieval.doc_ids")


def test_no_other_stage_fails(recording: Recording) -> None:
    failed = Counter(
        attribute(span, "evalvault.stage.type")
        for stages in recording.stages.values()
        for span in stages.values()
        if not span.status.is_ok
    )
    assert failed == {"query_rewrite": 3}


def test_one_rerank_in_seven_is_slow(recording: Recording) -> None:
    slow = [span for span in recording.of("rerank").values() if milliseconds(span) >= 250]
    assert len(slow) == 5


def test_citations_are_retrieved_documents(recording: Recording) -> None:
    for result in recording.results:
        assert set(result.citations) <= set(result.retrieved)
        span = recording.stages[result.question.id]["output"]
        assert tuple(attribute(span, "evalvault.output.citations")) == result.citations
        assert attribute(span, "evalvault.output.answer") == result.answer


def test_the_second_prompt_version_cites_less(recording: Recording) -> None:
    counts: dict[str, list[int]] = {"1": [], "2": []}
    for result in recording.results:
        counts[result.prompt_version].append(len(result.citations))
    assert len(counts["1"]) == len(counts["2"]) == 20
    assert sum(map(bool, counts["1"])) == 18  # all but the two that retrieve nothing
    assert sum(map(bool, counts["2"])) == 2  # the two that ask where something is described


def test_prompt_and_output_record_the_same_prompt_version(
    recording: Recording, quickstart: dict[str, ModuleType]
) -> None:
    for result in recording.results:
        template = quickstart["prompt"].load_prompt("qa_answer", result.prompt_version)
        expected = ("prompt", "qa_answer", result.prompt_version, template.digest)
        stages = recording.stages[result.question.id]
        assert assets(stages["prompt"]) == [expected]
        assert expected in assets(stages["output"])


def test_index_version_follows_the_text_of_the_corpus(quickstart: dict[str, ModuleType], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\nOne.\n")
    before = quickstart["corpus"].load([tmp_path]).digest
    page.write_text("# Page\n\nTwo.\n")
    assert quickstart["corpus"].load([tmp_path]).digest != before


def test_sections_get_the_ids_that_links_use(quickstart: dict[str, ModuleType], tmp_path: Path) -> None:
    page = "# The `page`\n\nIntro.\n\n## Yes & no\n\nA.\n\n```\n# not a heading\n```\n\n## Empty\n\n## Yes & no\n\nB.\n"
    (tmp_path / "page.md").write_text(page)
    sections = quickstart["corpus"].load([tmp_path]).sections
    assert [section.id for section in sections] == ["page.md#the-page", "page.md#yes--no", "page.md#yes--no-1"]
    assert [section.page for section in sections] == ["The `page`"] * 3


def test_terms_join_the_forms_of_a_word(quickstart: dict[str, ModuleType]) -> None:
    terms = quickstart["words"].terms
    assert terms("The migrations of queries") == terms("migration query")
    assert terms("set quiet_ms") == ["set", *terms("quiet_ms")]
    assert terms("quiet_ms")[1:] == terms("quiet ms")


def test_the_same_seed_gives_the_same_answers_and_the_same_slow_reranks(runs: dict[str, Recording]) -> None:
    def slow(run: Recording) -> set[str]:
        return {case for case, span in run.of("rerank").items() if milliseconds(span) >= 250}

    assert runs["again"].results == runs["first"].results
    assert slow(runs["again"]) == slow(runs["first"])
    assert slow(runs["other"]) != slow(runs["first"])
    assert runs["other"].results == runs["first"].results


def test_the_application_does_not_import_evalvault_otel() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(APP)], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert "pipeline" in modules
    assert not any(name.startswith("evalvault") for name in modules)


class _Sink(BaseHTTPRequestHandler):
    """An OTLP/HTTP endpoint that keeps the bodies it gets."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay quiet."""


@pytest.fixture
def sink() -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Sink", (_Sink,), {"bodies": bodies}))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def run_app(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    command = [sys.executable, str(APP / "app.py"), *args]
    return subprocess.run(command, capture_output=True, text=True, env={**clean, **env}, check=False)


def test_the_command_sends_one_run_to_an_otlp_endpoint(sink: tuple[str, list[bytes]], tmp_path: Path) -> None:
    endpoint, bodies = sink
    done = run_app("--run-id", "r1", "--corpus", str(PROJECT / "docs"), OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "run r1: 40 questions answered, 280 spans sent"

    resources = [one for body in bodies for one in ExportTraceServiceRequest.FromString(body).resource_spans]
    said = {item.key: item.value.string_value for one in resources for item in one.resource.attributes}
    assert sum(len(scope.spans) for one in resources for scope in one.scope_spans) == 280
    assert said["evalvault.run.id"] == "r1"
    assert said["evalvault.run.kind"] == "offline"
    assert said["service.name"] == "quickstart-rag"


def small_dataset(folder: Path) -> list[str]:
    """Options for a run of one question over one page, so that a test is quick."""
    (folder / "page.md").write_text("# Page\n\nWater boils at 100 degrees.\n")
    questions = {"name": "small", "version": "1", "questions": [{"id": "a", "question": "When does water boil?"}]}
    (folder / "questions.json").write_text(json.dumps(questions))
    return ["--corpus", str(folder), "--questions", str(folder / "questions.json"), "--run-id", "r2"]


def test_a_failed_export_is_told_with_its_remedy(tmp_path: Path) -> None:
    endpoint = "http://127.0.0.1:1"
    timeout = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    done = run_app(*small_dataset(tmp_path), OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **timeout)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "run r2: 1 questions answered, 0 spans sent"
    assert "7 spans could not be sent to http://127.0.0.1:1: start a receiver there" in done.stderr


def test_no_export_sends_nothing(tmp_path: Path) -> None:
    done = run_app(*small_dataset(tmp_path), "--no-export", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "args, message",
    [(["--corpus", "missing-folder"], "missing-folder"), (["--questions", "missing.json"], "missing.json")],
)
def test_wrong_input_is_told_in_one_line(args: list[str], message: str) -> None:
    done = run_app("--no-export", *args)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
