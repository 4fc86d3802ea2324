"""`remap` as a process: beside a server that ingests the same traces, killed in the middle, dry, stopped."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from benchmarks.database import of_url
from evalvault_otel.assembly import assemble
from evalvault_otel.conventions.rules_file import conventions_of
from evalvault_otel.model import Span
from evalvault_otel.store import Store
from evalvault_otel.wire import protobuf
from tests.support.derived import derived_rows
from tests.support.server import Server
from tests.support.traces import RUN_ID, asset, batches, in_trace, new_trace_id, span, stage

NOW = 1_700_000_000_000_000_000
RULES = """
version: 1
rules:
  - name: lookups
    when: {span: "step 2"}
    stage: retrieval
"""
Said = subprocess.CompletedProcess[str]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "evalvault_otel", "remap", *map(str, arguments)]


def remap(*arguments: object) -> Said:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, check=False)


def shown(*arguments: object) -> Any:
    return orjson.loads(remap(*arguments, "--json").stdout)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def trace(trace_id: str, run: str = "r") -> list[Span]:
    """A trace of which the rules make one more stage."""
    events = (asset(kind="prompt", name="p", version="1"),)
    return [stage(1, 0, "workflow", {RUN_ID: run}, trace_id=trace_id, events=events), span(2, 1, trace_id=trace_id)]


def fill(store: Store, count: int, run: str = "r") -> list[str]:
    ids = sorted(new_trace_id() for _ in range(count))
    for first in range(0, count, 500):
        part = ids[first : first + 500]
        store.write(batches(*(one for trace_id in part for one in trace(trace_id, run))), [], NOW)
    return ids


def versions(db_url: str) -> dict[str, int]:
    return dict(of_url(db_url).query("SELECT mapping_version, count(*) FROM trace GROUP BY mapping_version"))


def test_it_says_what_it_did_and_does_it_once(store: Store, db_url: str, rules: Path) -> None:
    fill(store, 3)
    version = conventions_of(str(rules)).version

    dry = remap("--all", "--dry-run", "--rules", rules, "--db", db_url)
    first = remap("--all", "--rules", rules, "--db", db_url)
    second = remap("--all", "--rules", rules, "--db", db_url)

    assert [said.returncode for said in (dry, first, second)] == [0, 0, 0]
    assert dry.stdout.startswith(f"would remap 3 traces with 6 spans to mapping {version} in ")
    assert dry.stdout.endswith(" s: 3 changed, 3 stages of another type\n")
    assert first.stdout.replace("remapped", "would remap").split(" in ")[0] == dry.stdout.split(" in ")[0]
    assert second.stdout.startswith("remapped 0 traces")
    assert versions(db_url) == {version: 3}
    forced = shown("--all", "--force", "--rules", rules, "--db", db_url)
    assert (forced["traces"], forced["changed"], forced["complete"]) == (3, 0, True)


def test_check_of_the_database_counts_what_is_to_be_remapped(
    store: Store, db_url: str, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check() -> str:
        words = [sys.executable, "-m", "evalvault_otel", "db", "check", "--db", db_url]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout

    fill(store, 2)
    assert "mapping" not in check()
    monkeypatch.setenv("EVALVAULT_RULES", str(rules))
    assert "2 traces made by another mapping than that of now: `evalvault-otel remap --all`\n" in check()
    assert remap("--all", "--db", db_url).returncode == 0
    assert "mapping" not in check()


def test_it_takes_the_traces_of_a_run_or_since_a_time(store: Store, db_url: str, rules: Path) -> None:
    fill(store, 2, "one")
    fill(store, 1, "two")

    assert shown("--run", "two", "--rules", rules, "--db", db_url)["traces"] == 1
    assert shown("--since", "1h", "--rules", rules, "--db", db_url)["traces"] == 0
    assert shown("--since", "2023-11-14", "--rules", rules, "--db", db_url)["traces"] == 2


def _begun(db_url: str, version: str, least: int) -> bool:
    return versions(db_url).get(version, 0) >= least


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_one_that_is_ended_in_the_middle_goes_on_where_it_was(
    store: Store, db_url: str, rules: Path, how: signal.Signals
) -> None:
    ids = fill(store, 6_000)
    version = conventions_of(str(rules)).version
    process = subprocess.Popen(
        command("--all", "--rules", rules, "--db", db_url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _wait(partial(_begun, db_url, version, 200))
    process.send_signal(how)
    said, _ = process.communicate(timeout=30)

    done = versions(db_url)[version]
    assert 200 <= done < len(ids)
    if how == signal.SIGINT:
        assert (process.returncode, said.splitlines()[-1]) == (130, b"stopped: run it again to go on")
    # Every trace has all of its old rows or all of its new ones.
    stages = of_url(db_url).query(
        "SELECT t.mapping_version, count(*) FROM trace AS t JOIN stage_event AS s ON s.trace_id = t.trace_id GROUP BY 1"
    )
    assert dict(stages)[version] == 2 * done
    rest = shown("--all", "--rules", rules, "--db", db_url)
    assert rest["traces"] == len(ids) - done
    assert versions(db_url) == {version: len(ids)}
    assert store.run("r").stages == 2 * len(ids)


def test_beside_a_server_that_gets_more_of_the_same_traces_all_is_as_from_scratch(
    store: Store, db_url: str, rules: Path, serve: Callable[..., Server]
) -> None:
    # Given traces of the mapping without rules, and a server that has them
    ids = fill(store, 1_200)
    server = serve(db_url, "--rules", str(rules), "--quiet-ms", "50")
    late = {trace_id: [stage(3, 2, "tool", trace_id=trace_id), span(4, 3, trace_id=trace_id)] for trace_id in ids}

    def send() -> None:
        for first in range(0, len(ids), 20):
            content = protobuf.encode([one for trace_id in ids[first : first + 20] for one in late[trace_id]])
            headers = {"Content-Type": "application/x-protobuf"}
            answer = requests.post(f"http://{server.http}/v1/traces", content, headers=headers, timeout=20)
            assert answer.status_code == 200

    # When more of them arrives while all are remapped, twice
    sending = threading.Thread(target=send)
    sending.start()
    assert remap("--all", "--rules", rules, "--db", db_url).returncode == 0
    assert remap("--all", "--force", "--rules", rules, "--db", db_url).returncode == 0
    sending.join()
    _wait(lambda: of_url(db_url).unassembled() == 0)

    # Then each trace is as if it had come as a whole
    mapped = partial(assemble, conventions=conventions_of(str(rules)))
    whole = new_trace_id()
    (batch,) = batches(*trace(whole), *in_trace(late[ids[0]], whole))
    store.write([type(batch)(whole, batch.spans, mapped(batch.spans), False, False)], [], NOW)
    database = of_url(db_url)
    expected = derived_rows(database, whole)
    assert len(expected["stage_event"]) == 3
    assert [one for one in ids[::10] if derived_rows(database, one) != expected] == []
    assert versions(db_url) == {conventions_of(str(rules)).version: len(ids) + 1}
    assert store.run("r").stages == 3 * (len(ids) + 1)


def test_a_field_that_a_rule_fills_is_a_change(store: Store, db_url: str, tmp_path: Path) -> None:
    fill(store, 2, "one")
    rules = tmp_path / "fields.yaml"
    rules.write_text("rules: [{name: a, when: {span: 'step *'}, fields: {language: {value: ko}}}]")

    said = shown("--all", "--rules", rules, "--db", db_url, "--dry-run")

    assert (said["changed"], said["retyped_stages"]) == (2, 0)


def test_what_rules_did_is_not_undone_by_leaving_them_out(store: Store, db_url: str, rules: Path) -> None:
    fill(store, 2, "one")
    remap("--all", "--rules", rules, "--db", db_url)

    refused = remap("--all", "--db", db_url)
    assert refused.returncode == 2
    assert "rules or run settings that this command was not given made 2 traces (mapping" in refused.stderr
    checked = subprocess.run(
        [*command()[:-1], "db", "check", "--db", db_url], capture_output=True, text=True, timeout=120, check=False
    )
    assert "2 traces made with rules or run settings that this command was not given" in checked.stdout
    assert shown("--all", "--undo-settings", "--db", db_url)["changed"] == 2


def test_a_run_that_is_not_there_is_1(store: Store, db_url: str) -> None:
    fill(store, 1, "one")
    said = remap("--run", "two", "--db", db_url)
    assert (said.returncode, said.stderr) == (
        1,
        "error: no trace of run 'two' found: `evalvault-otel runs` lists the runs\n",
    )
