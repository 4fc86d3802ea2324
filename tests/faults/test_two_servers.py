"""Two servers on two sets of ports over one database are one: whoever gets which span, in whatever order.

One of them has two workers, so there are three receivers and three assemblers.
"""

import random
from collections.abc import Callable

from benchmarks.database import of_url
from benchmarks.driver import wait_assembled
from tests.support.derived import derived_rows, repeated_keys
from tests.support.figures import spans_counted
from tests.support.sending import at_once, dealt, in_pieces, send
from tests.support.server import Server
from tests.support.traces import golden_names, golden_spans, in_trace, new_trace_id

SOON = {"EVALVAULT_QUIET_MS": "200"}


def test_whichever_server_gets_which_span_the_stages_are_the_same(
    postgres_url: str, serve: Callable[..., Server]
) -> None:
    rng = random.Random(3)  # noqa: S311 - reproducible, no secret
    servers = [serve(postgres_url, env=SOON), serve(postgres_url, "--workers", "2", env=SOON)]
    database = of_url(postgres_url)
    # Given every golden trace sent whole to one server
    whole = {name: new_trace_id() for name in golden_names()}
    send(servers[0], [in_trace(golden_spans(name), trace_id) for name, trace_id in whole.items()], over_grpc=True)

    # When many copies of each come in pieces, in any order, spread over both servers and both protocols
    copies = [(name, new_trace_id()) for name in golden_names() for _ in range(6)]
    pieces = [piece for name, trace_id in copies for piece in in_pieces(rng, in_trace(golden_spans(name), trace_id))]
    ways = [(server, over_grpc) for server in servers for over_grpc in (True, False)]
    at_once([(*way, lot) for way, lot in zip(ways, dealt(rng, pieces, len(ways)), strict=True)])
    wait_assembled(database)

    # Then each copy has become what the whole one is, on either server, and every span is counted once
    expected = {name: derived_rows(database, trace_id) for name, trace_id in whole.items()}
    assert all(rows["stage_event"] for rows in expected.values())
    assert [name for name, trace_id in copies if derived_rows(database, trace_id) != expected[name]] == []
    assert repeated_keys(database) == []
    sent = 7 * sum(len(golden_spans(name)) for name in golden_names())
    counted = [spans_counted(server) for server in servers]
    assert (sum(stored for stored, _ in counted), sum(duplicate for _, duplicate in counted)) == (sent, 0)
    assert database.counts().spans == sent


def test_one_server_goes_and_the_other_assembles_what_it_left(postgres_url: str, serve: Callable[..., Server]) -> None:
    # Given a server that has taken parts of traces and is killed before they are due
    leaving, staying = serve(postgres_url, env={"EVALVAULT_QUIET_MS": "1500"}), serve(postgres_url, env=SOON)
    copies = [new_trace_id() for _ in range(10)]
    send(leaving, [in_trace(golden_spans("native"), trace_id)[1:] for trace_id in copies], over_grpc=True)
    database = of_url(postgres_url)
    assert database.counts().unassembled == len(copies)
    leaving.kill()

    # When the rest goes to the other one
    rest = [in_trace(golden_spans("native"), trace_id)[:1] for trace_id in copies]
    send(staying, [*rest, in_trace(golden_spans("native"), whole := new_trace_id())], over_grpc=False)
    wait_assembled(database)

    # Then all is as if there had been one
    assert all(derived_rows(database, trace_id) == derived_rows(database, whole) for trace_id in copies)
