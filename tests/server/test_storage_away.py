"""A server whose storage fails while it works: killed connections, locks that last, an address that leads nowhere."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import grpc
import psycopg
import requests

from evalvault_otel.store import open_store
from tests.support.clients import Sender, body_of, call, post, trace_of
from tests.support.server import Server

QUICK = {"EVALVAULT_ACK_TIMEOUT_S": "0.5"}


def kill_connections(url: str) -> int:
    """End every connection to the database but our own; returns how many there were."""
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(kill, (connection.info.backend_pid,)).rowcount


def test_what_was_acknowledged_survives_killed_connections_and_it_goes_on(
    postgres_url: str, serve: Callable[..., Server]
) -> None:
    # Given four clients that send all the time
    server = serve(postgres_url)
    senders = [Sender(server.http) for _ in range(4)]
    with ThreadPoolExecutor(len(senders)) as pool, ExitStack() as at_end:
        sending = [pool.submit(sender.run) for sender in senders]
        for sender in senders:
            at_end.callback(sender.stop.set)
        # When all connections are killed, again and again
        killed = 0
        for _ in range(8):
            time.sleep(0.2)
            killed += kill_connections(postgres_url)
        before = sum(len(sender.acknowledged) for sender in senders)
        time.sleep(1.5)
        at_end.close()
        for done in sending:
            done.result(30)
    # Then nobody was told anything but "stored" or "later", and what is said to be stored is there
    assert killed >= 8
    assert [sender.unexpected for sender in senders] == [[]] * len(senders)
    acknowledged = [trace_id for sender in senders for trace_id in sender.acknowledged]
    assert len(acknowledged) > before
    with closing(open_store(postgres_url)) as store:
        assert [trace_id for trace_id in acknowledged if len(store.spans(trace_id)) != 3] == []
        assert all(len(store.trace_stages(trace_id)) == 2 for trace_id in acknowledged[:20])
    assert server.process.poll() is None


@contextmanager
def locked(db: str) -> Iterator[None]:
    """Another program holds what a writer needs."""
    if db.startswith("postgresql"):
        with psycopg.connect(db) as connection:
            connection.execute("LOCK TABLE span IN ACCESS EXCLUSIVE MODE")
            yield
    else:
        with closing(sqlite3.connect(db.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield


def test_a_client_is_told_to_come_back_in_time_and_its_second_try_doubles_nothing(
    db_url: str, serve: Callable[..., Server]
) -> None:
    server = serve(db_url, env=QUICK)
    spans = trace_of()
    with locked(db_url):
        started = time.monotonic()
        answer = post(server.http, body_of(spans))
        code = call(server.grpc, body_of(spans))
        waited = time.monotonic() - started
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
    assert "not stored within 0.5 s" in answer.text
    assert code is grpc.StatusCode.UNAVAILABLE
    assert waited < 4

    assert post(server.http, body_of(spans)).status_code == 200
    with closing(open_store(db_url)) as store:
        assert sorted(item.span_id for item in store.spans(spans[0].trace_id)) == [item.span_id for item in spans]
        assert store.trace(spans[0].trace_id).span_count == 3


def test_a_request_under_way_is_answered_although_a_stop_was_asked_for(
    db_url: str, serve: Callable[..., Server]
) -> None:
    server = serve(db_url)
    over_http, over_grpc = trace_of(), trace_of()
    with ThreadPoolExecutor(3) as pool:
        with locked(db_url):
            answer = pool.submit(post, server.http, body_of(over_http))
            code = pool.submit(call, server.grpc, body_of(over_grpc))
            wait_for_waiting_bytes(server)
            stopped = pool.submit(server.stop)
            time.sleep(0.3)
            assert not answer.done()
            assert not code.done()
        assert answer.result(15).status_code == 200
        assert code.result(15) is grpc.StatusCode.OK
        assert stopped.result(20) == 0
    with closing(open_store(db_url)) as store:
        assert [len(store.spans(spans[0].trace_id)) for spans in (over_http, over_grpc)] == [3, 3]


def wait_for_waiting_bytes(server: Server) -> None:
    """Return when both requests of the test are with the ingestor."""
    two = 2 * 4096  # what a small request counts for
    deadline = time.monotonic() + 5
    while f"evalvault_waiting_bytes {float(two)}" not in requests.get(server.url("/metrics"), timeout=5).text:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_reads_of_a_file_go_on_while_its_writer_waits(serve: Callable[..., Server], tmp_path: Path) -> None:
    db_url = f"sqlite:///{tmp_path / 'test.db'}"
    server = serve(db_url)
    spans = trace_of()
    assert post(server.http, body_of(spans)).status_code == 200
    with locked(db_url):
        assert requests.get(server.url(f"/api/traces/{spans[0].trace_id}"), timeout=5).json()["span_count"] == 3
        assert requests.get(server.url("/readyz"), timeout=5).status_code == 200


def test_many_requests_while_storage_is_away_are_all_told_so_in_time(serve: Callable[..., Server]) -> None:
    server = serve("postgresql://me:secret@127.0.0.1:1/traces", env={"EVALVAULT_SPOOL": "off"})
    body = body_of(trace_of())
    started = time.monotonic()
    with ThreadPoolExecutor(18) as pool:
        reads = [pool.submit(requests.get, server.url(path), timeout=15) for path in ("/api/runs", "/readyz")]
        answers = list(pool.map(lambda _: post(server.http, body), range(16)))
    assert {(answer.status_code, answer.headers.get("Retry-After")) for answer in answers} == {(503, "1")}
    assert time.monotonic() - started < 10  # what the stock exporters wait for an answer
    for refused in (read.result() for read in reads):
        assert (refused.status_code, refused.headers.get("Retry-After")) == (503, "1")
        assert set(refused.json()) == {"error", "details"}
    assert requests.get(server.url("/livez"), timeout=5).status_code == 200
    assert "secret" not in server.log
    assert "Traceback" not in server.log
    assert "db=postgresql://me:***@127.0.0.1:1/traces" in server.log
    assert server.stop() == 0
