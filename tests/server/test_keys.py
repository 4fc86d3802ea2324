"""API keys: what is read from the environment and the file, what is let in, and that no key is ever shown."""

import hashlib
import logging
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.errors import Forbidden, SettingsError, Unauthenticated, Unavailable
from evalvault_otel.server.key_file import add_key, entries_of_setting, new_key, read_key_file
from evalvault_otel.server.keys import ANYONE, Keys, Scope, presented_key
from evalvault_otel.settings import Settings
from tests.support.strategies import bounded

INGEST, READ, ADMIN = Scope.INGEST, Scope.READ, Scope.ADMIN


def line(name: str, scopes: str, key: str) -> str:
    return f"{name} {scopes} sha256:{hashlib.sha256(key.encode()).hexdigest()}\n"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def let_in(keys: Keys, key: str | None) -> set[Scope]:
    """The scopes that a key has."""
    found = set()
    for scope in Scope:
        try:
            keys.check(key, scope)
        except (Forbidden, Unauthenticated):
            continue
        found.add(scope)
    return found


# What a key may do.


def test_without_keys_nobody_is_asked() -> None:
    keys = Keys.of(Settings())

    assert not keys.required
    assert keys.check(None, ADMIN) == keys.check("any", INGEST) == ANYONE


@pytest.mark.parametrize(
    "said, scopes",
    [
        ("ingest:k", {INGEST}),
        ("read:k", {READ}),
        ("ingest+read:k", {INGEST, READ}),
        ("admin:k", {INGEST, READ, ADMIN}),
        ("k", {INGEST, READ}),
        (" Ingest + READ : k ", {INGEST, READ}),
        ("ingest:k,read:k", {INGEST, READ}),
        ("read:other,,ingest:k,", {INGEST}),
        ("read:k:with:colons,ingest:k", {INGEST}),
        ("read:other", set()),
    ],
)
def test_scopes_of_a_key_of_the_environment(said: str, scopes: set[Scope]) -> None:
    assert let_in(Keys.of(Settings(api_keys=said)), "k") == scopes


def test_a_key_may_hold_colons() -> None:
    assert let_in(Keys.of(Settings(api_keys="read:a:b")), "a:b") == {READ}


def test_errors_say_what_to_do() -> None:
    keys = Keys.of(Settings(api_keys="ingest:secret-one,read:secret-two"))

    with pytest.raises(Unauthenticated, match=r"asks for an API key: .*`Authorization: Bearer <key>` or `x-api-key"):
        keys.check(None, READ)
    with pytest.raises(Unauthenticated, match=r"not known: .*`Authorization: Bearer <key>` or `x-api-key"):
        keys.check("secret", READ)
    with pytest.raises(Forbidden, match="needs the scope `read`"):
        keys.check("secret-one", READ)


@settings(bounded, max_examples=200)
@given(st.text(max_size=40))
def test_any_other_text_is_no_key(text: str) -> None:
    keys = Keys.of(Settings(api_keys="ingest:secret-one"))
    if text == "secret-one":
        return
    with pytest.raises(Unauthenticated):
        keys.check(text, INGEST)


# The environment.


@pytest.mark.parametrize("said", ["ingset:s3cret", "s3cret:", "ingest:", "ingest+:s3cret", "ok,write:s3cret", ",", " "])
def test_an_entry_that_is_wrong_is_refused_and_not_shown(said: str) -> None:
    with pytest.raises(SettingsError, match="EVALVAULT_API_KEYS") as caught:
        entries_of_setting(said)
    assert "s3cret" not in str(caught.value)


def test_settings_do_not_show_keys() -> None:
    assert "s3cret" not in repr(Settings(api_keys="ingest:s3cret"))


# The file.


def test_keys_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(f"# who sends\n\n{line('ci', 'ingest', 'one')}  {line('people', 'read+ingest', 'two')}")

    keys = Keys.of(Settings(api_keys_file=str(path), api_keys="admin:three"))

    assert [let_in(keys, key) for key in ("one", "two", "three")] == [{INGEST}, {INGEST, READ}, set(Scope)]
    assert keys.check("one", INGEST).name == "ci"


HASH = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "content, said",
    [
        ("ci ingest", "line 1"),
        (f"# one\nci ingest {HASH}\nci2 write {HASH}", "line 3: the second word"),
        ("ci ingest s3cret", "line 1: the third word"),
        ("ci ingest sha256:00", "line 1: the third word"),
        (f"ci ingest {HASH} more", "line 1"),
        (f"s3cret/name ingest {HASH}", "line 1"),
        (f"ci ingest {HASH}\nci read {HASH}", "line 1: another line has this name"),
        ("", "holds no key"),
        ("# only a comment\n", "holds no key"),
    ],
)
def test_a_file_that_is_wrong_names_its_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(content)

    with pytest.raises(SettingsError) as caught:
        Keys.of(Settings(api_keys_file=str(path)))

    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, why in (("none", "No such file"), ("", "not a regular"), ("pipe", "not a regular"), ("binary", "UTF-8")):
        path = tmp_path / name
        with pytest.raises(SettingsError, match=f"(?s){path}.*EVALVAULT_API_KEYS_FILE.*{why}"):
            Keys.of(Settings(api_keys_file=str(path)))


def test_a_new_key_is_known_at_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(line("ci", "ingest", "one"))
    keys = Keys(path=path, clock=Clock())
    assert let_in(keys, "two") == set()

    path.write_text(line("ci", "ingest", "one") + line("people", "read", "two"))

    assert let_in(keys, "two") == {READ}


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    # Given a file with one key
    path, clock = tmp_path / "keys.txt", Clock()
    path.write_text(line("ci", "ingest", "one"))
    keys = Keys(path=path, clock=clock)
    assert (let_in(keys, "one"), let_in(keys, "two")) == ({INGEST}, set())

    # When another is put in its place, and a moment passes
    path.write_text(line("ci", "read", "two"))
    clock.now += 1.1

    # Then it holds, and the first one does not
    assert (let_in(keys, "one"), let_in(keys, "two")) == (set(), {READ})


