"""How a test treats a tool that is not on this machine.

On a laptop a missing tool skips the test, with the reason printed. Where `EVALVAULT_TEST_REQUIRE` (a comma list:
`postgres,chromium,node,collector`) names the tool, the test fails instead: a complete machine cannot lose tests
quietly.
"""

import os
import shutil
from typing import NoReturn

import pytest

VARIABLE = "EVALVAULT_TEST_REQUIRE"


def required() -> frozenset[str]:
    """The tools that must be there."""
    return frozenset(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip())


def require(tool: str, reason: str) -> NoReturn:
    """Give up on a test because `tool` is missing: skip it, or fail it when `EVALVAULT_TEST_REQUIRE` names the tool."""
    if tool in required():
        pytest.fail(f"{VARIABLE} names {tool}, but {reason}", pytrace=False)
    pytest.skip(f"needs {tool}: {reason}")


def require_command(tool: str, *names: str) -> str:
    """The path of the first of `names` (by default `tool` itself) that is on the PATH; without one, `require`."""
    for name in names or (tool,):
        path = shutil.which(name)
        if path:
            return path
    require(tool, f"none of these commands is on the PATH: {', '.join(names or (tool,))}")
