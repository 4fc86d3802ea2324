"""A server with rules: spans that come whole and spans that come in pieces become what the rules say."""

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from benchmarks.database import of_url
from evalvault_otel.conventions.rules_file import conventions_of
from evalvault_otel.model import Span
from evalvault_otel.wire import otlp_json
from tests.support.server import ServerFailed, running_server, start_server
from tests.support.traces import TRACE_ID, sid, span

RULES = """
rules:
  - name: policy-search
    when: {span: "PolicySearch.*"}
    stage: retrieval
    fields: {doc_ids: {attribute: search.hits, json: "$[*].id"}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def send(address: str, *spans: Span) -> None:
    headers = {"content-type": "application/json"}
    answer = requests.post(f"http://{address}/v1/traces", otlp_json.encode(spans), headers=headers, timeout=10)
    assert answer.status_code == 200


def stages_of(url: str, expected: int) -> list[dict[str, Any]]:
    """The stages of the trace, once there are as many as expected."""
    for _ in range(200):
        answer = requests.get(url, timeout=10)
        found = orjson.loads(answer.content).get("stages", []) if answer.ok else []
        if len(found) >= expected:
            return list(found)
        time.sleep(0.05)
    raise AssertionError(f"no {expected} stages: {answer.text}")


def told(entry: dict[str, Any]) -> tuple[str, str, str, list[str]]:
    stage = entry["stage"]
    return stage["span_id"], stage["stage_type"], stage["type_source"], stage["attributes"]["doc_ids"]


SEARCH = {"search.hits": '[{"id": "p-7"}]'}


def test_rules_make_stages_of_whole_traces_and_of_pieces(tmp_path: Path, rules: Path) -> None:
    db = str(tmp_path / "test.db")
    with running_server(db, tmp_path / "log", "--rules", str(rules), "--quiet-ms", "50") as server:
        send(server.http, span(1, name="ask"), span(2, 1, SEARCH, name="PolicySearch.run"))
        at_once = stages_of(server.url(f"/api/traces/{TRACE_ID}"), 1)
        send(server.http, span(3, 2, SEARCH, name="PolicySearch.again"), span(4, 1, SEARCH, name="PolicySearch.b"))
        later = stages_of(server.url(f"/api/traces/{TRACE_ID}"), 2)

    assert list(map(told, at_once)) == [(sid(2), "retrieval", "user_rule:policy-search:span.name", ["p-7"])]
    # The third repeats the second: a wrapper chain, as with any convention.
    assert list(map(told, later)) == [
        (number, "retrieval", "user_rule:policy-search:span.name", ["p-7"]) for number in (sid(2), sid(4))
    ]
    versions = of_url(f"sqlite:///{db}").query("SELECT mapping_version FROM trace")
    assert [tuple(row) for row in versions] == [(conventions_of(str(rules)).version,)]


def test_rules_that_are_wrong_stop_the_start_with_one_line(tmp_path: Path, rules: Path) -> None:
    rules.write_text("rules:\n- name: a\n  stage: two words\n")

    with pytest.raises(ServerFailed):
        start_server(str(tmp_path / "test.db"), tmp_path / "log", env={"EVALVAULT_RULES": str(rules)})

    said = (tmp_path / "log").read_text().splitlines()
    assert said == [
        f"error: {rules}:3: 'two words' is no stage type: use a lower-case word such as retrieval, or custom.<name>"
    ]
