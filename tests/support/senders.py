"""Programs in tests/clients/senders: each makes spans with another SDK, sends them and says what it made."""

import os
import subprocess
from pathlib import Path

from evalvault_otel.model import Span
from tests.support.dump import dumped_spans
from tests.support.require import require_command
from tests.support.tools import tool

_PROGRAMS = Path(__file__).parents[1] / "clients" / "senders"
_LONGEST_S = 30


def sent_by_node(protocol: str, endpoint: str, compression: str, *more: str) -> list[Span]:
    """Spans that a Node program made and sent; `protocol` is `json`, `proto` or `grpc`, `more` is in the program.

    Raises:
        AssertionError: an export failed.
    """
    program = [require_command("node"), str(_PROGRAMS / "node.cjs")]
    return _sent_by([*program, protocol, endpoint, compression, *more], node_path=str(tool("node")))


def sent_by_json_exporter(endpoint: str, compression: str) -> list[Span]:
    """Spans that a Python program made and sent as OTLP/JSON.

    Raises:
        AssertionError: an export failed.
    """
    return _sent_by([str(tool("json-exporter")), str(_PROGRAMS / "json_http.py"), endpoint, compression])


def _sent_by(command: list[str], node_path: str = "") -> list[Span]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
    env = {**kept, "NODE_PATH": node_path}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    if ended.returncode or ended.stderr:
        raise AssertionError(f"{Path(command[1]).name} ended with {ended.returncode}:\n{ended.stderr}")
    return dumped_spans(ended.stdout)
