"""A full disk under SQLite and under the spool: a clear error, no corruption, and all goes on when there is space."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import requests

from tests.support.clients import body_of, post, trace_of
from tests.support.load import Load, assert_all_well, figure, wait_replayed
from tests.support.postgres import Postgres
from tests.support.server import Server
from tests.support.small_disk import small_disk


def wait_refused(load: Load, timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not load.codes[503]:
        assert time.monotonic() < deadline, "the disk is not full"
        time.sleep(0.02)


def post_until_refused(server: Server) -> requests.Response:
    """The first refusal: a small request may still find room where a larger transaction did not."""
    answers = (post(server.http, body_of(trace_of())) for _ in range(50))
    return next(answer for answer in answers if answer.status_code != 200)


def test_a_full_disk_under_sqlite(serve: Callable[..., Server], tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", free_mib=1.5) as disk:
        # Given a server under load whose disk fills up
        path = disk.path / "test.db"
        server = serve(str(path))
        with Load(server) as load:
            wait_refused(load)
            answer = post_until_refused(server)
            # Then clients are told why, the file is intact, and what is in it can be read
            assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
            assert f"database or disk is full: {path}: free space on its disk" in answer.text
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert requests.get(server.url("/api/runs"), timeout=5).json()["total"] == 1
            # And when there is space again, it goes on
            disk.free_space()
            load.wait_for(50)
        balance = load.balance(f"sqlite:///{path}")
        assert balance.lost == 0
        assert_all_well(f"sqlite:///{path}")
        assert server.log.count(" ERROR ") == 1
        assert "Traceback" not in server.log
        assert server.stop() == 0
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_full_disk_under_the_spool(
    postgres: Postgres, postgres_url: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", free_mib=0.5) as disk:
        server = serve(postgres_url, env={"EVALVAULT_SPOOL": str(disk.path / "spool")})
        with Load(server) as load:
            load.wait_for(10)
            with postgres.away():
                # Given a disk that fills up while PostgreSQL is away
                wait_refused(load)
                answer = post_until_refused(server)
                # When there is space again, requests are taken again
                disk.free_space()
                load.wait_for(50)
                assert figure(server, "evalvault_spool_requests") > 50
            load.wait_for(20)
        wait_replayed(server)

        assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
        assert "the spool cannot be written: No space left on device" in answer.text
        assert load.balance(postgres_url).lost == 0
        assert_all_well(postgres_url)
        assert server.log.count("clients must keep their data") == 1
        assert "interrupted" not in server.log
        assert "Traceback" not in server.log
        assert server.stop() == 0


def test_a_disk_that_stays_full_does_not_keep_the_spool_from_being_replayed(
    postgres: Postgres, postgres_url: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", free_mib=0.25) as disk:
        server = serve(postgres_url, env={"EVALVAULT_SPOOL": str(disk.path / "spool")})
        with postgres.away(), Load(server) as load:
            wait_refused(load)
        wait_replayed(server)

        assert load.balance(postgres_url).lost == 0
        assert_all_well(postgres_url)
        assert server.stop() == 0
