"""Every batch sent three times, by several clients at once, over both protocols, to all servers: stored once."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.database import of_url
from benchmarks.driver import wait_assembled
from evalvault_otel.model import Span
from tests.support.clients import body_of, post, trace_of
from tests.support.derived import derived_rows, repeated_keys
from tests.support.figures import figure, spans_counted
from tests.support.sending import Request, at_once, dealt, in_pieces, send
from tests.support.server import Server
from tests.support.traces import golden_names, golden_spans, in_trace, new_trace_id

SOON = {"EVALVAULT_QUIET_MS": "200"}
COPIES = 3


@pytest.fixture
def servers(db_url: str, serve: Callable[..., Server]) -> list[Server]:
    """All that can share a database: one server over a file; over PostgreSQL a plain one and one with two workers."""
    if db_url.startswith("sqlite"):
        return [serve(db_url, env=SOON)]
    return [serve(db_url, env=SOON), serve(db_url, "--workers", "2", env=SOON)]


def test_every_batch_sent_three_times_at_once_is_stored_once(db_url: str, servers: list[Server]) -> None:
    rng = random.Random(6)  # noqa: S311 - reproducible, no secret
    database = of_url(db_url)
    whole = {name: new_trace_id() for name in golden_names()}
    send(servers[0], [in_trace(golden_spans(name), trace_id) for name, trace_id in whole.items()], over_grpc=False)
    stored_before = database.counts().spans
    # Given batches that each hold parts of some traces, some of them whole traces
    copies = [(name, new_trace_id()) for name in golden_names() for _ in range(4)]
    traces = [in_trace(golden_spans(name), trace_id) for name, trace_id in copies]
    batches = _mixed(rng, traces[1::2]) + [trace_of() for _ in range(10)] + traces[::2]
    distinct = sum(map(len, batches))

    # When three clients per server and protocol send them all, each in its own order
    ways = [(server, over_grpc) for server in servers for over_grpc in (True, False)]
    lots = [(*way, lot) for _ in range(COPIES) for way, lot in zip(ways, dealt(rng, batches, len(ways)), strict=True)]
    at_once(lots)
    wait_assembled(database)

    # Then each span is stored once, and counted once as stored and twice as a duplicate
    assert database.counts().spans == stored_before + distinct
    counted = [spans_counted(server) for server in servers]
    assert sum(stored for stored, _ in counted) == stored_before + distinct
    assert sum(duplicate for _, duplicate in counted) == (COPIES - 1) * distinct
    assert sum(figure(server, "evalvault_span_conflicts_total") for server in servers) == 0
    assert database.query("SELECT count(*) FROM reject") == [(0,)]
    # And stages are those of a trace that came once
    expected = {name: derived_rows(database, trace_id) for name, trace_id in whole.items()}
    assert [name for name, trace_id in copies if derived_rows(database, trace_id) != expected[name]] == []
    assert repeated_keys(database) == []


def _mixed(rng: random.Random, traces: list[list[Span]]) -> list[Request]:
    """Requests with pieces of two traces each."""
    pieces = [piece for spans in traces for piece in in_pieces(rng, spans)]
    rng.shuffle(pieces)
    paired = [first + second for first, second in zip(pieces[::2], pieces[1::2], strict=False)]
    return paired + (pieces[-1:] if len(pieces) % 2 else [])


def test_of_spans_that_share_an_id_one_stays_whole_and_the_rest_are_conflicts(
    db_url: str, servers: list[Server]
) -> None:
    # Given four versions of the same trace, each different in every span
    trace_id = new_trace_id()
    versions = [[replace(item, name=f"version {n}") for item in trace_of(trace_id)] for n in range(4)]

    # When all come at once, from clients that each send their version three times
    at_once([(servers[n % len(servers)], n < 2, [version] * COPIES) for n, version in enumerate(versions)])

    # Then one of them is stored; every other span is a duplicate, and the others are told of as conflicts
    database = of_url(db_url)
    wait_assembled(database)
    ((won, count),) = database.query("SELECT name, count(*) FROM span GROUP BY name")
    assert (won[:8], count) == ("version ", 3)
    assert sum(spans_counted(server)[0] for server in servers) == 3
    assert sum(spans_counted(server)[1] for server in servers) == 3 * (4 * COPIES - 1)
    # Copies that share a transaction are compared with each other first, so a version counts once or more.
    conflicts = sum(figure(server, "evalvault_span_conflicts_total") for server in servers)
    assert 3 * 3 <= conflicts <= 3 * (4 * COPIES - 1)
    # And the winner's repetitions change nothing
    before = derived_rows(database, trace_id)
    assert post(servers[0].http, body_of([replace(item, name=won) for item in trace_of(trace_id)])).status_code == 200
    assert derived_rows(database, trace_id) == before
