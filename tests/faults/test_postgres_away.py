"""PostgreSQL goes away under load, in every way it can: nothing acknowledged is lost, nothing is there twice."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from benchmarks.database import of_url
from evalvault_otel.store import open_store
from tests.support.clients import body_of, post, trace_of
from tests.support.load import Load, assert_all_well, figure, wait_replayed
from tests.support.postgres import Postgres
from tests.support.server import Server

# The promise is kept for any time; a longer one for a test by hand.
AWAY_S = float(os.environ.get("EVALVAULT_TEST_AWAY_S", "2"))
_LUCK_S = 90


CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def run_sql(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_while_postgres_is_stopped_requests_go_to_the_spool_and_all_is_there_afterwards(
    mode: str, postgres: Postgres, postgres_url: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    # Given a server under load
    server = serve(postgres_url)
    with Load(server) as load:
        load.wait_for(50)
        # When PostgreSQL stops, in the middle of transactions, for a while
        with postgres.away(mode):
            load.wait_for(20)
            time.sleep(AWAY_S / 2)
            meanwhile = load.acknowledged
            time.sleep(AWAY_S / 2)
            # Then requests are acknowledged all the same, and fast
            assert load.acknowledged > meanwhile + 20
            assert figure(server, "evalvault_spool_requests") > 20
            assert figure(server, "evalvault_spool_bytes") > 0
        load.wait_for(50)
    wait_replayed(server)

    # And afterwards all of them are in the database, once
    balance = load.balance(postgres_url)
    assert (balance.lost, balance.refused) == (0, 0)
    assert_all_well(postgres_url)
    assert load.slowest_s < 6
    assert figure(server, "evalvault_replayed_requests_total") == figure(server, "evalvault_spooled_requests_total")
    assert figure(server, "evalvault_spool_requests") == 0
    # And the log says so in three lines
    assert server.log.count("storage is away") == 1
    assert server.log.count("requests replayed from the spool") == 1
    assert server.log.count("waits for storage") <= 1
    assert "Traceback" not in server.log
    # And nothing is left of the spool
    assert server.stop() == 0
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []


def test_postgres_killed_in_the_middle_of_transactions_and_connections_cut(
    postgres: Postgres, postgres_url: str, serve: Callable[..., Server]
) -> None:
    server = serve(postgres_url)
    with Load(server) as load:
        load.wait_for(50)
        postgres.crash()
        load.wait_for(50)
        for _ in range(5):
            run_sql(postgres_url, CUT)
            load.wait_for(20)
    wait_replayed(server)

    balance = load.balance(postgres_url)
    assert (balance.lost, balance.refused) == (0, 0)
    assert_all_well(postgres_url)
    assert figure(server, "evalvault_spooled_requests_total") > 0


def test_transactions_killed_because_they_were_idle(
    postgres_url: str, postgres: Postgres, serve: Callable[..., Server]
) -> None:
    # Given a database that ends every transaction which pauses for a moment, as ours do while rows are made
    name = psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"]
    server = serve(postgres_url)
    with Load(server) as load:
        load.wait_for(20)
        run_sql(
            postgres_url,
            f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '1ms'",
            CUT,
        )
        # How often a pause is that long is a matter of luck: until it happened
        deadline = time.monotonic() + _LUCK_S
        while not _sessions_ended(postgres_url) and time.monotonic() < deadline:
            time.sleep(0.5)
        load.wait_for(20)
        # When that ends
        run_sql(postgres_url, f"ALTER DATABASE {name} RESET idle_in_transaction_session_timeout")
        load.wait_for(20)
        run_sql(postgres_url, CUT)
    wait_replayed(server)

    balance = load.balance(postgres_url)
    assert (balance.lost, balance.refused) == (0, 0)
    assert_all_well(postgres_url)
    assert _sessions_ended(postgres_url) > 0


def _sessions_ended(url: str) -> int:
    """Sessions that the database ended with an error, those that were idle for too long among them."""
    sql = "SELECT sessions_fatal FROM pg_stat_database WHERE datname = current_database()"
    return int(of_url(url).query(sql)[0][0])


def test_a_role_that_loses_its_rights_and_a_database_that_is_read_only(
    postgres_url: str, serve: Callable[..., Server]
) -> None:
    # Given a server with a role of its own, which owns nothing and may do what it needs
    store = open_store(postgres_url)
    store.migrate()
    store.close()
    name = psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"]
    role = f"app_{name}"
    run_sql(
        postgres_url,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        f"GRANT ALL ON SCHEMA public TO {role}",
    )
    try:
        server = serve(postgres_url.replace("//postgres:", f"//{role}:"))
        with Load(server, clients=2) as load:
            load.wait_for(10)
            # When somebody takes a right away
            run_sql(postgres_url, f"REVOKE INSERT ON span FROM {role}")
            load.wait_for(20)
            time.sleep(1)
            # Then the log says what helps, once, and when that is done all goes on
            run_sql(postgres_url, f"GRANT INSERT ON span TO {role}")
            wait_replayed(server)
            assert server.log.count(" ERROR ") == 1
            assert "permission denied for table span: give the user of --db its rights" in server.log

            run_sql(postgres_url, f"ALTER ROLE {role} SET default_transaction_read_only = on")
            run_sql(postgres_url, CUT)
            load.wait_for(20)
            time.sleep(1)
            run_sql(postgres_url, f"ALTER ROLE {role} RESET default_transaction_read_only")
            run_sql(postgres_url, CUT)
            load.wait_for(20)
        wait_replayed(server)
        assert "the database is read-only: name its primary with --db" in server.log
        balance = load.balance(postgres_url)
        assert (balance.lost, balance.refused) == (0, 0)
        assert_all_well(postgres_url)
        assert server.stop() == 0
    finally:
        run_sql(postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_without_a_spool_clients_keep_their_data(
    postgres: Postgres, postgres_url: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(postgres_url, env={"EVALVAULT_SPOOL": "off"})
    spans = trace_of()
    with Load(server) as load:
        load.wait_for(10)
        with postgres.away():
            answer = post(server.http, body_of(spans))
        load.wait_for(10)

    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
    balance = load.balance(postgres_url)
    assert balance.lost == 0
    assert balance.refused > 0
    assert_all_well(postgres_url)
    assert not (tmp_path / "spool").exists()
