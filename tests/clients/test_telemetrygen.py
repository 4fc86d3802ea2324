"""telemetrygen, the load generator of the Collector project: all it sends is stored, whatever it is."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from benchmarks.database import of_url
from tests.support.arrivals import read_back, spans_counted, wait_for_spans
from tests.support.server import Server
from tests.support.tools import tool

# The first test may have to build telemetrygen, which is not a test that hangs.
pytestmark = pytest.mark.timeout(60, func_only=True)

_MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def telemetrygen() -> str:
    """The load generator's path."""
    return str(tool("telemetrygen"))


def _generate(command: str, *options: str) -> None:
    """Send traces of two spans each."""
    ended = subprocess.run(
        [command, "traces", "--otlp-insecure", "--interval=1m", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "\tERROR\t" not in ended.stdout, ended.stdout


def _target(server: Server, transport: str) -> list[str]:
    """Options that send to the server."""
    if transport == "grpc":
        return [f"--otlp-endpoint={server.grpc}"]
    return ["--otlp-http", f"--otlp-endpoint={server.http}"]


def _assert_whole(server: Server, traces: int) -> None:
    """So many traces of two spans are stored and assembled, and nothing else came."""
    assert wait_for_spans(server, 2 * traces) == 2 * traces
    assert spans_counted(server) == {"stored": 2 * traces, "duplicate": 0, "rejected": 0}
    counts = of_url(server.db).counts()
    assert (counts.spans, counts.traces) == (2 * traces, traces)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_every_trace_of_a_load_is_stored(server: Server, telemetrygen: str, transport: str) -> None:
    # Its SDK drops what its queue of 2,048 spans cannot hold, so each of these generators sends somewhat less.
    load = [*_target(server, transport), "--workers=2", "--traces=500", "--rate=0", "--span-links=1"]
    with ThreadPoolExecutor() as pool:
        for generated in [pool.submit(_generate, telemetrygen, *load) for _ in range(2)]:
            generated.result()

    _assert_whole(server, 2000)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_every_span_in_a_request_of_its_own_is_stored(server: Server, telemetrygen: str, transport: str) -> None:
    load = ("--workers=8", "--traces=25", "--rate=0", "--batch=false")

    _generate(telemetrygen, *_target(server, transport), *load)

    _assert_whole(server, 200)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_megabyte_of_nul_is_stored_and_can_be_read(server: Server, telemetrygen: str, transport: str) -> None:
    _generate(telemetrygen, *_target(server, transport), "--traces=2", "--rate=0", "--size=1")

    _assert_whole(server, 2)
    trace_ids = [row[0] for row in of_url(server.db).query("SELECT trace_id FROM trace")]
    for trace_id in trace_ids:
        large = {key: value for item in read_back(server, trace_id) for key, value in item.attributes.items()}
        assert large["load-0"] == "\0" * _MEGABYTE
        assert requests.get(server.url(f"/api/traces/{trace_id}"), timeout=10).json()["span_count"] == 2
    assert "Traceback" not in server.log
