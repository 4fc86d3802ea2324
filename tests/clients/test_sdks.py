"""SDKs as applications use them. What the SDK says it made is what is stored, span by span.

The Python SDK over protobuf is tested beside each receiver, in tests/server/.
"""

import pytest

from tests.support.arrivals import assert_arrives, read_back
from tests.support.senders import sent_by_json_exporter, sent_by_node
from tests.support.server import Server
from tests.support.tools import tool

# The first test may have to install its SDK, which is not a test that hangs.
pytestmark = pytest.mark.timeout(60, func_only=True)


@pytest.fixture(scope="module")
def json_exporter() -> None:
    """The OTLP/JSON exporter is on this machine."""
    tool("json-exporter")


@pytest.fixture(scope="module")
def node() -> None:
    """The SDK for Node is on this machine."""
    tool("node")


def _endpoint(server: Server, protocol: str) -> str:
    return f"http://{server.grpc}" if protocol == "grpc" else f"http://{server.http}/v1/traces"


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_python_over_json(receiver: Server, json_exporter: None, compression: str) -> None:
    sent = sent_by_json_exporter(f"http://{receiver.http}/v1/traces", compression)

    assert len(sent) == 3
    assert_arrives(receiver, sent)


@pytest.mark.parametrize(
    "protocol, compression",
    [("json", "none"), ("json", "gzip"), ("proto", "none"), ("proto", "gzip"), ("grpc", "none"), ("grpc", "gzip")],
)
def test_node(receiver: Server, node: None, protocol: str, compression: str) -> None:
    sent = sent_by_node(protocol, _endpoint(receiver, protocol), compression)

    assert len(sent) == 303
    assert_arrives(receiver, sent)
    # JavaScript has one kind of number: 1.0 is sent as an integer, and kept as what was sent.
    (root,) = [item for item in read_back(receiver, sent[0].trace_id) if item.name == "POST /ask"]
    assert repr(root.attributes["whole"]) == "1"
