"""SDKs as applications use them. What the SDK says it made is what is stored, span by span.

The Python SDK over protobuf is tested beside each receiver, in tests/server/.
"""

import os
import subprocess
from pathlib import Path

import pytest

from evalvault_otel.model import Span
from tests.support.arrivals import assert_arrives, read_back
from tests.support.dump import dumped_spans
from tests.support.require import require_command
from tests.support.server import Server
from tests.support.tools import tool

# The first test may have to install its SDK, which is not a test that hangs.
pytestmark = pytest.mark.timeout(60, func_only=True)

_SENDERS = Path(__file__).parent / "senders"


@pytest.fixture(scope="session")
def json_python() -> str:
    """A Python that has the OTLP/JSON exporter."""
    return str(tool("json-exporter"))


@pytest.fixture(scope="session")
def node() -> tuple[str, str]:
    """Node and the folder that holds its OpenTelemetry SDK."""
    return require_command("node"), str(tool("node"))


def _sent_by(*command: str, node_path: str = "") -> list[Span]:
    """Run a sender to its end; the spans it says it made."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
    env = {**kept, "NODE_PATH": node_path}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return dumped_spans(ended.stdout)


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_python_over_json(receiver: Server, json_python: str, compression: str) -> None:
    endpoint = f"http://{receiver.http}/v1/traces"

    sent = _sent_by(json_python, str(_SENDERS / "json_http.py"), endpoint, compression)

    assert len(sent) == 3
    assert_arrives(receiver, sent)


@pytest.mark.parametrize(
    "protocol, compression",
    [("json", "none"), ("json", "gzip"), ("proto", "none"), ("proto", "gzip"), ("grpc", "none"), ("grpc", "gzip")],
)
def test_node(receiver: Server, node: tuple[str, str], protocol: str, compression: str) -> None:
    command, node_path = node
    endpoint = f"http://{receiver.grpc}" if protocol == "grpc" else f"http://{receiver.http}/v1/traces"

    sent = _sent_by(command, str(_SENDERS / "node.cjs"), protocol, endpoint, compression, node_path=node_path)

    assert len(sent) == 303
    assert_arrives(receiver, sent)
    # JavaScript has one kind of number: 1.0 is sent as an integer, and kept as what was sent.
    (root,) = [item for item in read_back(receiver, sent[0].trace_id) if item.name == "POST /ask"]
    assert repr(root.attributes["whole"]) == "1"