@pytest.mark.parametrize("broken", ["gone", "wrong line", "folder"])
def test_a_file_that_breaks_later_keeps_its_keys(tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture) -> None:
    path, clock = tmp_path / "keys.txt", Clock()
    good = line("ci", "ingest", "one")
    path.write_text(good)
    keys = Keys(path=path, clock=clock)

    path.unlink()
    if broken == "wrong line":
        path.write_text(good + "and a half-written l")
    if broken == "folder":
        path.mkdir()

    # Known keys hold; of others it is not known whether they are wrong, so nobody is told so. A key that is missing is.
    for _ in range(3):
        clock.now += 1.1
        assert keys.check("one", INGEST).name == "ci"
        with pytest.raises(Unavailable, match="cannot be read"):
            keys.check("two", INGEST)
        with pytest.raises(Unauthenticated):
            keys.check(None, INGEST)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert str(path) in record.message

    # When it is mended, it is read again
    if broken == "folder":
        path.rmdir()
    path.write_text(good + line("two", "read", "two"))
    clock.now += 1.1
    assert let_in(keys, "two") == {READ}
    with pytest.raises(Unauthenticated):
        keys.check("three", INGEST)


def test_a_file_whose_last_key_is_gone_lets_nobody_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, clock = tmp_path / "keys.txt", Clock()
    path.write_text(line("ci", "ingest", "one"))
    keys = Keys(entries_of_setting("read:fixed"), path, clock)

    path.write_text("# none left\n")
    clock.now += 1.1

    with pytest.raises(Unavailable):
        keys.check("one", INGEST)
    assert keys.check("fixed", READ).name == "EVALVAULT_API_KEYS#1"
    assert "no key any more" in caplog.text


def test_a_file_that_comes_back_unchanged_is_whole_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys.txt", Clock()
    path.write_text(line("ci", "ingest", "one"))
    keys = Keys(path=path, clock=clock)
    path.rename(tmp_path / "away")
    clock.now += 1.1
    with pytest.raises(Unavailable):
        keys.check("two", INGEST)

    (tmp_path / "away").rename(path)
    clock.now += 1.1

    with pytest.raises(Unauthenticated):
        keys.check("two", INGEST)


# New keys.


def test_a_new_key_works_and_is_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"

    key = add_key(path, "ci", frozenset({INGEST}))

    assert key not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert let_in(Keys(path=path), key) == {INGEST}


def test_keys_are_appended_whatever_is_there(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text("# ours\n" + line("old", "read", "old").rstrip())
    path.chmod(0o640)

    key = add_key(path, "new", frozenset({ADMIN}))

    keys = Keys(path=path)
    assert (let_in(keys, "old"), let_in(keys, key)) == ({READ}, set(Scope))
    assert path.read_text().startswith("# ours\nold ")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["", "a b", "#a", "a" * 65, "a\nb", "-a", "ключ"])
def test_names_are_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="name"):
        add_key(tmp_path / "keys.txt", name, frozenset({INGEST}))
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    outcomes: list[str] = []
    refusals: list[str] = []

    def add(name: str) -> None:
        try:
            outcomes.append(add_key(path, name, frozenset({INGEST})))
        except SettingsError as exc:
            refusals.append(str(exc))

    threads = [threading.Thread(target=add, args=(f"n{number // 2}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(outcomes) == len(read_key_file(path).entries) == 10
    assert len([refusal for refusal in refusals if "already" in refusal]) == 10


def test_new_keys_are_long_and_fit_for_headers() -> None:
    keys = {new_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(key.startswith("evk_") and key.isascii() and len(key) == 47 and "=" not in key for key in keys)


# Headers and metadata.


@pytest.mark.parametrize(
    "headers, key",
    [
        ([("authorization", "Bearer k")], "k"),
        ([("Authorization", "bEARER   k ")], "k"),
        ([(b"authorization", b"Bearer k")], "k"),
        ([("x-api-key", "k")], "k"),
        ([(b"X-API-Key", b" k ")], "k"),
        ([("api-key", "k")], "k"),
        ([("authorization", "Bearer other"), ("x-api-key", "k")], "k"),
        ([("authorization", "Bearer k"), ("x-api-key", "")], "k"),
        ([("x-api-key", "k"), ("x-api-key", "other")], "k"),
        ([("authorization", "Basic azpr")], None),
        ([("authorization", "Bearer")], None),
        ([("authorization", "Bearer ")], None),
        ([("authorization", "k")], None),
        ([("x-api-key-bin", b"k"), ("cookie", "x-api-key=k")], None),
        ([("x-api-key", None), (None, "k"), (3, 4)], None),
        ([], None),
    ],
)
def test_the_key_of_a_request(headers: list[tuple[object, object]], key: str | None) -> None:
    assert presented_key(headers) == key


@settings(bounded, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"other"]), st.binary(max_size=30))))
def test_any_bytes_are_safe(headers: list[tuple[object, object]]) -> None:
    keys = Keys.of(Settings(api_keys="ingest:secret-one"))
    with pytest.raises(Unauthenticated):
        keys.check(presented_key(headers), INGEST)


def test_a_key_that_is_not_ascii_is_the_same_everywhere() -> None:
    keys = Keys.of(Settings(api_keys="ingest:schlüssel"))

    assert let_in(keys, presented_key([(b"x-api-key", "schlüssel".encode())])) == {INGEST}
