"""A gRPC call on bare HTTP/2: shows which frames an answer is made of, which gRPC's own client hides."""

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from evalvault_otel.settings import split_address

_TIMEOUT_S = 10.0
_FRAME = 16_000


@dataclass(slots=True)
class Answer:
    """What came back: the first block of headers, whether it ended the stream, later trailers, bytes of messages."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] | None = None
    data: bytes = b""
    ended: bool = False

    @property
    def trailers_only(self) -> bool:
        """Whether it is one block of headers and nothing else."""
        return self.ended and self.trailers is None and not self.data


def grpc_call(address: str, path: str, message: bytes) -> Answer:
    """The answer to a unary call."""
    with socket.create_connection(split_address(address), timeout=_TIMEOUT_S) as connection:
        h2 = _begun(address, path)
        framed = _framed(message)
        for start in range(0, len(framed), _FRAME):
            h2.send_data(1, framed[start : start + _FRAME], end_stream=start + _FRAME >= len(framed))
        connection.sendall(h2.data_to_send())
        return _read(connection, h2)


def unfinished_call(address: str, path: str, message: bytes, at_once: int, pause_s: float) -> Answer:
    """The answer to a call whose message is never whole: so many bytes at once, then one after each pause.

    It has not ended where there was none until the last byte but one.
    """
    with socket.create_connection(split_address(address), timeout=_TIMEOUT_S) as connection:
        h2 = _begun(address, path)
        framed = _framed(message)
        h2.send_data(1, framed[:at_once])
        connection.sendall(h2.data_to_send())
        connection.settimeout(pause_s)
        answer, sent = Answer(), at_once
        while not answer.ended and sent < len(framed) - 1:
            try:
                _take(h2.receive_data(connection.recv(65536)), answer)
            except TimeoutError:
                h2.send_data(1, framed[sent : sent + 1])
                sent += 1
            connection.sendall(h2.data_to_send())
        return answer


def _begun(address: str, path: str) -> H2Connection:
    """A connection with a call that has its headers."""
    h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
    h2.initiate_connection()
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": address, "te": "trailers"}
    h2.send_headers(1, [*headers.items(), ("content-type", "application/grpc")])
    return h2


def _framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4) + message


def _read(connection: socket.socket, h2: H2Connection) -> Answer:
    answer = Answer()
    deadline = time.monotonic() + _TIMEOUT_S
    while not answer.ended and time.monotonic() < deadline:
        _take(h2.receive_data(connection.recv(65536)), answer)
        connection.sendall(h2.data_to_send())
    return answer


def _take(events: Iterable[object], answer: Answer) -> None:
    for event in events:
        match event:
            case ResponseReceived(headers=headers):
                answer.headers = _texts(headers)
            case TrailersReceived(headers=headers):
                answer.trailers = _texts(headers)
            case DataReceived(data=data):
                answer.data += data or b""
            case StreamEnded() | StreamReset():
                answer.ended = True


def _texts(headers: object) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers}  # type: ignore[attr-defined]  # pairs of text, by our configuration
