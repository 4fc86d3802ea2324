"""Traces on their way to several servers at once: cut into requests, dealt out, sent side by side."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.client import Connection
from evalvault_otel.model import Span
from tests.support.clients import body_of, post
from tests.support.server import Server

Request = list[Span]


def send(server: Server, requests: Sequence[Request], *, over_grpc: bool) -> None:
    """Send some requests, one after the other; each is acknowledged."""
    if over_grpc:
        with Connection(server.grpc) as connection:
            for spans in requests:
                connection.export(body_of(spans))
    else:
        for spans in requests:
            assert post(server.http, body_of(spans)).status_code == 200


def at_once(lots: Sequence[tuple[Server, bool, Sequence[Request]]]) -> None:
    """Send lots of requests side by side."""
    with ThreadPoolExecutor(len(lots)) as pool:
        for done in [pool.submit(send, server, requests, over_grpc=grpc) for server, grpc, requests in lots]:
            done.result(60)


def in_pieces(rng: random.Random, spans: list[Span]) -> list[Request]:
    """The spans in any order, cut into requests."""
    order = rng.sample(spans, len(spans))
    cuts = sorted(rng.sample(range(1, len(order)), min(3, len(order) - 1)))
    return [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


def dealt(rng: random.Random, requests: Sequence[Request], hands: int) -> list[list[Request]]:
    """The requests dealt out to several senders by chance."""
    lots: list[list[Request]] = [[] for _ in range(hands)]
    for request in rng.sample(list(requests), len(requests)):
        rng.choice(lots).append(request)
    return lots
