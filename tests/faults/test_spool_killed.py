"""The server is killed while it spools, while it replays, and stopped while PostgreSQL is away."""

import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from benchmarks.database import of_url
from evalvault_otel.store import open_store
from tests.support.clients import body_of, call, post, trace_of
from tests.support.load import Load, assert_all_well, figure, wait_replayed
from tests.support.postgres import Postgres
from tests.support.server import Server, ServerFailed

# A replay in many transactions, so that a kill falls between two of them.
SMALL_COMMITS = {"EVALVAULT_COMMIT_BYTES": "8192"}


def migrate(url: str) -> None:
    store = open_store(url)
    store.migrate()
    store.close()


def test_kill_9_while_spooling_and_again_and_again_while_replaying(
    postgres: Postgres, postgres_url: str, serve: Callable[..., Server]
) -> None:
    migrate(postgres_url)
    database = of_url(postgres_url)
    with postgres.away():
        # Given servers that are killed while they spool
        server = serve(postgres_url, env=SMALL_COMMITS)
        with Load(server, clients=8) as load:
            for _ in range(2):
                load.wait_for(100)
                server.kill()
                server = serve(postgres_url, env=SMALL_COMMITS)
                load.address = server.http
            load.wait_for(400)
            server.kill()
            server = serve(postgres_url, env=SMALL_COMMITS)
            load.address = server.http
        assert figure(server, "evalvault_spool_requests") >= 600
    # When PostgreSQL is back, and servers are killed in the middle of the replay
    cuts = 0
    while cuts < 3 and (before := database.counts().traces) < load.acknowledged:
        deadline = time.monotonic() + 10
        while database.counts().traces <= before and time.monotonic() < deadline:
            time.sleep(0.001)
        server.kill()
        cuts += 1
        server = serve(postgres_url, env=SMALL_COMMITS)
    wait_replayed(server)

    # Then all that was acknowledged is there, once
    assert cuts > 0
    assert load.balance(postgres_url).lost == 0
    assert_all_well(postgres_url)
    assert figure(server, "evalvault_spool_requests") == 0


def test_a_stop_and_a_start_while_postgres_is_away(
    postgres: Postgres, postgres_url: str, serve: Callable[..., Server]
) -> None:
    # Given an empty database that is away: the server cannot make its tables
    over_http, over_grpc, later = trace_of(), trace_of(), trace_of()
    with postgres.away():
        server = serve(postgres_url)
        started = time.monotonic()
        assert post(server.http, body_of(over_http)).status_code == 200
        assert call(server.grpc, body_of(over_grpc)) is grpc.StatusCode.OK
        assert time.monotonic() - started < 2
        # When it is stopped and another one is started
        assert server.stop() == 0
        server = serve(postgres_url)
        assert post(server.http, body_of(later)).status_code == 200
    wait_replayed(server)

    # Then all is stored
    database = of_url(postgres_url)
    assert database.spans_of([spans[0].trace_id for spans in (over_http, over_grpc, later)]) == 9
    assert_all_well(postgres_url)
    assert " ERROR " not in server.log


def test_beyond_the_bound_clients_keep_their_data_until_there_is_room(
    postgres: Postgres, postgres_url: str, serve: Callable[..., Server]
) -> None:
    server = serve(postgres_url, env={"EVALVAULT_MAX_SPOOL_BYTES": "40000"})
    body = body_of(trace_of())
    with Load(server) as load:
        load.wait_for(10)
        with postgres.away():
            while not load.codes[503]:
                time.sleep(0.01)
            answer = post(server.http, body)
            code = call(server.grpc, body)
            assert 20_000 < figure(server, "evalvault_spool_bytes") <= 40_000
        load.wait_for(50)
    wait_replayed(server)

    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
    assert "the spool is full (max_spool_bytes is 40000)" in answer.text
    assert code is grpc.StatusCode.UNAVAILABLE
    balance = load.balance(postgres_url)
    assert balance.lost == 0
    assert balance.refused > 0
    assert_all_well(postgres_url)
    assert server.log.count("clients must keep their data") == 1


def test_a_folder_that_cannot_be_used_stops_the_start(postgres_url: str, serve: Callable[..., Server]) -> None:
    with pytest.raises(ServerFailed, match=r"--spool /dev/null/spool \(EVALVAULT_SPOOL\): Not a directory"):
        serve(postgres_url, env={"EVALVAULT_SPOOL": "/dev/null/spool"})


def test_several_servers_share_a_spool_and_the_living_take_over_what_the_dead_left(
    postgres: Postgres, postgres_url: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    # Given two servers with one database and one spool
    dying, living = serve(postgres_url), serve(postgres_url)
    with Load(dying) as load, Load(living) as other:
        load.wait_for(10)
        with postgres.away():
            load.wait_for(50)
            other.wait_for(50)
            # When one of them is killed
            dying.kill()
            load.address = living.http
            other.wait_for(50)
        load.wait_for(10)
    wait_replayed(living)

    # Then the other one stores what both have acknowledged
    balances = load.balance(postgres_url), other.balance(postgres_url)
    assert [balance.lost for balance in balances] == [0, 0]
    assert_all_well(postgres_url)
    assert living.stop() == 0
    assert list((tmp_path / "spool").rglob("*.log")) == []
