"""A reader of the live stream: server-sent events over plain HTTP, as a browser's EventSource reads them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import requests

from tests.support.server import Server


@dataclass(frozen=True, slots=True)
class Told:
    """One event; `id` is the last one that was given, as a browser keeps it."""

    kind: str
    id: str | None
    data: Any


def told(server: Server, last_event_id: str = "", **params: str) -> Iterator[Told]:
    """The events of a stream from the moment that it is open; it ends with the stream."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    answer = requests.get(server.url("/api/stream"), params, headers=headers, stream=True, timeout=20)
    assert answer.status_code == 200, answer.text
    return _events(answer)


def _events(answer: requests.Response) -> Iterator[Told]:
    last, fields = None, dict[str, str]()
    with answer:
        for line in answer.iter_lines(chunk_size=1):
            name, _, value = line.decode().partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                last = fields.get("id", last)
                yield Told(fields["event"], last, orjson.loads(fields["data"]))
                fields = {}
