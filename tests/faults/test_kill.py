"""Acknowledged means durable: `kill -9` at the moment of an acknowledgement loses no acknowledged span."""

from collections.abc import Callable

from benchmarks.database import of_url
from benchmarks.driver import wait_assembled
from benchmarks.kill import CONNECTIONS, lost_spans, make_exports, send_and_kill
from benchmarks.traces import Generator
from tests.support.server import Server


def test_no_acknowledged_span_is_lost_by_kill_9(db_url: str, serve: Callable[..., Server]) -> None:
    generator = Generator(seed=9)
    database = of_url(db_url)
    acknowledged: list[str] = []
    for acks in (1, 2, 5):
        # Given a server under load from four connections
        server = serve(db_url)
        # When it is killed as soon as so many requests are acknowledged
        trace_ids = send_and_kill(server, make_exports(generator, acks + CONNECTIONS), acks)
        # Then all spans of all acknowledged requests are in the database, before any restart
        assert trace_ids
        assert lost_spans(database, trace_ids) == 0
        acknowledged += trace_ids
    # And after a restart they are still there, and every trace is assembled
    serve(db_url)
    wait_assembled(database)
    assert lost_spans(database, acknowledged) == 0
