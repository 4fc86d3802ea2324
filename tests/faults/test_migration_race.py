"""Migrations under fault: several starts at once, a death in the middle, and an older schema that holds data."""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import requests

from benchmarks.database import Database, of_url
from benchmarks.driver import wait_assembled
from evalvault_otel.store.migrations import scripts
from tests.support.clients import body_of, post, trace_of
from tests.support.postgres import Postgres
from tests.support.server import Server

VERSIONS = [version for version, _, _ in scripts("postgres")]
# Migrates each database that comes in on standard input and says how many migrations ran.
MIGRATE = """
import sys
from evalvault_otel.store import open_store
print(0, flush=True)
for line in sys.stdin:
    store = open_store(line.strip())
    print(store.migrate(), flush=True)
    store.close()
"""


@contextmanager
def migrating() -> "Iterator[subprocess.Popen[str]]":
    """A process that migrates what it is told to."""
    with subprocess.Popen(
        [sys.executable, "-c", MIGRATE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            assert answer(process) == 0
            yield process
        finally:
            process.kill()


def tell(process: "subprocess.Popen[str]", db_url: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{db_url}\n")
    process.stdin.flush()


def answer(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def applied(db_url: str) -> list[int]:
    return [version for (version,) in of_url(db_url).query("SELECT version FROM migration ORDER BY version")]


# At once.


def test_ten_times_two_processes_migrate_an_empty_database_at_once(postgres: Postgres) -> None:
    with migrating() as one, migrating() as other:
        for _ in range(10):
            with postgres.database() as url:
                tell(one, url)
                tell(other, url)
                assert sorted([answer(one), answer(other)]) == [0, len(VERSIONS)]
                assert applied(url) == VERSIONS


def test_two_servers_start_on_an_empty_database_at_once(postgres_url: str, serve: Callable[..., Server]) -> None:
    # When a server and one with two workers, four processes in all, start together
    started: list[Server] = []
    options: list[tuple[str, ...]] = [(), ("--workers", "2")]
    threads = [
        threading.Thread(target=lambda said=said: started.append(serve(postgres_url, *said))) for said in options
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Then both are ready and take spans
    assert applied(postgres_url) == VERSIONS
    assert [requests.get(server.url("/readyz"), timeout=10).status_code for server in started] == [200, 200]
    assert [post(server.http, body_of(trace_of())).status_code for server in started] == [200, 200]
    assert [server.log.count("Traceback") + server.log.count("WARNING") for server in started] == [0, 0]


# Death in the middle.


@contextmanager
def held_up(db_url: str, version: int) -> "Iterator[psycopg.Connection[Any]]":
    """Let no migration get past `version`: another session has written down that one too, and not committed."""
    with psycopg.connect(db_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO migration (version, name) VALUES (%s, 'not yet')", (version,))
        yield connection
        connection.execute("ROLLBACK")


def wait_held_up(db_url: str) -> None:
    """Return when a migration has run its script and waits to write that down."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND query LIKE 'INSERT INTO migration%'"
    )
    deadline = time.monotonic() + 30
    while not of_url(db_url).query(waiting):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_killed_in_the_middle_of_a_migration_leaves_nothing_half_done(
    postgres_url: str, serve: Callable[..., Server], version: int
) -> None:
    # Given a server that has made the tables of a version and has not committed
    command = [sys.executable, "-m", "evalvault_otel", "serve", "--db", postgres_url, "--spool", "off"]
    free = [word for name in ("--grpc", "--http", "--api") for word in (name, "127.0.0.1:0")]
    with held_up(postgres_url, version), subprocess.Popen([*command, *free], stderr=subprocess.DEVNULL) as server:
        wait_held_up(postgres_url)
        # When it is killed
        server.kill()
        server.wait()
        assert applied(postgres_url) == []
        # Then the next one waits for what PostgreSQL still holds for the dead one, and does it all
        ready: list[Server] = []
        thread = threading.Thread(target=lambda: ready.append(serve(postgres_url)))
        thread.start()
        time.sleep(0.5)
        assert ready == []
    thread.join(60)
    (replacement,) = ready
    assert applied(postgres_url) == VERSIONS
    assert post(replacement.http, body_of(trace_of())).status_code == 200
    assert of_url(postgres_url).counts().stages == 2


def test_killed_at_any_moment_the_next_start_completes_it(db_url: str) -> None:
    sqlite = db_url.startswith("sqlite")
    took_s, interrupted = 0.0, 0
    for turn in range(8):
        # Given an empty database, and a process that migrates it
        url = f"{db_url}-{turn}" if sqlite else db_url
        with migrating() as process:
            started = time.monotonic()
            tell(process, url)
            # When it is killed: at once, at the end, or somewhere between
            if turn == 0:
                answer(process)
                took_s = time.monotonic() - started
            else:
                time.sleep(took_s * (turn - 1) / 6)
        # Then everything is done or nothing, and the next start does the rest
        with migrating() as process:
            tell(process, url)
            ran = answer(process)
        assert ran in {0, len(VERSIONS)}
        assert applied(url) == VERSIONS
        interrupted += ran > 0
        if not sqlite:
            _drop_all(url)
    assert interrupted > 0


def _drop_all(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


# An older schema with data.

OLD = "0af7651916cd43dd8448eb211c80319c"
WAITING = "1af7651916cd43dd8448eb211c80319c"
# As version 1 wrote them: an assembled trace with one stage, a trace that waits for the assembler, and a reject.
FIRST_DATA = """
INSERT INTO resource (id, attributes, dropped_attributes, schema_url)
    VALUES ('r1', '{{"service.name": "old-app"}}', 0, '');
INSERT INTO scope (id, name, version, attributes, dropped_attributes, schema_url)
    VALUES ('s1', 'lib', '1', '{{}}', 0, '');
INSERT INTO span (trace_id, span_id, parent_span_id, name, kind, start_ns, end_ns, status_code, status_message,
    attributes, flags, trace_state, resource_id, scope_id, received_ns)
VALUES
    ('{old}', '0000000000000001', '', 'search', 1, 1767225600000000000, 1767225600050000000, 0, '',
        '{{"evalvault.stage.type": "retrieval", "evalvault.retrieval.doc_ids": ["d1"]}}', 0, '', 'r1', 's1', 5),
    ('{waiting}', '0000000000000001', '', 'answer', 1, 1767225600000000000, 1767225600070000000, 2, 'no',
        '{{"evalvault.stage.type": "output"}}', 0, '', 'r1', 's1', 6);
INSERT INTO trace (trace_id, run_id, root_span_id, first_ns, last_ns, span_count, dirty, dirty_since_ns, due_ns,
    assemblies, mapping_version, assembled_ns, received_ns)
VALUES
    ('{old}', 'old-run', '0000000000000001', 1767225600000000000, 1767225600050000000, 1, FALSE, NULL, NULL, 1,
        1, 5, 5),
    ('{waiting}', NULL, '0000000000000001', NULL, NULL, 1, TRUE, 6, 7, 0, NULL, NULL, 6);
INSERT INTO stage_event (trace_id, stage_id, run_id, stage_type, status, attempt, started_ns, finished_ns, duration_ms,
    self_ms, critical_ms, attributes, span_id, derived, metrics)
VALUES ('{old}', '0000000000000001', 'old-run', 'retrieval', 'success', 1, 1767225600000000000, 1767225600050000000, 50,
    50, 50, '{{"doc_ids": ["d1"]}}', '0000000000000001', FALSE, '{{"result_count": 1.0}}');
INSERT INTO asset (id, kind, name, fallback) VALUES ('a1', 'index', 'faq', FALSE);
INSERT INTO asset_use (trace_id, stage_id, ordinal, run_id, asset, used_ns)
    VALUES ('{old}', '0000000000000001', 0, 'old-run', 'a1', 1767225600000000000);
INSERT INTO finding (trace_id, ordinal, run_id, code, severity, detail)
    VALUES ('{old}', 0, 'old-run', 'usage_ignored', 'info', 'seen by version 1');
INSERT INTO run_trace (trace_id, run_id, service, name, started_ns, finished_ns, stages, errors, stage_types, tokens_in,
    tokens_out, cost_total)
VALUES ('{old}', 'old-run', 'old-app', 'search', 1767225600000000000, 1767225600050000000, 1, 0, ',retrieval,', 0, 0,
    0);
INSERT INTO run (run_id, name, kind, service, first_ns, last_ns)
    VALUES ('old-run', 'Old run', 'offline', 'old-app', 1767225600000000000, 1767225600050000000);
INSERT INTO reject (received_ns, transport, peer, reason, size, payload)
    VALUES (5, 'http', '127.0.0.1:5', 'span id of 3 bytes', 3, {payload});
"""


def make_old(database: Database, version: int) -> None:
    """Bring an empty database to a version, with data that version 1 wrote."""
    payload = "X'6f6c64'" if database.kind == "sqlite" else "decode('6f6c64', 'hex')"
    data = FIRST_DATA.format(old=OLD, waiting=WAITING, payload=payload)
    steps = ["CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL);"]
    for number, name, script in scripts(database.kind)[:version]:
        steps += [script, f"INSERT INTO migration (version, name) VALUES ({number}, '{name}');"]  # noqa: S608 - our own
        steps += [data] if number == 1 else []
    if database.kind == "sqlite":
        with closing(sqlite3.connect(database.url.removeprefix("sqlite:///"))) as connection:
            connection.executescript("\n".join(steps))
    else:
        database.query("\n".join(steps))


def stages_of(trace: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Type, status and duration of the stages in an answer of the API."""
    shown = [item["stage"] for item in trace["stages"]]
    return [(stage["stage_type"], stage["status"], stage["duration_ms"]) for stage in shown]


@pytest.mark.parametrize("version", VERSIONS[:-1] or VERSIONS)
def test_an_older_schema_is_brought_up_to_date_with_its_data(
    db_url: str, serve: Callable[..., Server], version: int
) -> None:
    # Given a database of an older version
    database = of_url(db_url)
    make_old(database, version)
    assert applied(db_url) == VERSIONS[:version]

    # When a server of today starts on it
    server = serve(db_url)
    wait_assembled(database)

    # Then what was there is there: spans, stages, assets, findings, the run, the reject
    assert applied(db_url) == VERSIONS
    old = requests.get(server.url(f"/api/traces/{OLD}?spans=true"), timeout=10).json()
    assert (old["run_id"], old["service"], old["span_count"]) == ("old-run", "old-app", 1)
    assert [(said["stage"]["stage_type"], said["stage"]["duration_ms"]) for said in old["stages"]] == [
        ("retrieval", 50)
    ]
    assert [(use["kind"], use["name"]) for use in old["assets"]] == [("index", "faq")]
    assert [said["detail"] for said in old["findings"]] == ["seen by version 1"]
    (span,) = old["spans"]["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (span["name"], span["startTimeUnixNano"]) == ("search", "1767225600000000000")
    run = requests.get(server.url("/api/runs/old-run"), timeout=10).json()
    assert (run["name"], run["kind"], run["traces"]) == ("Old run", "offline", 1)
    (reject,) = database.query("SELECT reason, size, payload FROM reject")
    assert (reject[0], reject[1], bytes(reject[2])) == ("span id of 3 bytes", 3, b"old")

    # What had waited is assembled, and the rest of the old trace finds its place
    waited = requests.get(server.url(f"/api/traces/{WAITING}"), timeout=10).json()
    assert [(said["stage"]["stage_type"], said["stage"]["status"]) for said in waited["stages"]] == [
        ("output", "error")
    ]
    late = replace(trace_of(OLD)[1], parent_span_id="0000000000000001")
    assert post(server.http, body_of([late])).status_code == 200
    wait_assembled(database)
    old = requests.get(server.url(f"/api/traces/{OLD}"), timeout=10).json()
    assert (old["span_count"], len(old["stages"])) == (2, 2)
    assert "Traceback" not in server.log
