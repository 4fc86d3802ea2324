import re
from importlib.resources import files

import pytest

from evalvault_otel.errors import InvalidInput
from evalvault_otel.store import cursor, named_sql
from evalvault_otel.store.named_sql import statement

NAMES = re.findall(r"^-- name: (\w+)", (files("evalvault_otel.store") / "sql" / "common.sql").read_text(), re.MULTILINE)


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
@pytest.mark.parametrize("name", NAMES)
def test_every_text_expands_completely(dialect: str, name: str) -> None:
    text = statement(dialect, name, frozenset())
    assert text.strip()
    assert "{" not in text
    assert "$1" not in text
    assert " -- if " not in text


def test_a_line_with_a_condition_stays_when_its_parameter_is_given() -> None:
    without, with_it = (statement("sqlite", "stages_total", frozenset(given)) for given in ((), ("status",)))
    assert ":status" not in without
    assert ":status" in with_it
    assert ":stage_type" not in with_it


def test_both_dialects_define_the_same_words() -> None:
    folder = files(named_sql.__name__.rpartition(".")[0]) / "sql"
    words = {
        dialect: set(re.findall(r"^-- name: (\w+)", (folder / f"{dialect}.sql").read_text(), re.MULTILINE))
        for dialect in ("sqlite", "postgres")
    }
    assert words["sqlite"] == words["postgres"]


def test_a_cursor_comes_back_as_it_was_given() -> None:
    text = cursor.encode(-5, "run/ä", None)
    assert cursor.decode(text, int, str, str) == [-5, "run/ä", None]
    assert re.fullmatch(r"[\w-]+", text)


@pytest.mark.parametrize(
    "text", ["", "x", "////", "bnVsbA", "e30", cursor.encode("a", 1), cursor.encode(1), cursor.encode(True, "a")]
)
def test_what_no_page_returned_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        cursor.decode(text, int, str)
