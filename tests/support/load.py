"""Clients that send all the time, and what became of what they sent, looked up without the product."""

import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import requests

from benchmarks.database import of_url
from tests.support.clients import body_of, trace_of
from tests.support.server import Server

SPANS = 3
_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Balance:
    """Traces that were sent, acknowledged and stored (as a whole); acknowledged ones that are not stored are lost."""

    sent: int
    acknowledged: int
    stored: int
    lost: int
    refused: int

    def __str__(self) -> str:
        return (
            f"sent {self.sent}, acknowledged {self.acknowledged}, stored {self.stored}, lost {self.lost} "
            f"({self.refused} times told to come back)"
        )


class Load:
    """Some clients that send small traces, one after the other, each until it is acknowledged.

    `address` may be changed while they send: a client that loses its server tries the same trace again.
    """

    def __init__(self, server: Server, clients: int = 4) -> None:
        self.address = server.http
        self.slowest_s = 0.0
        self.codes: Counter[int] = Counter()
        self._sent: list[str] = []
        self._acknowledged: list[str] = []
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients: list[Future[None]] = []
        self._count = clients

    def __enter__(self) -> Self:
        self._clients = [self._pool.submit(self._run) for _ in range(self._count)]
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    @property
    def acknowledged(self) -> int:
        """How many traces are acknowledged so far."""
        return len(self._acknowledged)

    def wait_for(self, more: int, timeout_s: float = 20) -> None:
        """Return when so many more traces are acknowledged."""
        goal, deadline = self.acknowledged + more, time.monotonic() + timeout_s
        while self.acknowledged < goal:
            assert time.monotonic() < deadline, f"only {self.acknowledged} of {goal} are acknowledged"
            time.sleep(0.02)

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stop.is_set():
                spans = trace_of()
                self._sent.append(spans[0].trace_id)
                if self._send(session, body_of(spans)):
                    self._acknowledged.append(spans[0].trace_id)

    def _send(self, session: requests.Session, body: bytes) -> bool:
        """Whether it was acknowledged before the end."""
        headers = {"Content-Type": "application/x-protobuf"}
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                answer = session.post(f"http://{self.address}/v1/traces", body, headers=headers, timeout=_TIMEOUT_S)
            except requests.ConnectionError:
                self._stop.wait(0.1)
                continue
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            self.codes[answer.status_code] += 1
            if answer.status_code == 200:
                return True
            assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1"), answer.text
            self._stop.wait(0.05)
        return False

    def balance(self, db_url: str) -> Balance:
        """What became of it, counted in the database itself."""
        whole = f"SELECT trace_id FROM span GROUP BY trace_id HAVING count(*) = {SPANS}"  # noqa: S608 - a number
        stored = {trace_id for (trace_id,) in of_url(db_url).query(whole)}
        lost = set(self._acknowledged) - stored
        found = Balance(len(self._sent), len(self._acknowledged), len(stored), len(lost), self.codes[503])
        print(found)  # noqa: T201 - the figures of the test
        return found


def figure(server: Server, name: str) -> float:
    """A figure of `/metrics`."""
    lines = requests.get(server.url("/metrics"), timeout=5).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def wait_replayed(server: Server, timeout_s: float = 30) -> None:
    """Return when the database answers and nothing waits in the spool any more."""
    deadline = time.monotonic() + timeout_s
    while requests.get(server.url("/readyz"), timeout=10).status_code != 200 or figure(server, "evalvault_spool_bytes"):
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)


def assert_all_well(db_url: str) -> None:
    """Every stored trace is whole, assembled once, and nothing is there twice."""
    database = of_url(db_url)
    deadline = time.monotonic() + 15
    while database.counts().unassembled and time.monotonic() < deadline:
        time.sleep(0.1)
    traces = database.counts().traces
    assert database.query(_NOT_WELL) == []
    assert database.query("SELECT count(*), count(DISTINCT trace_id || stage_id) FROM stage_event") == [
        (2 * traces, 2 * traces)
    ]
    assert database.query("SELECT count(*) FROM run_trace") == [(traces,)]


_NOT_WELL = f"""
SELECT t.trace_id, t.span_count, t.dirty, count(s.span_id)
FROM trace AS t LEFT JOIN span AS s ON s.trace_id = t.trace_id
GROUP BY t.trace_id, t.span_count, t.dirty HAVING t.dirty OR t.span_count <> {SPANS} OR count(s.span_id) <> {SPANS}
"""  # noqa: S608 - a number
