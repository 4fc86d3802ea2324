"""`demo`: a server on free ports, a real RAG application that sends its spans to it, and the debug report."""

import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from ..errors import EvalVaultError
from ..settings import child_environment, load
from ..store import Store

_ASSEMBLY_TIMEOUT_S = 30.0
# Whatever is set for another server: this one is for the application that it starts, on this machine.
_ALONE = {
    **dict.fromkeys(("grpc", "http", "api"), "127.0.0.1:0"),
    **dict.fromkeys(("api_keys", "api_keys_file", "tls_cert", "tls_key", "tls_client_ca"), ""),
    **dict.fromkeys(("rate_requests", "rate_bytes"), 0.0),
}


@dataclass(frozen=True, slots=True)
class _Material:
    """Where the quickstart application and the documentation that it searches are."""

    app: Path
    docs: Path


def demo(
    db: Annotated[str, typer.Option("--db", help="Where to keep the traces.")] = "evalvault-demo.db",
) -> None:
    """Try everything in a minute: a RAG application answers 40 questions, the report says what went wrong.

    The traces stay in `evalvault-demo.db` (or `--db`) to look further.

    Example: `evalvault-otel demo`
    """
    from ..server.app import build

    material = _material()
    settings = load({"db": db, **_ALONE})
    run_id = f"quickstart-{datetime.now(tz=UTC):%Y%m%d-%H%M%S}"
    server = build(settings)
    server.start()
    try:
        typer.echo(f"Server is up: OTLP/HTTP on {server.addresses['http']}, data in {db}")
        _run_application(material, server.addresses["http"], run_id)
        _wait_until_assembled(server.store)
        typer.echo("")
        typer.echo(_get(f"http://{server.addresses['api']}/api/stage/debug/{quote(run_id, safe='')}?format=markdown"))
    finally:
        server.stop()
    _say_what_next(db, run_id)


def _material() -> _Material:
    """The bundled copy of an installed package, or the folders of a checkout.

    Raises:
        EvalVaultError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package / "_bundled", package.parents[1]):
        material = _Material(root / "examples" / "quickstart" / "app.py", root / "docs")
        if material.app.is_file() and material.docs.is_dir():
            return material
    raise EvalVaultError("the quickstart example is not installed: reinstall evalvault-otel from a wheel or a checkout")


def _run_application(material: _Material, endpoint: str, run_id: str) -> None:
    """Run the application as a user would: its own process, the stock exporter, the standard variables.

    Raises:
        EvalVaultError: it failed; its own output says why.
    """
    command = [sys.executable, str(material.app), "--run-id", run_id, "--corpus", str(material.docs)]
    environment = child_environment(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{endpoint}")
    done = subprocess.run(command, env=environment, check=False)  # noqa: S603 - our own example
    if done.returncode:
        raise EvalVaultError(
            f"the quickstart application failed with exit code {done.returncode}; see its output above"
        )


def _wait_until_assembled(store: Store) -> None:
    """Return when no trace waits for assembly."""
    deadline = time.monotonic() + _ASSEMBLY_TIMEOUT_S
    far_future = time.time_ns() + 10**15
    while store.due_traces(far_future, 1) and time.monotonic() < deadline:
        time.sleep(0.05)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own server
        return str(answer.read().decode())


def _say_what_next(address: str, run_id: str) -> None:
    option = "" if address == load().db else f" --db {shlex.quote(address)}"
    typer.echo(f"\nThe traces are in {address}. Look further:")
    program = _program()
    for command in (f"runs{option}", f"debug report {run_id}{option}", f"stage summary {run_id}{option}"):
        typer.echo(f"  {program} {command}")
    typer.echo(f"  {program} serve{option}    then http://127.0.0.1:8000/docs, and point your own application at it")


def _program() -> str:
    """How this command can be called again: by name if it is on the PATH, else by its path."""
    script = Path(sys.executable).with_name("evalvault-otel")
    if shutil.which("evalvault-otel") or not script.exists():
        return "evalvault-otel"
    return shlex.quote(os.path.relpath(script))
