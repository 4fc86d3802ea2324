"""`serve --workers`: several processes behind the same addresses are one server, whatever happens to one of them."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from benchmarks.client import Connection, Refused
from benchmarks.database import of_url
from evalvault_otel.model import Span
from evalvault_otel.settings import split_address
from tests.support.clients import body_of, post, trace_of
from tests.support.figures import figures, spans_counted
from tests.support.server import Server

TWO = ("--workers", "2")
EACH = 3  # spans of a trace


def workers(server: Server) -> list[psutil.Process]:
    """The processes that do the work."""
    return psutil.Process(server.process.pid).children()


def connected(worker: psutil.Process, address: str) -> int:
    """How many clients of an address a worker talks to."""
    port = split_address(address)[1]
    found = worker.net_connections("tcp")
    return sum(item.status == psutil.CONN_ESTABLISHED and item.laddr.port == port for item in found)


def until(true: Callable[[], object], patience_s: float = 10.0) -> None:
    """Return when something has become true."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# One server.


def test_workers_share_the_work_and_their_figures_are_one(postgres_url: str, serve: Callable[..., Server]) -> None:
    server = serve(postgres_url, *TWO)
    traces = [trace_of() for _ in range(40)]
    with ExitStack() as stack:
        # Given twelve connections to each receiver
        over_grpc = [stack.enter_context(Connection(server.grpc)) for _ in range(12)]
        over_http = [stack.enter_context(requests.Session()) for _ in range(12)]
        headers = {"Content-Type": "application/x-protobuf"}
        # When every trace is sent twice, each time over another connection
        for number, spans in enumerate(traces):
            over_grpc[number % 12].export(body_of(spans))
            url = f"http://{server.http}/v1/traces"
            assert over_http[number % 12].post(url, body_of(spans), headers=headers).status_code == 200
        # Then every worker has had its share
        assert [connected(worker, server.grpc) > 0 for worker in workers(server)] == [True, True]
        assert [connected(worker, server.http) > 0 for worker in workers(server)] == [True, True]

    # And whichever worker is asked, sent = stored + duplicates, as in the database
    sent = 2 * EACH * len(traces)
    for _ in range(6):
        assert spans_counted(server) == (sent / 2, sent / 2)
    assert of_url(postgres_url).counts().spans == sent / 2
    found = figures(server)
    assert sum(value for (name, _), value in found.items() if name == "evalvault_requests_total") == 80
    assert found["evalvault_waiting_bytes", ()] == 0
    # A figure of one worker alone would carry a label that says which.
    assert {label for _, labels in found for label, _ in labels}.isdisjoint({"pid"})


def test_the_supervisor_is_small(postgres_url: str, serve: Callable[..., Server]) -> None:
    server = serve(postgres_url, *TWO)
    loaded = {Path(item.path).name for item in psutil.Process(server.process.pid).memory_maps()}

    assert not [name for name in loaded if name.startswith(("cygrpc", "_psycopg", "pydantic_core"))]
    assert psutil.Process(server.process.pid).memory_info().rss < 70e6


# Death of a worker.


@dataclass(slots=True)
class Stubborn:
    """Sends one trace after the other over fresh connections, each until it is acknowledged."""

    server: Server
    over_grpc: bool
    acknowledged: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            spans = trace_of()
            while not self._sent(spans):
                assert not self.stop.is_set()
                time.sleep(0.02)
            self.acknowledged.append(spans[0].trace_id)

    def _sent(self, spans: list[Span]) -> bool:
        try:
            if self.over_grpc:
                with Connection(self.server.grpc) as connection:
                    connection.export(body_of(spans))
            else:
                post(self.server.http, body_of(spans)).raise_for_status()
        except (requests.RequestException, Refused) as exc:
            self.refused[f"{type(exc).__name__} {exc}"[:60]] += 1
            return False
        return True


