"""How many distributions a user installs: `pip install .[server,postgres]` into a fresh environment."""

import json
import re
import subprocess
import sys
from pathlib import Path

from .figures import Figure, at_most, skipped, void
from .options import Options
from .place import ROOT, work_directory

_LIMIT = 45
_NAME = "packages installed"
_TOOLS = {"pip", "setuptools", "wheel"}
# What pip says when it cannot reach an index; anything else is a fault of ours.
OFFLINE = re.compile(r"connection|name resolution|timed out|network is unreachable", re.IGNORECASE)


def run(options: Options) -> list[Figure]:
    """The number of distributions, ours included, without pip and setuptools."""
    if options.quick:
        return [skipped(_NAME, "takes long; left out with --quick")]
    with work_directory() as directory:
        python = fresh_python(directory)
        installed = pip(python, "install", "--quiet", "--retries", "1", f"{ROOT}[server,postgres]")
        if installed.returncode:
            last = installed.stderr.strip().splitlines()[-1:]
            return [(skipped if OFFLINE.search(installed.stderr) else void)(_NAME, " ".join(last))]
        listed = json.loads(pip(python, "list", "--format", "json").stdout)
    names = sorted({row["name"].lower() for row in listed} - _TOOLS)
    return [at_most(_NAME, len(names), _LIMIT, "", " ".join(names))]


def fresh_python(directory: Path) -> Path:
    """A Python of its own, with pip."""
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    return directory / "venv" / "bin" / "python"


def pip(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run its pip."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
