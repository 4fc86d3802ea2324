"""Files of OTLP to documents: lines, a whole document, compression, damage, and what is too large."""

import gzip
import io
from dataclasses import replace

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.errors import Undecodable
from evalvault_otel.model import LogEvent
from evalvault_otel.wire.logs_json import decode_logs
from evalvault_otel.wire.logs_json_encode import encode_logs
from evalvault_otel.wire.otlp_files import Document, decode, documents
from evalvault_otel.wire.otlp_json_encode import encode
from tests.support.strategies import bounded, log_events
from tests.support.traces import exact, golden_spans, log

LIMIT = 100_000
LINES = [encode(golden_spans("native")), encode_logs([log(1, "gen_ai.choice", {"a": 1})])]


def read(content: bytes, limit: int = LIMIT) -> list[Document]:
    return list(documents(io.BufferedReader(io.BytesIO(content)), limit))


def _with_lengths(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4) + part for part in map(zstandard.compress, parts))


PLAIN = b"\n".join(LINES) + b"\n"
FORMS = {
    "plain": PLAIN,
    "windows": b"\r\n".join(LINES) + b"\r\n",
    "no newline at the end": PLAIN[:-1],
    "gzip": gzip.compress(PLAIN),
    "gzip in members": b"".join(gzip.compress(line + b"\n") for line in LINES),
    "zstd": zstandard.compress(PLAIN),
    "zstd in frames": b"".join(zstandard.compress(line + b"\n") for line in LINES),
    "zstd with lengths": _with_lengths(*LINES),
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_all_forms_give_the_same_documents(content: bytes) -> None:
    assert read(content) == [Document(1, LINES[0]), Document(2, LINES[1])]


def test_empty_lines_count_as_lines() -> None:
    assert read(b"\n" + LINES[0] + b"\n  \n" + LINES[1]) == [Document(2, LINES[0]), Document(4, LINES[1])]


@pytest.mark.parametrize("content", [b"", b"\n\n", gzip.compress(b""), zstandard.compress(b"")])
def test_of_nothing_comes_nothing(content: bytes) -> None:
    assert read(content) == []


def test_a_document_over_many_lines_is_one() -> None:
    pretty = orjson.dumps(orjson.loads(LINES[0]), option=orjson.OPT_INDENT_2)

    (found,) = read(pretty)

    assert exact(decode(found.data).spans) == exact(golden_spans("native"))
    assert [item.problem for item in read(gzip.compress(pretty))] == [""]


def test_a_first_line_that_only_looks_open_costs_no_other() -> None:
    found = read(b'{"resourceSpans": [\n' + PLAIN)

    assert found == [Document(1, b'{"resourceSpans": ['), Document(2, LINES[0]), Document(3, LINES[1])]


def test_a_line_that_is_too_large_is_passed_over_without_reading_it_whole() -> None:
    found = read(b"x" * 3_000_000 + b"\n" + PLAIN)

    assert (found[0].number, found[0].data) == (1, b"")
    assert "larger than 100000 bytes" in found[0].problem
    assert found[1:] == [Document(2, LINES[0]), Document(3, LINES[1])]


def test_a_document_over_many_lines_may_not_be_too_large_either() -> None:
    (found,) = read(b"[\n" + b"1,\n" * 50_000 + b"1]")

    assert "put each in a line" in found.problem


@pytest.mark.parametrize("name", ["gzip", "zstd", "zstd with lengths"])
def test_a_file_that_is_cut_says_so_at_its_end(name: str) -> None:
    found = read(FORMS[name][:-9])

    assert found[-1].problem
    assert all(not item.problem for item in found[:-1])


def test_what_is_compressed_may_not_become_too_large() -> None:
    bomb = b"0" * 10_000_000

    assert [item.problem[:11] for item in read(_with_lengths(bomb, LINES[0]))] == ["the body is", ""]
    assert [item.problem[:11] for item in read(gzip.compress(bomb))] == ["larger than"]


@settings(bounded, max_examples=200)
@given(
    content=st.binary(max_size=200),
    head=st.sampled_from([b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\0\0\0\x08\x28\xb5\x2f\xfd"]),
)
def test_no_file_raises(content: bytes, head: bytes) -> None:
    for item in read(head + content):
        assert bool(item.problem) != bool(item.data)


def test_requests_of_other_signals_are_none() -> None:
    with pytest.raises(Undecodable, match="resourceMetrics"):
        decode(b'{"resourceMetrics": []}')


@settings(bounded, max_examples=150)
@given(events=st.lists(log_events, min_size=1, max_size=4))
def test_log_events_written_are_read_again(events: list[LogEvent]) -> None:
    ours = [replace(item, name=f"gen_ai.{item.name}") for item in events]

    assert exact(decode_logs(encode_logs(ours)).logs) == exact(ours)
