"""Errors that only a person can end say what helps; the log repeats it once a minute, not with every request."""

import logging
from pathlib import Path

import psycopg
import pytest

from evalvault_otel.errors import InvalidInput, SettingsError, Unavailable
from evalvault_otel.model import Reject
from evalvault_otel.store import open_store, reminder
from evalvault_otel.store.postgres_errors import Conflict, repeated, translated


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    reminder._said.clear()


@pytest.mark.parametrize(
    "old, new, remedy",
    [
        ("//postgres:", "//nobody:", "check user and password in --db"),
        ("/test_", "/none_", "create the database, or name another one with --db"),
    ],
)
def test_an_address_that_postgres_refuses(
    old: str, new: str, remedy: str, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(postgres_url.replace(old, new))
    for call in (store.ping, store.migrate, store.ping):
        with pytest.raises(Unavailable, match=remedy):
            call()
    store.close()

    assert [record.levelno for record in caplog.records if remedy in record.message] == [logging.ERROR]


@pytest.mark.parametrize(
    "statement, expected",
    [
        ("SELECT 1 / 0", InvalidInput),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$", Conflict),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$", Conflict),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '55P03'; END $$", Unavailable),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53300'; END $$", Unavailable),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable),
        ("SELECT * FROM no_such_table", Unavailable),
    ],
)
def test_errors_are_told_apart_and_what_passes_is_not_logged(
    statement: str, expected: type[Exception], postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection, pytest.raises(expected) as caught, translated():
        connection.execute(statement.encode())

    assert caught.type is expected
    assert caplog.records == []


@pytest.mark.parametrize("conflicts, tries", [(0, 1), (3, 4), (9, 4)])
def test_a_conflict_is_tried_again_a_few_times(conflicts: int, tries: int) -> None:
    done: list[int] = []

    def transaction() -> str:
        done.append(1)
        if len(done) <= conflicts:
            raise Conflict("in the way")
        return "stored"

    if conflicts < tries:
        assert repeated(transaction) == "stored"
    else:
        with pytest.raises(Unavailable, match="in the way"):
            repeated(transaction)
    assert len(done) == tries


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(SettingsError, match=r"letter.txt is no SQLite database: choose another name"):
        open_store(str(path))


def test_a_file_that_only_begins_as_a_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"SQLite format 3\0" + b"Dear Sir or Madam, " * 100)
    store = open_store(str(path))
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"file is not a database: .*letter.txt: name another file with --db"):
            store.migrate()
    store.close()

    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


@pytest.mark.parametrize("replaced", [False, True])
def test_a_database_that_was_removed_or_replaced_takes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, replaced: bool
) -> None:
    path = tmp_path / "test.db"
    store = open_store(str(path))
    store.migrate()
    assert store.write([], [Reject("first", b"")], 1).stored == 0

    if replaced:
        (tmp_path / "backup.db").write_bytes(b"")
        (tmp_path / "backup.db").rename(path)
    else:
        path.unlink()
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"test\.db was removed or replaced .*: restart the server"):
            store.write([], [Reject("second", b"")], 2)
    store.close()

    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
