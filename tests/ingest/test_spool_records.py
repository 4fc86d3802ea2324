"""A request in the spool is the request that came."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.ingest import spool_records
from evalvault_otel.model import LogEvent, Reject, Span
from evalvault_otel.wire import Decoded
from tests.support.strategies import bounded, spans
from tests.support.traces import RESOURCE, SCOPE, exact, golden_names, golden_spans, span, stage

REJECT = Reject("bad id \ud800", b"\0\xff", "http", "10.0.0.1:5", "logs", "protobuf", 3)
EVENT = LogEvent(
    "0" * 31 + "1", "0" * 15 + "1", "gen_ai.choice", 2**64 - 1, 5, 9, "INFO",
    {"a": [1, 1.0, None, b"\xff", float("inf")], "$map": {"$bytes": "x"}}, {"k": True}, 1, 2, RESOURCE, SCOPE,
)  # fmt: skip


@settings(bounded, max_examples=100)
@given(sent=st.lists(spans, max_size=4))
def test_spans_come_back_as_they_were(sent: list[Span]) -> None:
    assert exact(spool_records.decode(spool_records.encode(Decoded(sent, []))).spans) == exact(sent)


def test_golden_traces_come_back_as_they_were() -> None:
    for name in golden_names():
        sent = golden_spans(name)
        assert exact(spool_records.decode(spool_records.encode(Decoded(sent, []))).spans) == exact(sent)


def test_all_parts_come_back_in_order() -> None:
    rejects = [replace(REJECT, reason="why"), Reject("", b"")]
    sent = Decoded([span(1), stage(2, 1, "tool")], rejects, [EVENT, EVENT], 3, 2, "http", "10.0.0.1")

    assert exact(spool_records.decode(spool_records.encode(sent))) == exact(sent)


def test_text_that_no_database_takes_is_made_storable() -> None:
    assert spool_records.decode(spool_records.encode(Decoded([], [REJECT]))).rejects == [
        replace(REJECT, reason="bad id \ufffd")
    ]


def test_nothing_comes_back_as_nothing() -> None:
    assert spool_records.decode(spool_records.encode(Decoded([], []))) == Decoded([], [])


@pytest.mark.parametrize("payload", [b"S", b"X" + bytes(8), b"S" + b"\x05" + bytes(7) + b"abc"])
def test_what_this_version_does_not_write_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"this version knows no part|is not complete"):
        spool_records.decode(payload)
