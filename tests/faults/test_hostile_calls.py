"""One hostile call must not end the service of the others."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import grpc

from evalvault_otel.settings import split_address
from tests.fuzz.corpus import CORPUS
from tests.support.clients import body_of, call, trace_of
from tests.support.server import Server

_PATH_NOT_UTF_8 = (CORPUS / "http2" / "finding-path-that-is-not-utf-8").read_bytes()
_BACK_S = 3.0


def test_a_call_with_a_path_that_is_no_text_does_not_end_the_grpc_receiver(
    tmp_path: object, serve: Callable[..., Server]
) -> None:
    server = serve(f"sqlite:///{tmp_path}/test.db")
    with ExitStack() as stack:
        for times in (1, 2, 3):
            # When a stranger sends a call after which gRPC's own server gives up, and keeps the connection open
            connection = socket.create_connection(split_address(server.grpc), timeout=5)
            stack.enter_context(closing(connection))
            connection.sendall(_PATH_NOT_UTF_8)
            _wait_until_it_gave_up(server, times)
            # Then others are served again at once, at the same address
            deadline = time.monotonic() + _BACK_S
            while (code := call(server.grpc, body_of(trace_of()))) is not grpc.StatusCode.OK:
                assert code is grpc.StatusCode.UNAVAILABLE
                assert time.monotonic() < deadline
    # And the server stops as ever
    assert server.stop() == 0


def _wait_until_it_gave_up(server: Server, times: int) -> None:
    deadline = time.monotonic() + _BACK_S
    while server.log.count("the gRPC server gave up") < times:
        assert time.monotonic() < deadline
        time.sleep(0.01)
