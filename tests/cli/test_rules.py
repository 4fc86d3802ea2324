"""`rules check`, `rules test` and `rules example` as processes, and a server that has rules."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from evalvault_otel.analysis.rules_effect import effects
from evalvault_otel.assembly import assemble
from evalvault_otel.conventions.reading import DEFAULT, MAPPING_VERSION
from evalvault_otel.conventions.rules_file import conventions_of
from evalvault_otel.model import Span
from evalvault_otel.store import open_store
from evalvault_otel.wire import otlp_json
from tests.support.traces import TRACE_ID, batches, kind, log, sid, span

EXAMPLE = Path(conventions_of.__code__.co_filename).with_name("rules_example.yaml")
Said = subprocess.CompletedProcess[str]


def evalvault(*arguments: object) -> Said:
    command = [sys.executable, "-m", "evalvault_otel", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(EXAMPLE.read_text())
    return path


HITS = '[{"id": "p-7", "score": 0.9}, {"id": "p-2", "score": 0.4}]'


def spans() -> list[Span]:
    searched = {"search.text": "water damage", "search.limit": 2, "search.hits": HITS}
    return [
        kind(1, 0, "CHAIN", {"qa.case": "tc-1", "qa.run": "nightly"}, name="ask"),
        span(2, 1, name="RetryWrapper", start=1, end=50),
        span(3, 2, searched, name="PolicySearch.run", start=2, end=40),
        kind(4, 1, "RETRIEVER", {"app.step": "reorder-by-date"}, name="step", start=50, end=60),
        kind(5, 1, "LLM", name="gpt", start=60, end=90),
    ]


def test_the_example_is_a_file_of_rules_without_a_slip(rules: Path) -> None:
    printed = evalvault("rules", "example")
    checked = evalvault("rules", "check", rules)

    assert (printed.returncode, printed.stdout) == (0, rules.read_text())
    assert checked.returncode == 0
    assert checked.stdout == f"{rules}: 5 rules, mapping {conventions_of(str(rules)).version}\n"


def test_check_says_what_may_be_a_slip(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: a, when: {span: x}, stage: retreival, fields: {doc_id: y, top_k: z}}]")
    said = evalvault("rules", "check", path)

    assert said.returncode == 0
    assert [line for line in said.stdout.splitlines() if line.startswith("note: ")] == [
        "note: stage type retreival is none of the usual words: metrics of stages do not know it",
        "note: field doc_id is none of the conventions': the stage has it under this name",
    ]


def test_check_lists_all_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n- name: a\n- name: b\n  stage: two words\n")
    said, as_json = evalvault("rules", "check", path), evalvault("rules", "check", path, "--json")

    assert (said.returncode, as_json.returncode) == (2, 2)
    assert [line.split(" ")[0] for line in said.stderr.splitlines()] == [f"{path}:2:", f"{path}:4:"]
    assert [problem["line"] for problem in orjson.loads(as_json.stdout)["problems"]] == [2, 4]


@pytest.mark.parametrize("command", [("check",), ("test", "{}", TRACE_ID)])
def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path, command: tuple[str, ...]) -> None:
    missing = tmp_path / "none.yaml"
    said = evalvault("rules", command[0], missing, *command[2:])

    assert said.returncode == 2
    assert said.stderr.startswith(f"error: {missing}: No such file or directory: ")


def test_the_effect_of_rules_is_shown_span_by_span(rules: Path) -> None:
    found = effects(spans(), (), DEFAULT, conventions_of(str(rules)))

    assert [
        (one.name, one.depth, one.before.stage_type, one.after.stage_type, one.changed_fields) for one in found
    ] == [
        ("ask", 0, "workflow", "workflow", ["-qa.case", "-qa.run"]),
        ("RetryWrapper", 1, None, None, []),
        ("PolicySearch.run", 2, None, "retrieval", ["+doc_ids", "+query", "+scores", "+top_k"]),
        ("step", 1, "retrieval", "rerank", ["-app.step"]),
        ("gpt", 1, "output", "output", []),
    ]
    assert [one.changed for one in found] == [True, False, True, True, True]
    assert {one.after.run_id for one in found if one.after.stage_type} == {"nightly"}
    assert found[2].after.fields["doc_ids"] == ["p-7", "p-2"]
    assert [one.after.why for one in found] == [
        "rule:root_chain:openinference.span.kind",
        "user_rule:plumbing:span.name",
        "user_rule:policy-search:span.name",
        "user_rule:our-steps:app.step",
        "rule:answering_generation, attribute:openinference.span.kind",
    ]


def test_the_effect_shows_wrapper_spans_as_parts(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: inner, when: {span: inner}, stage: retrieval}]")
    members = [kind(1, 0, "RETRIEVER", name="outer"), span(2, 1, name="inner", start=1, end=9)]
    (_, inner) = effects(members, (), DEFAULT, conventions_of(str(path)))

    assert (inner.before.stage_type, inner.after.part_of) == (None, sid(1))


def written(path: Path, *documents: bytes) -> Path:
    path.write_bytes(b"\n".join(documents) + b"\n")
    return path


def test_a_trace_of_a_file_is_tried(tmp_path: Path, rules: Path) -> None:
    whole = written(tmp_path / "whole.json", otlp_json.encode(spans()))
    lines = written(tmp_path / "lines.json", otlp_json.encode(spans()[:2]), b"", otlp_json.encode(spans()[2:]))
    said = evalvault("rules", "test", rules, whole)

    assert said.returncode == 0
    assert said.stdout.splitlines()[-1] == f"4 of 5 spans changed; mapping {conventions_of(str(rules)).version}"
    assert "RetryWrapper" not in said.stdout
    assert "    PolicySearch.run  structural  retrieval" in said.stdout
    assert evalvault("rules", "test", rules, lines).stdout == said.stdout
    assert "RetryWrapper" in evalvault("rules", "test", rules, lines, "--all").stdout


def test_a_trace_of_the_database_is_tried_and_left_as_it_is(tmp_path: Path, rules: Path) -> None:
    db = tmp_path / "test.db"
    with closing(open_store(str(db))) as store:
        store.migrate()
        store.write(batches(*spans()), [], 1)
        before = store.trace_stages(TRACE_ID)
    said = evalvault("rules", "test", rules, TRACE_ID.upper(), "--db", db, "--json")
    shown: dict[str, Any] = orjson.loads(said.stdout)

    assert said.returncode == 0
    assert (shown["changed"], shown["of"], len(shown["spans"])) == (4, 5, 4)
    assert shown["spans"][2]["before"]["stage_type"] == "retrieval"
    assert shown["spans"][2]["after"]["why"] == "user_rule:our-steps:app.step"
    with closing(open_store(str(db))) as store:
        assert store.trace_stages(TRACE_ID) == before


@pytest.mark.parametrize(
    "trace, code, sentence",
    [
        ("nowhere.json", 2, "is neither a file nor a trace id of 32 hex digits"),
        ("0" * 31 + "1", 1, "no trace"),
        ("broken.json", 2, "broken.json:2: "),
        ("empty.json", 2, "empty.json: "),
    ],
)
def test_what_cannot_be_tried_says_why(tmp_path: Path, rules: Path, trace: str, code: int, sentence: str) -> None:
    written(tmp_path / "broken.json", otlp_json.encode(spans()), b"{")
    (tmp_path / "empty.json").write_text("")
    with closing(open_store(str(tmp_path / "test.db"))) as store:
        store.migrate()
    place = tmp_path / trace if (tmp_path / trace).exists() else trace
    said = evalvault("rules", "test", rules, place, "--db", tmp_path / "test.db")

    assert (said.returncode, said.stdout) == (code, "")
    assert sentence in said.stderr


def test_rules_that_change_nothing_are_told_by_the_exit_code(tmp_path: Path, rules: Path) -> None:
    path = written(tmp_path / "other.json", otlp_json.encode([span(1, name="other")]))
    said = evalvault("rules", "test", rules, path)

    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith("error: nothing changes in 1 span: ")


def test_log_events_of_a_file_are_read_too(tmp_path: Path, rules: Path) -> None:
    event = log(3, "evalvault.asset.used", {"evalvault.asset.kind": "index", "evalvault.asset.name": "policies"})
    record = {
        "traceId": TRACE_ID,
        "spanId": sid(3),
        "eventName": event.name,
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in event.attributes.items()],
    }
    logs = orjson.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    path = written(tmp_path / "both.json", otlp_json.encode(spans()), logs)

    assert evalvault("rules", "test", rules, path).returncode == 0


def test_the_version_of_the_mapping_stands_with_the_trace(tmp_path: Path, rules: Path) -> None:
    conventions = conventions_of(str(rules))
    made = assemble(spans(), (), conventions)

    assert made.mapping_version == f"{MAPPING_VERSION}+rules:{conventions.rules.digest if conventions.rules else ''}"
