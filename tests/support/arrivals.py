"""What a server has of what was sent, read back as a user reads it: through the query API."""

import time
from collections.abc import Iterable, Sequence

import orjson
import requests

from evalvault_otel.model import Span
from evalvault_otel.wire import otlp_json
from tests.support.server import Server
from tests.support.traces import exact

_POLL_S = 0.05
_TIMEOUT_S = 10


def read_back(server: Server, trace_id: str) -> list[Span]:
    """The archived spans of a trace, none if the server does not know it."""
    answer = requests.get(server.url(f"/api/traces/{trace_id}"), {"spans": "true"}, timeout=_TIMEOUT_S)
    if answer.status_code == 404:
        return []
    answer.raise_for_status()
    return otlp_json.decode(orjson.dumps(orjson.loads(answer.content)["spans"])).spans


def assert_arrives(server: Server, sent: Sequence[Span], within_s: float = 20) -> None:
    """Within `within_s` seconds every span of `sent` is stored as it was made, and nothing else is in its traces."""
    deadline = time.monotonic() + within_s
    trace_ids = {item.trace_id for item in sent}
    found: list[Span] = []
    while len(found) < len(sent) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        found = [item for trace_id in trace_ids for item in read_back(server, trace_id)]
    assert _in_order(found) == _in_order(sent)


def _in_order(spans: Iterable[Span]) -> list[str]:
    return sorted(map(exact, spans))


def wait_for_spans(server: Server, number: int, within_s: float = 30) -> int:
    """How many spans the server has counted as stored, as soon as these are `number`, or after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while (stored := spans_counted(server)["stored"]) < number and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return stored


def spans_counted(server: Server) -> dict[str, int]:
    """The server's own count of spans since its start: `stored`, `duplicate`, `rejected`."""
    lines = requests.get(server.url("/metrics"), timeout=_TIMEOUT_S).text.splitlines()
    prefix = 'evalvault_spans_total{outcome="'
    counts = (line.removeprefix(prefix).split('"} ') for line in lines if line.startswith(prefix))
    return {outcome: int(float(number)) for outcome, number in counts}
