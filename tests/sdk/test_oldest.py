"""The tests of the application side with the oldest OpenTelemetry SDK that we promise to work with (pyproject.toml)."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import tool

ROOT = Path(__file__).parents[2]
# What runs programs in further environments is no different there.
_LEFT_OUT = ("test_agent.py", "test_oldest.py")
pytestmark = pytest.mark.timeout(900)


def test_everything_here_holds_with_the_oldest_sdk() -> None:
    python = tool("oldest-sdk", "interop")
    ignored = [f"--ignore=tests/sdk/{name}" for name in _LEFT_OUT]
    # PostgreSQL is no different here, what the old API itself imports is not ours, its encoder takes no None in a list
    # (docs/sdk-export.md), and how long an end may be delayed is measured where nothing else runs.
    chosen = "not postgres and not recording_takes_no_server_along and not whatever_is_recorded and not delays_the_end"
    command = [str(python), "-m", "pytest", "tests/sdk", "-q", "-p", "no:cacheprovider", "-k", chosen, *ignored]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "EVALVAULT_TEST_REQUIRE": ""}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False)

    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    version = subprocess.run(
        [str(python), "-c", "import opentelemetry.sdk.version as v; print(v.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout == "1.30.0\n"
