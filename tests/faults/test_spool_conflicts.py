"""Deadlocks and serialization failures under load: tried again at once, and whoever sends notices nothing."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from evalvault_otel.store import open_store
from tests.support.clients import body_of, post, trace_of
from tests.support.load import Load, assert_all_well, figure, wait_replayed
from tests.support.server import Server

_TRIGGER = """
CREATE SEQUENCE injected;
CREATE FUNCTION inject() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {condition} THEN
        RAISE EXCEPTION 'injected' USING ERRCODE = '{code}';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER inject AFTER INSERT ON span FOR EACH STATEMENT EXECUTE FUNCTION inject();
"""


@pytest.mark.parametrize("code", ["40P01", "40001"])
def test_every_second_transaction_fails_with_a_conflict(
    code: str, postgres_url: str, serve: Callable[..., Server]
) -> None:
    server = serve(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        connection.execute(_TRIGGER.format(condition="nextval('injected') % 2 = 1", code=code).encode())
    with Load(server) as load:
        load.wait_for(200)

    balance = load.balance(postgres_url)
    assert (balance.lost, balance.refused) == (0, 0)
    assert figure(server, "evalvault_spooled_requests_total") == 0
    assert_all_well(postgres_url)


def test_conflicts_that_do_not_end_are_waited_for_in_the_spool(postgres_url: str, serve: Callable[..., Server]) -> None:
    server = serve(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        connection.execute(_TRIGGER.format(condition="nextval('injected') <= 20", code="40001").encode())
    with Load(server) as load:
        load.wait_for(50)
    wait_replayed(server)

    balance = load.balance(postgres_url)
    assert (balance.lost, balance.refused) == (0, 0)
    assert figure(server, "evalvault_spooled_requests_total") > 0
    assert_all_well(postgres_url)


def test_a_real_deadlock_with_another_program(postgres_url: str, serve: Callable[..., Server]) -> None:
    server = serve(postgres_url)
    first, last = trace_of("0" * 31 + "1"), trace_of("f" * 32)
    claim = (
        "INSERT INTO trace (trace_id, span_count, dirty, assemblies, received_ns) VALUES (%s, 0, false, 0, 0) "
        "ON CONFLICT DO NOTHING"
    )
    with psycopg.connect(postgres_url) as other, ThreadPoolExecutor(1) as pool:
        # Given another program that holds the second trace of a request, which holds the first
        other.execute("SET deadlock_timeout = '60s'")
        other.execute(claim, (last[0].trace_id,))
        answer = pool.submit(post, server.http, body_of(first + last))
        _wait_for_lock(postgres_url)
        # When that program wants the first one too, PostgreSQL ends the transaction of the server
        other.execute(claim, (first[0].trace_id,))
        other.rollback()
        assert answer.result(15).status_code == 200

    assert figure(server, "evalvault_spooled_requests_total") == 0
    with closing(open_store(postgres_url)) as store:
        assert [len(store.spans(spans[0].trace_id)) for spans in (first, last)] == [3, 3]
    assert_all_well(postgres_url)


def _wait_for_lock(url: str) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 10
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(waiting).fetchall() == [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
