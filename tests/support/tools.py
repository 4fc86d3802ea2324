"""Programs of others that the tests run as clients: built or installed once, into a cache outside the tree.

`EVALVAULT_TEST_CACHE` names the cache; by default it is `~/.cache/evalvault-otel-tests`. A folder in it is named after
everything that decides what is in it, so a new version is a new folder and nothing there is ever changed.

`python -m tests.support.tools` (or `make clients`) makes all of them, and ends with 1 when one cannot be had.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.require import require

VARIABLE = "EVALVAULT_TEST_CACHE"
_USUAL = "~/.cache/evalvault-otel-tests"
_READY = ".ready"
_LONGEST_S = 1200
_SAID_LINES = 5

_BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.159.0"
_COLLECTOR = Path(__file__).with_name("collector-build.yaml")
_TELEMETRYGEN = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v0.160.0"
_NODE = (
    "@opentelemetry/api@1.9.0",
    "@opentelemetry/sdk-trace-node@2.12.0",
    "@opentelemetry/exporter-trace-otlp-http@0.223.1",
    "@opentelemetry/exporter-trace-otlp-proto@0.223.1",
    "@opentelemetry/exporter-trace-otlp-grpc@0.223.1",
)
_ROTEL = ("rotel==0.0.1a15",)
_JSON_EXPORTER = ("opentelemetry-sdk==1.45.1", "opentelemetry-exporter-otlp-json-http==0.66b1")


# Only `make fuzz` wants it, and does without.
_NO_CLIENTS = frozenset({"atheris"})


class ToolMissing(Exception):
    """A program cannot be made on this machine; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a program is made: `make` fills an empty folder, `inputs` is all that decides about the result.

    `product` is the path that tests use, within the folder.
    """

    inputs: str
    make: Callable[[Path], None]
    product: str


def _collector(folder: Path) -> None:
    go = _command("go")
    sources = folder / "sources"
    _run([go, "run", _BUILDER, "--config", str(_COLLECTOR), "--output-path", str(sources), "--skip-compilation"])
    # Not by the builder, so that no symbols are linked: half the size.
    _run([go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(folder / "otelcol"), "."], cwd=sources)
    shutil.rmtree(sources)


def _telemetrygen(folder: Path) -> None:
    _run([_command("go"), "install", _TELEMETRYGEN], env={"GOBIN": str(folder)})


def _node_packages(folder: Path) -> None:
    _command("node")
    quiet = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    (folder / "package.json").write_text('{"private": true}')
    _run([_command("npm"), "install", *quiet, "--save-exact", *_NODE], cwd=folder)


def _python_packages(*packages: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder / "venv")])
        pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        _run([*pip, "install", *packages])
        _run([*pip, "check"])

    return make


def _python_folder(*packages: str) -> Callable[[Path], None]:
    """For PYTHONPATH: what this interpreter loads beside its own packages."""

    def make(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        _run([*pip, "install", "--only-binary=:all:", "--target", str(folder / "packages"), *packages])

    return make


def _pinned(requirements: Path) -> Recipe:
    """A Python of its own with exactly these packages; the file pins all of them."""
    return Recipe(requirements.read_text() + _INTERPRETER, _python_packages("-r", str(requirements)), "venv/bin/python")


_ROTEL_AGENT = f"venv/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/rotel/rotel-agent"
_ATHERIS = ("atheris==3.0.0",)
_INTERPRETER = f"{sys.version} {sys.prefix}"
_FRAMEWORKS = sorted((Path(__file__).parents[1] / "interop").glob("*/requirements.txt"))
INTEROP: Mapping[str, Recipe] = {f"interop-{file.parent.name}": _pinned(file) for file in _FRAMEWORKS}

_SDK = Path(__file__).parents[1] / "sdk"
RECIPES: Mapping[str, Recipe] = {
    "collector": Recipe(_BUILDER + _COLLECTOR.read_text(), _collector, "otelcol"),
    "telemetrygen": Recipe(_TELEMETRYGEN, _telemetrygen, "telemetrygen"),
    "node": Recipe(" ".join(_NODE), _node_packages, "node_modules"),
    "rotel": Recipe(" ".join(_ROTEL) + _INTERPRETER, _python_packages(*_ROTEL), _ROTEL_AGENT),
    "json-exporter": Recipe(
        " ".join(_JSON_EXPORTER) + _INTERPRETER, _python_packages(*_JSON_EXPORTER), "venv/bin/python"
    ),
    "atheris": Recipe(" ".join(_ATHERIS) + _INTERPRETER, _python_folder(*_ATHERIS), "packages"),
    "agent": _pinned(_SDK / "agent" / "requirements.txt"),
    "oldest-sdk": _pinned(_SDK / "oldest" / "requirements.txt"),
    **INTEROP,
}


def tool(name: str, required_as: str = "") -> Path:
    """The product of the recipe `name`, made now if need be; where it cannot be made, `require` decides.

    `required_as` is what `EVALVAULT_TEST_REQUIRE` calls it, if not by its name.

    Tools: `collector` and `telemetrygen` are programs, `node` is a folder for NODE_PATH, `rotel` is a program,
    `json-exporter` is a Python that has the OTLP/JSON exporter, `atheris` is a folder for PYTHONPATH, `interop-…` are
    Pythons with a framework and its instrumentations, `agent` one with `opentelemetry-instrument` and what runs under
    it, `oldest-sdk` one with the oldest OpenTelemetry SDK that we work with.
    """
    made = _made_or_reason(name)
    if isinstance(made, str):
        require(required_as or name, made)
    return made


@cache
def _made_or_reason(name: str) -> Path | str:
    """`made`, asked once per test run: without a network each try would take long to fail."""
    try:
        return made(name)
    except ToolMissing as exc:
        return str(exc)


def made(name: str) -> Path:
    """The product of the recipe `name`, made now if need be; processes that want the same one wait for the first.

    Raises:
        ToolMissing: a command, the network or a disk is missing, or takes too long.
    """
    recipe = RECIPES[name]
    digest = hashlib.sha256(recipe.inputs.encode()).hexdigest()[:12]
    folder = Path(os.environ.get(VARIABLE) or _USUAL).expanduser() / f"{name}-{digest}"
    ready = folder / _READY
    with _locked(folder.with_suffix(".lock")):
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            recipe.make(folder)
            ready.touch()
    return folder / recipe.product


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _command(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ToolMissing(f"{name} is not on the PATH")
    return path


def _run(command: list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run a command to its end.

    Raises:
        ToolMissing: it failed; the message has the end of what it wrote.
    """
    try:
        ended = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ToolMissing(str(exc)) from exc
    if ended.returncode:
        said = " / ".join(line.strip() for line in ended.stdout.splitlines()[-_SAID_LINES:])
        raise ToolMissing(f"`{' '.join(command[:4])} …` ended with {ended.returncode}: {said}")


def _make_all(names: list[str]) -> int:
    failed = 0
    for name in names or sorted(RECIPES.keys() - _NO_CLIENTS):
        started = time.monotonic()
        try:
            said = str(made(name))
        except ToolMissing as exc:
            failed, said = 1, f"missing: {exc}"
        sys.stdout.write(f"{name} ({time.monotonic() - started:.0f} s): {said}\n")
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(_make_all(sys.argv[1:]))
