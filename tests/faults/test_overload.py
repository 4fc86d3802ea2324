"""Five times as much as the server can take: it stays small, refuses politely, and keeps what it accepted."""

import os
import time
from collections.abc import Callable

import pytest

from benchmarks.database import of_url
from benchmarks.driver import latencies
from benchmarks.overload import ACK_TIMEOUT_S, RSS_MB, storm
from tests.support.clients import body_of, post, trace_of
from tests.support.server import Server

# `make bench ARGS=overload` does the same for 60 s, on PostgreSQL.
_SECONDS = float(os.environ.get("EVALVAULT_TEST_OVERLOAD_S", "6"))
_MAXIMUM_S = 2.0
# Beside the timeout, what it takes to answer on a machine that is fully busy.
_MARGIN_S = 1.0


@pytest.mark.timeout(90 + 2 * _SECONDS)
def test_five_times_the_capacity(db_url: str, serve: Callable[..., Server]) -> None:
    # Given a server, and how much it can take
    server, database = serve(db_url), of_url(db_url)
    # When clients that never slow down offer five times as much, over gRPC and HTTP
    found = storm(server, database, _MAXIMUM_S, _SECONDS)
    sent = found.sent
    print(  # noqa: T201 - the figures of the test
        f"{len(sent.answers_ms)} exports accepted, {sent.refused} refused, {found.lost} lost, "
        f"RSS {found.rss_mb:.0f} MB, {sent.rate:.0f} spans/s beside {found.maximum:.0f}; {latencies(sent.answers_ms)}"
    )
    # Then it does refuse, always with a time to come back, over both transports
    assert {refusal.split(":")[0] for refusal in sent.refusals} == {"UNAVAILABLE", "HTTP 503"}
    assert sent.unhinted == 0
    # And memory, and the time that an accepted request takes, stay bounded
    assert found.rss_mb <= RSS_MB
    assert max(sent.answers_ms) <= 1000 * (ACK_TIMEOUT_S + _MARGIN_S)
    # And throughput does not collapse, and all that was acknowledged is stored
    assert sent.rate >= found.maximum / 2
    assert sent.stamps
    assert found.lost == 0
    # And afterwards it answers as fast as ever
    started = time.perf_counter()
    assert post(server.http, body_of(trace_of())).status_code == 200
    assert time.perf_counter() - started < 1
