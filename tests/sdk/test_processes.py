"""Processes: forks of every kind, ends of every kind. What a process ended, arrives once, and none is kept waiting."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.database import of_url
from tests.support.receiving import Answer, FakeReceiver, receiving
from tests.support.relays import free_address

ROOT = Path(__file__).parents[2]


def start(app: str, **env: str) -> "subprocess.Popen[str]":
    """A program of `tests.sdk.apps` with these variables, none of this process's own for tracing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVALVAULT_", "OTEL_"))}
    command = [sys.executable, "-m", "tests.sdk.apps", app]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env={**kept, **env}, stdout=pipe, stderr=pipe, text=True)


def run(app: str, **env: str) -> str:
    """Run a program to its end; what it wrote."""
    process = start(app, **env)
    said, problems = process.communicate(timeout=60)
    assert process.returncode == 0, problems
    assert "Traceback" not in problems, problems
    return said


def arrived(app: str) -> Counter[str]:
    """Names of the spans that a receiver got of a program, and how often."""
    with receiving() as receiver:
        run(app, EVALVAULT_ENDPOINT=receiver.endpoint)
        return Counter(receiver.names)


def stored(app: str, url: str) -> Counter[str]:
    """Names of the spans that a program put into a database."""
    run(app, EVALVAULT_DB=url)
    return Counter(name for (name,) in of_url(url).query("SELECT name FROM span"))


def test_the_last_spans_arrive_at_the_end_of_the_program() -> None:
    assert arrived("at-exit") == {"last": 1}


def test_they_are_stored_at_the_end_of_the_program(db_url: str) -> None:
    assert stored("at-exit", db_url) == {"last": 1}


def test_a_program_that_is_terminated_delivers_its_last_spans() -> None:
    with receiving() as receiver, start("terminated", EVALVAULT_ENDPOINT=receiver.endpoint) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert receiver.names == ["last"]


def test_children_of_a_process_with_many_threads_deliver_theirs_and_the_parent_its_own() -> None:
    with receiving() as receiver:
        said = run("fork", EVALVAULT_ENDPOINT=receiver.endpoint)
        names = Counter(receiver.names)
    statuses, made = said.rsplit(" ", 1)
    assert statuses == "[0, 0, 0, 0, 0]"
    assert names == {"thread": int(made), **{f"child-{number}": 1 for number in range(5)}}


def test_the_same_into_a_database(db_url: str) -> None:
    statuses, made = run("fork", EVALVAULT_DB=db_url).rsplit(" ", 1)
    names = Counter(name for (name,) in of_url(db_url).query("SELECT name FROM span"))
    assert statuses == "[0, 0, 0, 0, 0]"
    assert names == {"thread": int(made), **{f"child-{number}": 1 for number in range(5)}}


def test_a_child_that_ends_as_programs_do_delivers_its_spans_and_not_those_of_its_parent() -> None:
    assert arrived("fork-exit") == {"parent": 1, "child": 1}


def test_what_was_shut_down_stays_so_in_a_child() -> None:
    with receiving() as receiver:
        assert run("shut-down-before-fork", EVALVAULT_ENDPOINT=receiver.endpoint) == "0\n"
        assert receiver.names == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_deliver_their_spans(method: str) -> None:
    assert arrived(f"pool-{method}") == {"parent": 1, "child-0": 1, "child-1": 1, "child-2": 1}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_same_for_a_database(method: str, db_url: str) -> None:
    assert stored(f"pool-{method}", db_url) == {"parent": 1, "child-0": 1, "child-1": 1, "child-2": 1}


def _delay(receiver: FakeReceiver | None, timeout_ms: int) -> float:
    endpoint = receiver.endpoint if receiver else f"http://{free_address()}"
    said = run("slow-end", EVALVAULT_ENDPOINT=endpoint, EVALVAULT_SHUTDOWN_TIMEOUT_MS=str(timeout_ms))
    return time.time() - float(said)


def test_a_receiver_that_is_not_there_delays_the_end_hardly_at_all() -> None:
    assert _delay(None, 5000) < 2.0


def test_a_receiver_that_hangs_delays_the_end_no_longer_than_was_set() -> None:
    with receiving(lambda _: Answer(delay_s=60)) as receiver:
        assert _delay(receiver, 1000) < 2.5


def test_a_receiver_that_says_later_delays_the_end_no_longer_than_was_set() -> None:
    with receiving(lambda _: Answer(503)) as receiver:
        assert _delay(receiver, 1000) < 2.5


def test_with_the_sdk_disabled_nothing_is_started() -> None:
    with receiving() as receiver:
        assert run("disabled", EVALVAULT_ENDPOINT=receiver.endpoint, OTEL_SDK_DISABLED="true") == "1\n"
        assert receiver.received == []