@contextmanager
def under_load(server: Server, clients: int = 4) -> Iterator[list[Stubborn]]:
    """Clients at work, half of them over gRPC; at the end all have their last acknowledgement."""
    senders = [Stubborn(server, number % 2 == 0) for number in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        sending = [pool.submit(sender.run) for sender in senders]
        try:
            yield senders
        finally:
            for sender in senders:
                sender.stop.set()
        for done in sending:
            done.result(30)


def acknowledged_by(senders: list[Stubborn]) -> int:
    """How many traces are acknowledged so far."""
    return sum(len(sender.acknowledged) for sender in senders)


def test_a_killed_worker_is_replaced_and_nothing_acknowledged_is_lost(
    postgres_url: str, serve: Callable[..., Server]
) -> None:
    server = serve(postgres_url, *TWO)
    killed = []
    with under_load(server) as senders:
        # When one worker after the other is killed, the first of them again as soon as it is back
        for turn in range(4):
            time.sleep(0.3)
            victim = workers(server)[turn % 2]
            victim.kill()
            killed.append(victim.pid)
            until(lambda: len([worker for worker in workers(server) if worker.pid not in killed]) == 2)
            # Then the others go on meanwhile
            enough = acknowledged_by(senders) + 6
            while acknowledged_by(senders) < enough:
                time.sleep(0.02)
        until(lambda: server.log.count("ended: SIGKILL") == 4)

    # And everything acknowledged is stored, once
    acknowledged = [trace_id for sender in senders for trace_id in sender.acknowledged]
    database = of_url(postgres_url)
    assert database.spans_of(acknowledged) == EACH * len(acknowledged)
    assert database.query("SELECT trace_id FROM trace WHERE span_count <> 3") == []
    assert database.query("SELECT trace_id FROM stage_event GROUP BY trace_id HAVING count(*) <> 2") == []
    # And figures go on where the dead left them; what was committed and not yet counted may be missing, no more
    stored, _ = spans_counted(server)
    assert EACH * (len(acknowledged) - 4 * len(senders)) <= stored <= database.counts().spans
    assert server.process.poll() is None
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_workers_that_die_at_once_are_replaced_ever_more_slowly(
    postgres_url: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(postgres_url, *TWO, env={"TMPDIR": str(tmp_path)})
    seen = {worker.pid for worker in workers(server)}
    workers(server)[0].kill()
    for _ in range(3):
        until(lambda: {worker.pid for worker in workers(server)} - seen)
        (fresh,) = [worker for worker in workers(server) if worker.pid not in seen]
        seen.add(fresh.pid)
        fresh.kill()
    until(lambda: server.log.count("ended") == 4)

    assert re.findall(r"the next one starts in (\S+) s", server.log) == ["0.1", "0.2", "0.4", "0.8"]
    # Their figures are kept by worker, not by process, or they would fill the disk
    kept = [path.stem.rpartition("_")[2] for path in tmp_path.glob("evalvault-figures*/*.db")]
    assert set(kept) == {"1", "2"}
    assert server.stop() == 0


# The end.


@contextmanager
def stuck(server: Server, db: str, clients: int = 12) -> Iterator[list[Future[requests.Response]]]:
    """Requests under way at all workers, which wait for a lock that is held until the end of the block."""
    with ThreadPoolExecutor(clients) as pool, psycopg.connect(db) as connection:
        connection.execute("LOCK TABLE span IN ACCESS EXCLUSIVE MODE")
        answers = [pool.submit(post, server.http, body_of(trace_of())) for _ in range(clients)]
        until(lambda: figures(server)["evalvault_waiting_bytes", ()] >= clients * 4096)
        assert [connected(worker, server.http) > 0 for worker in workers(server)] == [True, True]
        yield answers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_drains_every_worker(
    postgres_url: str, serve: Callable[..., Server], number: signal.Signals, tmp_path: Path
) -> None:
    server = serve(postgres_url, *TWO, env={"TMPDIR": str(tmp_path)})
    with stuck(server, postgres_url) as answers:
        # Given a stop, which reaches the workers more than once (a terminal, systemd)
        server.process.send_signal(number)
        time.sleep(0.3)
        for worker in workers(server):
            worker.send_signal(number)
        time.sleep(0.2)
        assert not [answer for answer in answers if answer.done()]
    # Then all requests under way are answered, and all processes are gone
    assert [answer.result(15).status_code for answer in answers] == [200] * len(answers)
    assert server.process.wait(10) == 0
    assert of_url(postgres_url).counts().spans == EACH * len(answers)
    assert list(tmp_path.glob("evalvault-figures*")) == []
    assert "Traceback" not in server.log


def test_a_worker_that_does_not_end_is_killed(postgres_url: str, serve: Callable[..., Server]) -> None:
    server = serve(postgres_url, *TWO, "--shutdown-s", "0.5")
    stopped = workers(server)[0]
    stopped.suspend()
    started = time.monotonic()
    assert server.stop() == 1
    assert time.monotonic() - started < 6
    assert "did not end in time and is killed" in server.log
    assert not stopped.is_running()


def test_a_second_signal_ends_everything_at_once(
    postgres_url: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(postgres_url, *TWO, env={"TMPDIR": str(tmp_path)})
    family = workers(server)
    with stuck(server, postgres_url) as answers:
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(5) == -signal.SIGTERM
        assert psutil.wait_procs(family, 5)[1] == []
    assert [type(answer.exception()).__name__ for answer in answers] == ["ConnectionError"] * len(answers)
    assert list(tmp_path.glob("evalvault-figures*")) == []


def test_without_their_supervisor_workers_finish_and_go(
    postgres_url: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(postgres_url, *TWO, env={"TMPDIR": str(tmp_path)})
    family = workers(server)
    assert len(list(tmp_path.glob("evalvault-figures*"))) == 1
    with stuck(server, postgres_url) as answers:
        server.kill()
    # Then what was under way is stored and answered, nobody is left, and the addresses are free
    assert [answer.result(15).status_code for answer in answers] == [200] * len(answers)
    assert psutil.wait_procs(family, 10)[1] == []
    for address in (server.grpc, server.http, server.api):
        with closing(socket.socket()) as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(split_address(address))
    assert list(tmp_path.glob("evalvault-figures*")) == []


# Refusals at the start.


def _refused(*options: str) -> str:
    """The one line of a `serve` that does not start."""
    command = [sys.executable, "-m", "evalvault_otel", "serve"]
    free = [word for name in ("--grpc", "--http", "--api") for word in (name, "127.0.0.1:0")]
    ended = subprocess.run([*command, *free, *options], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    return line


def test_a_file_cannot_be_shared(tmp_path: Path) -> None:
    line = _refused(*TWO, "--db", str(tmp_path / "test.db"))

    assert "--workers 2 needs PostgreSQL" in line
    assert "--db postgresql://user@host/database, or --workers 1" in line
    assert list(tmp_path.iterdir()) == []


def test_an_address_is_shared_with_nobody_else(postgres_url: str, serve: Callable[..., Server]) -> None:
    server = serve(postgres_url, *TWO)

    for name, address in (("grpc", server.grpc), ("http", server.http), ("api", server.api)):
        assert f"cannot listen on {address}" in _refused(*TWO, "--db", postgres_url, f"--{name}", address)
    assert f"cannot listen on {server.grpc}" in _refused("--db", postgres_url, "--grpc", server.grpc)
    with closing(socket.socket()) as asked:
        asked.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{asked.getsockname()[1]}"
    line = _refused(*TWO, "--db", postgres_url, "--grpc", address, "--http", address)
    assert "the address is used twice" in line


def test_what_keeps_workers_from_starting_is_said_once(postgres_url: str, tmp_path: Path) -> None:
    line = _refused(*TWO, "--db", postgres_url, "--api-keys-file", str(tmp_path / "none"))

    assert line.startswith("error: worker ")
    assert str(tmp_path / "none") in line
