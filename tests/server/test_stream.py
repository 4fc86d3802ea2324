"""The live stream of a running server, read by real clients over real sockets."""

import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.cli.test_cli import evalvault
from tests.support.clients import body_of, post, trace_of
from tests.support.otlp import otlp_document
from tests.support.server import Server, running_server
from tests.support.streams import Told, told
from tests.support.traces import new_trace_id

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite that several tests share: they look at runs of their own."""
    folder = tmp_path_factory.mktemp("stream")
    with running_server(str(folder / "test.db"), folder / "log", "--stream-heartbeat-s", "0.3") as running:
        yield running


def events(server: Server, *stages: dict[str, Any]) -> None:
    """Store StageEvents."""
    body = orjson.dumps({"events": list(stages)})
    assert requests.post(server.url("/api/stage/events"), body, timeout=20).status_code == 200


def until_trace(stream: Iterator[Told]) -> list[Told]:
    """Events without signs of life, to the end of the next trace."""
    found = []
    for event in stream:
        if event.kind != "heartbeat":
            found.append(event)
        if event.kind == "trace":
            return found
    raise AssertionError(f"the stream ended after {found}")


def all_there_is(server: Server, **params: str) -> list[Told]:
    """What a stream tells that ends when all is told."""
    return [event for event in told(server, follow="false", **params) if event.kind != "heartbeat"]


def socket_url(server: Server, path: str = "") -> str:
    return f"ws://{server.api}/api/stream/ws{path}"


def test_stages_come_as_they_are_stored_and_as_the_api_shows_them(server: Server) -> None:
    stream = told(server)
    assert next(stream).kind == "heartbeat"

    events(server, {"run_id": "r1", "stage_type": "retrieval", "stage_id": "s1", "attributes": {"doc_ids": ["a"]}})
    stage, run, trace = until_trace(stream)

    shown = requests.get(server.url("/api/stage/events/r1"), timeout=20).json()["events"]
    assert (stage.kind, [stage.data]) == ("stage", shown)
    assert (run.kind, run.data["run_id"]) == ("run", "r1")
    assert (trace.kind, trace.data["run_id"], trace.data["stages"]) == ("trace", "r1", 1)
    assert trace.data["assemblies"] >= 1
    assert trace.id is not None
    assert trace.id.endswith(trace.data["trace_id"])


def test_the_web_socket_says_the_same(plain: Server) -> None:
    server = plain
    with connect(socket_url(server)) as web_socket:
        first = orjson.loads(web_socket.recv(timeout=10))
        events(server, {"run_id": "r1", "stage_type": "retrieval"}, {"run_id": "r1", "stage_type": "output"})
        said = [orjson.loads(web_socket.recv(timeout=10)) for _ in range(4)]

    assert (first["event"], set(first)) == ("heartbeat", {"event", "id", "data"})
    assert [(message["event"], message["id"] is None) for message in said] == [
        ("stage", True),
        ("stage", True),
        ("run", True),
        ("trace", False),
    ]
    assert [message["data"] for message in said] == [event.data for event in all_there_is(server, after=first["id"])]


def test_a_late_span_tells_the_trace_again(server: Server) -> None:
    spans = trace_of()
    stream = told(server, events="trace")
    next(stream)
    post(server.http, body_of(spans[:2]))
    (before,) = until_trace(stream)

    post(server.http, body_of(spans[2:]))
    (after,) = until_trace(stream)

    assert before.data["trace_id"] == after.data["trace_id"]
    assert after.data["assemblies"] > before.data["assemblies"]
    assert after.data["stages"] > before.data["stages"]


def test_filters(plain: Server) -> None:
    server, before = plain, next(told(plain)).id
    assert before
    events(
        server,
        {"run_id": "f1", "stage_type": "retrieval", "stage_id": "a"},
        {"run_id": "f1", "stage_type": "output", "stage_id": "b", "status": "error"},
        {"run_id": "f2", "stage_type": "retrieval", "stage_id": "c"},
    )
    post(server.http, body_of(trace_of()))

    def names(**params: str) -> list[str]:
        found = all_there_is(server, after=before, **params)
        return sorted(event.data.get("stage_id") or event.data["run_id"] for event in found)

    deadline = time.monotonic() + 15
    while len(names(run_id="f1")) < 4 and time.monotonic() < deadline:  # a trace is told when it is assembled
        time.sleep(0.05)
    assert names(run_id="f1") == ["a", "b", "f1", "f1"]
    assert names(run_id="f1", events="stage") == ["a", "b"]
    assert names(run_id="f1", events="run") == ["f1"]
    assert names(events="stage", status="error") == ["b"]
    assert names(events="stage", stage_type="retrieval", service="stage-events") == ["a", "c"]
    assert names(service="nobody") == []
    # Each answer says how far it read, whatever it told.
    assert all(event.id for event in all_there_is(server, after=before, events="stage", status="error"))
    for params in ({"events": "stages"}, {"after": "yesterday"}, {"follow": "perhaps"}):
        answer = requests.get(server.url("/api/stream"), params, timeout=20)
        assert (answer.status_code, answer.json()["error"]) == (422, "Invalid parameter")


def test_who_reads_on_behind_an_id_gets_each_trace_once(server: Server) -> None:
    trace_ids = [new_trace_id() for _ in range(120)]
    for trace_id in trace_ids:
        post(server.http, body_of(trace_of(trace_id)))

    seen: list[str] = []
    after: str | None = "0"
    while after:
        # A reader that is cut off again and again, each time after 11 traces.
        stream = told(server, follow="false", events="trace,stage", last_event_id=after, after="0")
        traces = list(islice((event for event in stream if event.kind == "trace"), 11))
        seen += [event.data["trace_id"] for event in traces]
        after = traces[-1].id if traces else None

    assert sorted(seen) == sorted(trace_ids)


def test_an_id_of_another_database_is_answered_with_a_reset(plain: Server) -> None:
    (event,) = all_there_is(plain, after=str(2**62))

    assert event.kind == "reset"
    assert "restored" in event.data["reason"]


def test_a_quiet_stream_gives_signs_of_life(plain: Server) -> None:
    assert [event.kind for event in islice(told(plain, run_id="nobody's"), 4)] == ["heartbeat"] * 4


def test_all_servers_on_one_database_tell_everything(serve: Serve, postgres_url: str) -> None:
    servers = [serve(postgres_url), serve(postgres_url)]
    streams = [told(server, events="trace") for server in servers]
    for stream in streams:
        next(stream)
    trace_ids = [new_trace_id() for _ in range(40)]
    for number, trace_id in enumerate(trace_ids):
        post(servers[number % 2].http, body_of(trace_of(trace_id)))

    for stream in streams:
        found = [until_trace(stream)[0].data["trace_id"] for _ in trace_ids]
        assert sorted(found) == sorted(trace_ids)


def test_an_import_by_another_process_is_told(plain: Server, tmp_path: Path) -> None:
    server, spans = plain, trace_of()
    (tmp_path / "traces.jsonl").write_bytes(orjson.dumps(otlp_document(spans)))
    stream = told(server, events="trace")
    next(stream)

    said = evalvault("import", str(tmp_path / "traces.jsonl"), "--db", server.db)

    assert said.returncode == 0, said.stderr
    assert until_trace(stream)[0].data["trace_id"] == spans[0].trace_id


_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n"


def _silent_reader(server: Server, *, web_socket: bool) -> socket.socket:
    """A client that asks for everything there is and takes nothing of it."""
    path, upgrade = ("/ws", _UPGRADE.format(b64encode(b"k" * 16).decode())) if web_socket else ("", "")
    host, port = server.api.split(":")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((host, int(port)))
    reader.sendall(f"GET /api/stream{path}?after=0 HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode())
    return reader


def test_readers_that_take_nothing_hold_up_neither_ingest_nor_others_nor_a_stop(serve: Serve, db_url: str) -> None:
    server = serve(db_url)
    large = {"run_id": "r1", "stage_type": "retrieval", "attributes": {"text": "x" * 20_000}}
    for number in range(5):
        events(server, *({**large, "trace_id": f"{number:016x}{index:016x}"} for index in range(1, 41)))
    silent = [_silent_reader(server, web_socket=number % 2 == 0) for number in range(8)]
    stream = told(server, run_id="r2", events="trace")
    next(stream)
    time.sleep(1)

    began = time.monotonic()
    for number in range(20):
        events(server, {"run_id": "r2", "stage_type": "output", "trace_id": f"{number + 1:032x}"})
    for _ in range(20):
        until_trace(stream)
    assert time.monotonic() - began < 10

    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 4
    assert server.log.count("\n") == 1, "nothing but the addresses is worth a line"
    for reader in silent:
        reader.close()


def test_a_stop_ends_streams_at_once(serve: Serve, tmp_path: Path) -> None:
    server = serve(str(tmp_path / "test.db"))
    stream = told(server)
    next(stream)
    with connect(socket_url(server)) as web_socket:
        web_socket.recv(timeout=10)

        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 3

        assert list(stream) == []
        with pytest.raises(ConnectionClosed):
            web_socket.recv(timeout=5)
        assert web_socket.protocol.close_code == 1012


def test_readers_are_counted(serve: Serve, tmp_path: Path) -> None:
    server = serve(str(tmp_path / "test.db"), "--max-streams", "2")
    answers = [requests.get(server.url("/api/stream"), stream=True, timeout=20) for _ in range(2)]

    refused = requests.get(server.url("/api/stream"), timeout=20)
    assert (refused.status_code, refused.json()["error"]) == (503, "Too many readers")
    assert refused.headers["Retry-After"] == "1"
    with pytest.raises(InvalidStatus) as raised, connect(socket_url(server)):
        pass
    assert raised.value.response.status_code == 503

    for answer in answers:
        answer.close()
    deadline = time.monotonic() + 10
    while requests.get(server.url("/api/stream"), {"follow": "false"}, timeout=20).status_code == 503:
        assert time.monotonic() < deadline, "the place is still taken"
        time.sleep(0.05)


def test_only_readers_of_this_server_get_a_stream(serve: Serve, tmp_path: Path) -> None:
    keys = {"EVALVAULT_API_KEYS": "read:key-r,ingest:key-i", "EVALVAULT_CORS_ORIGINS": "https://friend.example"}
    server = serve(str(tmp_path / "test.db"), env=keys)

    def by_http(**headers: str) -> int:
        params = {"follow": "false"}
        return requests.get(server.url("/api/stream"), params, headers=headers, timeout=20).status_code

    def by_socket(origin: str | None = None, **headers: str) -> int:
        try:
            with connect(socket_url(server), origin=origin, additional_headers=headers) as web_socket:  # type: ignore[arg-type]  # NewType of str
                web_socket.recv(timeout=10)
        except InvalidStatus as exc:
            return exc.response.status_code
        return 200

    for ask in (by_http, by_socket):
        assert [ask(), ask(**{"x-api-key": "key-i"}), ask(**{"x-api-key": "key-r"})] == [401, 403, 200]
        assert ask(Authorization="Bearer key-r") == 200
    assert server.log.count("\n") == 1, "whoever is refused writes no lines into the log"
    own, friend, stranger = f"http://{server.api}", "https://friend.example", "https://stranger.example"
    assert [by_socket(origin, **{"x-api-key": "key-r"}) for origin in (own, friend, stranger)] == [200, 200, 403]


def test_a_silent_web_socket_outlives_the_patience_for_requests(serve: Serve, tmp_path: Path) -> None:
    server = serve(str(tmp_path / "test.db"), "--read-timeout-s", "0.3")
    with connect(socket_url(server)) as web_socket:
        web_socket.recv(timeout=10)
        time.sleep(1)
        events(server, {"run_id": "r1", "stage_type": "output"})
        assert orjson.loads(web_socket.recv(timeout=10))["event"] == "stage"


def test_who_asks_for_the_web_socket_otherwise_is_told(plain: Server) -> None:
    answer = requests.get(plain.url("/api/stream/ws"), timeout=20)

    assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
    assert "GET /api/stream" in answer.json()["details"]
