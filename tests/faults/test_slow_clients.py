"""Clients that are slow, silent, gone or too many cost the server little and its other clients nothing."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import grpc
import psutil
import pytest

from benchmarks.client import Client, connect
from benchmarks.driver import percentile
from evalvault_otel.settings import split_address
from tests.support.clients import EXPORT, body_of, trace_of
from tests.support.http2 import unfinished_call
from tests.support.server import Server

_READ_TIMEOUT_S = 1.0
# Beside the timeout: what a busy machine needs, and the time that a client gains by what it did send.
_MARGIN_S = 2.0
_IDLE = 1000
_RETRY_INFO = "google.rpc.retryinfo-bin"
_HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-protobuf\r\n"
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


@pytest.fixture
def server(tmp_path: object, serve: Callable[..., Server]) -> Server:
    """A server with little patience."""
    return serve(f"sqlite:///{tmp_path}/test.db", env={"EVALVAULT_READ_TIMEOUT_S": str(_READ_TIMEOUT_S)})


def _connection(address: str) -> socket.socket:
    return socket.create_connection(split_address(address), timeout=_READ_TIMEOUT_S + 10)


def _until_closed(connection: socket.socket, drip: bytes) -> tuple[float, bytes]:
    """Send a byte of `drip` every 0.2 s; the seconds until the server closed, and what it said."""
    started = time.monotonic()
    said = b""
    connection.settimeout(0.2)
    rest = iter(drip)
    while time.monotonic() - started < _READ_TIMEOUT_S + _MARGIN_S + 3:
        try:
            part = connection.recv(4096)
            if not part:
                return time.monotonic() - started, said
            said += part
        except TimeoutError:
            pass
        except ConnectionError:
            return time.monotonic() - started, said
        try:
            connection.sendall(bytes((byte,)) if (byte := next(rest, None)) is not None else b"")
        except ConnectionError:
            return time.monotonic() - started, said
    raise AssertionError(f"still open after {time.monotonic() - started:.1f} s; it said {said!r}")


_SLOW = {
    "nothing is sent": (b"", b""),
    "headers that never end": (b"POST /v1/traces HTTP/1.1\r\n", b"X-Slow: " + b"a" * 100),
    "a request line that never ends": (b"", b"POST /" + b"a" * 100),
    "a body that drips": (_HEAD + b"Content-Length: 10000\r\n\r\n", b"\x0a" * 100),
    "a body that stops": (_HEAD + b"Content-Length: 10000\r\n\r\n" + b"\x0a" * 5000, b""),
    "chunks that drip": (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 20),
    "chunks that never end": (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b""),
}


def test_slow_http_clients_are_cut_off(server: Server) -> None:
    # Given one client of each kind, all at the same time
    found: dict[str, tuple[float, bytes]] = {}

    def dribble(name: str, begin: bytes, drip: bytes) -> None:
        with closing(_connection(server.http)) as connection:
            connection.sendall(begin)
            found[name] = _until_closed(connection, drip)

    threads = [threading.Thread(target=dribble, args=(name, *sent)) for name, sent in _SLOW.items()]
    for thread in threads:
        thread.start()
    # When a normal client sends meanwhile
    slowest = _slowest_export(server, "http", 20)
    for thread in threads:
        thread.join()
    # Then each slow one is cut off soon after the timeout, and those that sent their headers are told why
    assert set(found) == set(_SLOW)
    assert all(seconds <= _READ_TIMEOUT_S + _MARGIN_S for seconds, _ in found.values()), found
    bodies = {name: said.split(b"\r\n")[0] for name, (_, said) in found.items() if "body" in name or "chunks" in name}
    assert set(bodies.values()) == {b"HTTP/1.1 408 Request Timeout"}, bodies
    # And the normal one noticed nothing
    assert slowest < 1


def test_a_grpc_client_that_never_sends_its_message_is_cut_off(server: Server) -> None:
    never = threading.Event()

    def silent() -> Iterator[bytes]:
        never.wait(10)
        yield b""

    with grpc.insecure_channel(server.grpc) as channel:
        started = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(EXPORT)(silent(), timeout=10)
        seconds = time.monotonic() - started
        never.set()

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert _RETRY_INFO in dict(caught.value.trailing_metadata())
    assert seconds <= _READ_TIMEOUT_S + _MARGIN_S


# Bytes of a message that come at once; then one every 0.1 s.
@pytest.mark.parametrize("at_once", [0, 3, 500])
def test_a_grpc_message_that_drips_is_cut_off(server: Server, at_once: int) -> None:
    started = time.monotonic()
    answer = unfinished_call(server.grpc, EXPORT, bytes(1000), at_once, 0.1)

    assert time.monotonic() - started <= _READ_TIMEOUT_S + _MARGIN_S
    assert answer.trailers_only
    assert answer.headers["grpc-status"] == str(grpc.StatusCode.UNAVAILABLE.value[0])
    assert _RETRY_INFO in answer.headers
    assert _slowest_export(server, "grpc", 3) < 1


@pytest.mark.parametrize("drip", [b"", _HTTP2[:20]], ids=["nothing", "a preface that drips"])
def test_a_connection_that_never_begins_to_speak_http2_is_closed(server: Server, drip: bytes) -> None:
    with closing(_connection(server.grpc)) as connection:
        seconds, _ = _until_closed(connection, drip)

    assert seconds <= _READ_TIMEOUT_S + _MARGIN_S


def test_clients_that_vanish_leave_nothing_behind(server: Server) -> None:
    process = psutil.Process(server.process.pid)
    _slowest_export(server, "http", 3)
    before = process.num_fds()
    # When many begin a request and reset the connection, over either transport
    for begin in (b"", _HEAD, _HEAD + b"Content-Length: 10000\r\n\r\n" + b"\x0a" * 5000):
        for _ in range(60):
            _reset(server.http, begin)
            _reset(server.grpc, begin and _HTTP2)
    # Then all their connections are gone, and so is the room that they held
    _wait_for_descriptors(process, before)
    assert _slowest_export(server, "http", 3) < 1
    assert _slowest_export(server, "grpc", 3) < 1
    assert "Traceback" not in server.log


def _reset(address: str, begin: bytes) -> None:
    """Begin a request, then go without a word: a reset, not an orderly end."""
    with closing(_connection(address)) as connection:
        connection.sendall(begin)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_client_that_never_reads_costs_no_memory(server: Server) -> None:
    process = psutil.Process(server.process.pid)
    body = body_of(trace_of())
    request = _HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    _exports(server, "http", 20)
    before = process.memory_info().rss
    with ExitStack() as stack:
        deaf = [stack.enter_context(closing(_deaf(server.http))) for _ in range(20)]
        # When they send for as long as the server takes more, and read no answer
        taken = sum(_send_until_full(connection, request) for connection in deaf)
        # Then the server does not take it into its memory, and others are served
        grown = process.memory_info().rss - before
        assert grown < 40e6, f"{grown / 1e6:.0f} MB more for {taken / 1e6:.0f} MB sent"
        assert _slowest_export(server, "http", 5) < 2


def _deaf(address: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    connection.connect(split_address(address))
    connection.settimeout(0.1)
    return connection


def _send_until_full(connection: socket.socket, request: bytes) -> int:
    """Send the same request again and again until nothing is taken any more; bytes sent."""
    sent = 0
    try:
        for _ in range(2000):
            connection.sendall(request * 10)
            sent += 10 * len(request)
    except (TimeoutError, ConnectionError):
        pass
    return sent


def test_a_thousand_idle_connections_slow_nobody_down(tmp_path: object, serve: Callable[..., Server]) -> None:
    # Given a thousand connections of each kind that say nothing any more
    server = serve(f"sqlite:///{tmp_path}/test.db")
    process = psutil.Process(server.process.pid)
    alone = {transport: _usual_export(server, transport) for transport in ("http", "grpc")}
    before, descriptors = process.memory_info().rss, process.num_fds()
    with _idle(server.http, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n") as http, _idle(server.grpc, _HTTP2) as of_grpc:
        # When normal clients send, then they are as fast as without (a server on two shared cores is never exact)
        for transport, seconds in alone.items():
            assert _usual_export(server, transport) < 3 * seconds + 0.1
        # And the connections are there, and cost little
        assert process.num_fds() >= 2 * _IDLE
        assert _open(http) == _open(of_grpc) == _IDLE
        grown = (process.memory_info().rss - before) / 1e6
        assert grown < 200, f"{grown:.0f} MB for {2 * _IDLE} idle connections"
    # And once they are gone, the server has let go of them
    _wait_for_descriptors(process, descriptors)


def _wait_for_descriptors(process: psutil.Process, before: int) -> None:
    """Return when the server holds about as many connections and files as before."""
    deadline = time.monotonic() + _READ_TIMEOUT_S + _MARGIN_S
    while process.num_fds() > before + 5:
        assert time.monotonic() < deadline, f"{process.num_fds()} open, {before} before"
        time.sleep(0.05)


@contextmanager
def _idle(address: str, greeting: bytes) -> Iterator[Sequence[socket.socket]]:
    """A thousand connections that sent one thing and had an answer."""
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(_connection(address))) for _ in range(_IDLE)]
        for connection in connections:
            connection.sendall(greeting)
        for connection in connections:
            assert connection.recv(4096)
        yield connections


def _open(connections: Sequence[socket.socket]) -> int:
    """How many the server has not closed."""
    count = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            while connection.recv(4096):
                pass
        except BlockingIOError:
            count += 1
    return count


def _exports(server: Server, transport: str, count: int) -> list[float]:
    """Seconds that each of some exports of a client of its own took; all are acknowledged."""
    client: Client = connect(server.grpc if transport == "grpc" else server.http, transport, "protobuf")
    with client:
        return [_timed(client, body_of(trace_of())) for _ in range(count)]


def _timed(client: Client, payload: bytes) -> float:
    started = time.perf_counter()
    client.export(payload)
    return time.perf_counter() - started


def _slowest_export(server: Server, transport: str, count: int) -> float:
    return max(_exports(server, transport, count))


def _usual_export(server: Server, transport: str) -> float:
    """What 95 of 100 exports do not exceed."""
    return percentile(_exports(server, transport, 40), 0.95)
