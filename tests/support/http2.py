"""A gRPC call on bare HTTP/2: shows which frames an answer is made of, which gRPC's own client hides."""

import socket
import time
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
    host, port = split_address(address)
    with socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection:
        h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        h2.initiate_connection()
        headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": address, "te": "trailers"}
        h2.send_headers(1, [*headers.items(), ("content-type", "application/grpc")])
        framed = b"\0" + len(message).to_bytes(4) + message
        for start in range(0, len(framed), _FRAME):
            h2.send_data(1, framed[start : start + _FRAME], end_stream=start + _FRAME >= len(framed))
        connection.sendall(h2.data_to_send())
        return _read(connection, h2)


def _read(connection: socket.socket, h2: H2Connection) -> Answer:
    answer = Answer()
    deadline = time.monotonic() + _TIMEOUT_S
    while not answer.ended and time.monotonic() < deadline:
        for event in h2.receive_data(connection.recv(65536)):
            match event:
                case ResponseReceived(headers=headers):
                    answer.headers = _texts(headers)
                case TrailersReceived(headers=headers):
                    answer.trailers = _texts(headers)
                case DataReceived(data=data):
                    answer.data += data or b""
                case StreamEnded() | StreamReset():
                    answer.ended = True
        connection.sendall(h2.data_to_send())
    return answer


def _texts(headers: object) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers}  # type: ignore[attr-defined]  # pairs of text, by our configuration
