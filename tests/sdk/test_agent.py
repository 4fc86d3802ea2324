"""`opentelemetry-instrument` with no change of the program, real instrumentors in one process with us, real servers.

The programs run in an environment of their own, with our wheel beside it: entry points need an installed distribution.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from benchmarks.database import of_url
from tests.support.receiving import FakeReceiver, receiving
from tests.support.relays import free_address
from tests.support.server import Server
from tests.support.tools import tool

ROOT = Path(__file__).parents[2]
AGENT = Path(__file__).with_name("agent")
# The first test may have to install the environment, which is not a test that hangs.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from the tree and unpacked into a folder for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "wheel")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (folder / "wheel").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(folder / "packages"), str(wheel)], check=True)
    return folder / "packages"


@pytest.fixture
def start(site: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start a program of the environment: `start(script, *arguments, **variables)`; ended at the end."""
    scripts = tool("agent", "interop").parent
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str, **env: str) -> "subprocess.Popen[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVALVAULT_", "OTEL_"))}
        kept |= {"PYTHONPATH": str(site), "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", **env}
        pipe = subprocess.PIPE
        command = [str(scripts / script), *arguments]
        started.append(subprocess.Popen(command, cwd=AGENT, env=kept, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]") -> None:
    """Wait for a program's good end."""
    _, problems = process.communicate(timeout=60)
    assert process.returncode == 0, problems
    assert "Traceback" not in problems, problems


def instrumented(start: Callable[..., Any], *arguments: str, **env: str) -> None:
    """Run the program that knows nothing of us under `opentelemetry-instrument`."""
    python = str(tool("agent", "interop"))
    ended(start("opentelemetry-instrument", python, "app.py", *arguments, **env))


def names(url: str) -> Counter[str]:
    """Names of the spans in a database."""
    return Counter(name for (name,) in of_url(url).query("SELECT name FROM span"))


def test_the_exporter_is_found_and_sends_to_a_server(server: Server, start: Callable[..., Any]) -> None:
    instrumented(start, OTEL_TRACES_EXPORTER="evalvault", EVALVAULT_ENDPOINT=f"http://{server.http}")

    assert names(server.db) == {"ask": 1, "SELECT": 1}
    assert of_url(server.db).query("SELECT stage_type FROM stage_event WHERE NOT derived") == [("output",)]


def test_the_exporter_stores_without_a_server_and_makes_no_spans_of_it(db_url: str, start: Callable[..., Any]) -> None:
    instrumented(start, OTEL_TRACES_EXPORTER="evalvault", EVALVAULT_DB=db_url)

    assert names(db_url) == {"ask": 1, "SELECT": 1}
    assert of_url(db_url).query("SELECT stage_type FROM stage_event WHERE NOT derived") == [("output",)]


def test_the_hook_adds_our_processor_beside_the_exporter_of_others(server: Server, start: Callable[..., Any]) -> None:
    with receiving() as other:
        instrumented(
            start,
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=other.endpoint,
            EVALVAULT_OTEL_ENABLED="true",
            EVALVAULT_ENDPOINT=f"http://{server.http}",
        )
        assert Counter(other.names) == names(server.db) == {"ask": 1, "SELECT": 1}


def test_hook_and_exporter_together_send_each_span_once(start: Callable[..., Any]) -> None:
    with receiving() as receiver:
        instrumented(
            start,
            OTEL_TRACES_EXPORTER="evalvault",
            EVALVAULT_OTEL_ENABLED="true",
            EVALVAULT_ENDPOINT=receiver.endpoint,
        )
        assert Counter(receiver.names) == {"ask": 1, "SELECT": 1}


def test_the_hook_does_nothing_unless_asked_to(start: Callable[..., Any]) -> None:
    with receiving() as receiver:
        instrumented(start, OTEL_TRACES_EXPORTER="none", EVALVAULT_ENDPOINT=receiver.endpoint)
        assert receiver.received == []


def test_a_hook_that_cannot_work_costs_the_program_nothing(start: Callable[..., Any]) -> None:
    with receiving() as other:
        instrumented(
            start,
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=other.endpoint,
            EVALVAULT_OTEL_ENABLED="true",
            EVALVAULT_DB="nothing://of/this",
        )
        assert Counter(other.names) == {"ask": 1, "SELECT": 1}


def test_requests_and_urllib3_that_are_traced_make_no_spans_of_exports(start: Callable[..., Any]) -> None:
    with receiving() as receiver:
        url = f"{receiver.endpoint}/page"
        instrumented(
            start, url, OTEL_TRACES_EXPORTER="none", EVALVAULT_OTEL_ENABLED="true", EVALVAULT_ENDPOINT=receiver.endpoint
        )
        # The program's own request is there, as often as its libraries trace it; no export is.
        found = Counter(receiver.names)
    assert found.pop("GET") in {1, 2}
    assert found == {"ask": 1, "SELECT": 1}


def test_the_run_of_a_whole_process_comes_from_its_variable(server: Server, start: Callable[..., Any]) -> None:
    instrumented(
        start,
        OTEL_TRACES_EXPORTER="evalvault",
        OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="evalvault",
        EVALVAULT_RUN_ID="nightly",
        EVALVAULT_ENDPOINT=f"http://{server.http}",
    )
    assert {row[0] for row in of_url(server.db).query("SELECT run_id FROM stage_event")} == {"nightly"}


def test_gunicorn_with_preload_delivers_what_its_workers_did(start: Callable[..., Any]) -> None:
    with receiving() as receiver:
        address = free_address()
        options = ("--preload", "--workers", "3", "--bind", address, "wsgi:application")
        process = start("gunicorn", *options, EVALVAULT_ENDPOINT=receiver.endpoint)
        _until(lambda: _get(f"http://{address}/0"))
        for number in range(1, 30):
            _get(f"http://{address}/{number}")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        found = Counter(receiver.names)
    assert found == {"preload": 1, **{f"request /{number}": 1 for number in range(30)}}


def test_celery_with_its_prefork_pool_delivers_what_its_children_did(tmp_path: Path, start: Callable[..., Any]) -> None:
    folder = {"CELERY_FOLDER": str(tmp_path)}
    with receiving() as receiver:
        sending = "import tasks; [tasks.work.delay(number) for number in range(20)]"
        ended(start("python", "-c", sending, EVALVAULT_DB="", OTEL_SDK_DISABLED="true", **folder))
        options = ("-A", "tasks", "worker", "--concurrency=2", "--pool=prefork", "--loglevel=WARNING")
        process = start("celery", *options, EVALVAULT_ENDPOINT=receiver.endpoint, **folder)
        _until(lambda: _tasks(receiver) == 20)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        found = Counter(receiver.names)
    assert found == {"parent": 1, **{f"task {number}": 1 for number in range(20)}}


def _tasks(receiver: FakeReceiver) -> int:
    return sum(name.startswith("task ") for name in receiver.names)


def _get(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except OSError:
        return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
