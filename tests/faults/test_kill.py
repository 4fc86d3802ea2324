"""Acknowledged means durable: `kill -9` around the moment of an acknowledgement loses no acknowledged span."""

import os
from collections.abc import Callable

import pytest

from benchmarks.database import of_url
from benchmarks.driver import wait_assembled
from benchmarks.kill import CONNECTIONS, lost_spans, make_exports, moments, send_and_kill
from benchmarks.traces import Generator
from tests.support.server import Server

# `make bench ARGS=kill` does the same with 50 rounds.
_ROUNDS = int(os.environ.get("EVALVAULT_TEST_KILL_ROUNDS", "4"))


@pytest.mark.timeout(60 + 5 * _ROUNDS)
def test_no_acknowledged_span_is_lost_by_kill_9(db_url: str, serve: Callable[..., Server]) -> None:
    generator = Generator(seed=9)
    database = of_url(db_url)
    acknowledged: list[str] = []
    for moment in moments(_ROUNDS, seed=9):
        # Given a server under load from four connections, over gRPC or HTTP
        server = serve(db_url)
        # When it is killed as soon as so many requests are acknowledged, or a little later
        trace_ids = send_and_kill(server, make_exports(generator, moment.acks + 2 * CONNECTIONS), moment)
        # Then all spans of all acknowledged requests are in the database, before any restart
        assert trace_ids
        assert lost_spans(database, trace_ids) == 0
        acknowledged += trace_ids
    # And after a restart they are still there, and every trace is assembled
    serve(db_url)
    wait_assembled(database)
    assert lost_spans(database, acknowledged) == 0
